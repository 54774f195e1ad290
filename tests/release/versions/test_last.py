"""The last release of a folder that holds none."""

from __future__ import annotations

from pathlib import Path

from counterset.release.versions.last import read_last


def test_a_folder_without_releases_has_no_last_one(tmp_path: Path) -> None:
    (tmp_path / "1.0.0").write_text("a file")
    assert read_last(tmp_path, "a") is None
    assert read_last(tmp_path / "nothing", "a") is None
