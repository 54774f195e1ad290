"""Names that say nothing are told of once they are known to, and looked at once."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from counterset.errors import PictureError
from counterset.stages.annotate.information import Information
from counterset.steps import annotator_check
from counterset.tables import TableRef
from counterset.workspace import digest


def a_build(folder: Path) -> Any:
    workspace = SimpleNamespace(folder=lambda stage, key: folder / stage / key)
    return SimpleNamespace(
        workspace=workspace, config=SimpleNamespace(models=SimpleNamespace(annotator="demo:annotator"))
    )


@pytest.mark.parametrize(
    ("found", "is_told"),
    [(Information(0.004, 0.005, 900), True), (Information(0.08, 0.005, 900), False), (None, False)],
)
def test_a_build_warns_of_names_that_say_nothing(
    found: Information | None,
    is_told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    looked: list[str] = []

    def look(*_: object) -> Information | None:
        looked.append("")
        return found

    monkeypatch.setattr(annotator_check, "_look", look)
    members, backgrounds = TableRef("members", "a" * 64, 1, 1), TableRef(str(tmp_path / "b/key/all.parquet"), "", 1, 1)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert annotator_check.check_annotator(a_build(tmp_path), members, backgrounds) == found
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == is_told
        assert (
            not told or "the names that demo:annotator gives say nothing of the backgrounds (of 900 photos" in told[0]
        )
    assert len(looked) == 1, "the second time it is known"


def test_edges_are_described_once_for_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later look describes new photos alone, whatever their ids, and forgets those that it does not look at."""
    build = SimpleNamespace(workspace=SimpleNamespace(file=lambda stage, key, name: tmp_path / f"{name}.parquet"))
    described: list[bytes] = []

    def read(content: bytes) -> Any:
        described.append(content)
        if content == b"broken":
            raise PictureError("undecodable", "not a picture")
        return SimpleNamespace(rgb=lambda _: content)

    monkeypatch.setattr(annotator_check, "Picture", SimpleNamespace(read=read))
    monkeypatch.setattr(annotator_check, "edges", lambda content: np.arange(len(content), dtype=np.float32) / 3)

    def look(photos: dict[str, bytes | None]) -> dict[str, list[float]]:
        described.clear()
        return {name: edges.tolist() for name, edges in annotator_check._edges(build, photos, photos.get)}  # type: ignore[arg-type]

    expected = {"a": [0.0, np.float32(1 / 3)], "b": [0.0]}
    first: dict[str, bytes | None] = {"a": b"xx", "b": b"y", "lost": None, "broken": b"broken"}
    assert look(first) == expected
    assert described == [b"xx", b"y", b"broken"]
    assert look({"c": b"y", "a": b"xx", "new": b"zz"}) == {"c": expected["b"], "a": expected["a"], "new": expected["a"]}
    assert described == [b"zz"]
    look({"new": b"zz"})
    assert described == []
    assert look({"a": b"xx"}) == {"a": expected["a"]}
    assert described == [b"xx"], "no more is kept than the last look needed"
    kept = tmp_path / "all.parquet"
    kept.write_bytes(kept.read_bytes()[:-20])
    assert look({"a": b"xx"}) == {"a": expected["a"]}
    assert described == [b"xx"], "of a damaged file nothing is kept"
    look({"a": b"xx"})
    assert described == [], "and it is written anew"


def test_photos_are_drawn_by_the_digest_of_their_ids() -> None:
    for photo_id in ("folder-1", 'a"b', "\u00e9\\", "\U0001f98a"):
        assert annotator_check._drawn_by(photo_id).hex() == digest(photo_id)
