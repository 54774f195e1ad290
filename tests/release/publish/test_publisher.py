"""The one publisher: a version whole or not at all, one publisher at a time, and nothing is ever rewritten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from counterset.errors import ReleaseError
from counterset.release.checksums import SUMS
from counterset.release.publish.publisher import release_turn, turn_at

ROOT = Path(__file__).resolve().parents[3]
DIGESTS = {"a": "0" * 64}


def test_a_committed_version_is_there_with_its_sums_and_nothing_beside_it(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    with turn_at(home, "--output") as turn:
        (turn.aside / "a").write_text("a")
        assert turn.commit("1.0.0", DIGESTS) == home / "1.0.0"
    assert (home / "1.0.0" / SUMS).read_text() == f"{'0' * 64}  a\n"
    assert (home / "1.0.0" / "a").read_text() == "a"
    assert {path.name for path in home.iterdir()} <= {"1.0.0", ".lock", "latest.txt"}
    assert (home / "latest.txt").read_text() == "1.0.0\n"


def test_a_version_is_never_rewritten_not_even_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "1.0.0").mkdir()
    with (
        pytest.raises(ReleaseError, match=r"1\.0\.0 exists and no version is ever rewritten"),
        turn_at(tmp_path, "x") as turn,
    ):
        (turn.aside / "a").write_text("a")
        turn.commit("1.0.0", DIGESTS)
    assert not list((tmp_path / "1.0.0").iterdir()) and not (tmp_path / ".part").exists()


def test_what_a_killed_publisher_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".part").mkdir()
    (tmp_path / ".part" / "half").write_text("half")
    with turn_at(tmp_path, "--output") as turn:
        assert not list(turn.aside.iterdir())
    assert not (tmp_path / ".part").exists()


def test_one_publisher_at_a_time_of_whatever_kind(tmp_path: Path) -> None:
    with turn_at(tmp_path, "--output"):
        with pytest.raises(ReleaseError, match="another run is publishing to"), release_turn(tmp_path, "a"):
            pytest.fail("two have their turn")
        assert (tmp_path / ".part").is_dir()


def test_a_place_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ReleaseError, match="free space, or set --output to another folder"),
        turn_at(tmp_path / "file", "--output"),
    ):
        pytest.fail("it is a file")


def test_no_other_module_puts_a_version_in_its_place() -> None:
    """Whoever writes SHA256SUMS publishes."""

    def those(says: Callable[[str], bool]) -> list[str]:
        paths = [path for room in ("src", "flows") for path in (ROOT / room).rglob("*.py")]
        return sorted(path.name for path in paths if says(path.read_text(encoding="utf-8")))

    assert those(lambda text: "render_sums(" in text) == ["checksums.py", "publisher.py"]
    assert those(lambda text: "remote.upload(" in text or "import upload" in text) == ["publisher.py"]
    assert those(lambda text: "turn_at(" in text) == ["publisher.py"]
    assert those(lambda text: "results_turn(" in text) == ["publisher.py", "results.py"]
    assert those(lambda text: "release_turn(" in text) == ["publisher.py", "writer.py"]
