"""Result folders: versions by what changed, equal content once, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from counterset.errors import ReleaseError
from counterset.similarity.results import Folder, check_home, publish_folder
from counterset.similarity.schemas import KEPT
from counterset.tables import table_of, write_bytes, write_table


def writer(ids: list[str], note: str = "") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rows = [{"id": name, "query_id": None, "query_set": None, "similarity": None} for name in ids]
        write_table(table_of(KEPT, rows), KEPT, folder / "kept" / "0.parquet")
        write_bytes(note.encode(), folder / "note.txt")

    return write


def publish(home: Path, write: Callable[[Path], None]) -> Folder:
    return publish_folder(home, "pruning", {"base": "b"}, write, rows="kept/*.parquet", columns="id")


def test_versions_follow_what_changed(tmp_path: Path) -> None:
    home = tmp_path / "it's"  # a quote, which SQL would trip over
    steps = [(["a", "b"], ""), (["a", "b", "c"], ""), (["a", "b", "c"], "other"), (["b", "c"], ""), (["b", "c"], "")]
    found = [publish(home, writer(ids, note)) for ids, note in steps]
    assert [folder.path.name for folder in found] == ["1.0.0", "1.1.0", "1.1.1", "2.0.0", "2.0.0"]
    assert [folder.is_new for folder in found] == [True, True, True, True, False]
    assert "kept/0.parquet" in (found[0].path / "SHA256SUMS").read_text()
    assert not list(home.glob(".part"))


def test_a_failed_write_leaves_no_version(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        writer(["a"])(folder)
        raise ReleaseError("no")

    with pytest.raises(ReleaseError):
        publish(tmp_path, fail)
    assert not list(tmp_path.glob("[0-9]*")) and not list(tmp_path.glob(".part"))


def test_a_damaged_newest_version_is_said_before_the_work(tmp_path: Path) -> None:
    check_home(tmp_path / "new" / "home", "pruning")
    home = tmp_path / "home"
    publish(home, writer(["a"]))
    last = publish(home, writer(["a", "b"])).path
    check_home(home, "pruning")
    for name, content in (
        ("pruning.json", b"{"),
        ("pruning.json", b"[]"),
        ("pruning.json", b"\xff"),
        ("pruning.json", b"[" * 100_000),
        ("SHA256SUMS", b""),
        ("SHA256SUMS", b"x"),
        ("SHA256SUMS", None),
        ("kept/0.parquet", b"PAR1"),
        ("kept/0.parquet", None),
    ):
        whole = (last / name).read_bytes()
        (last / name).unlink()
        if content is not None:
            (last / name).write_bytes(content)
        with pytest.raises(ReleaseError, match=r"the last result .*1\.1\.0 is damaged .*another --name"):
            check_home(home, "pruning")
        if name == "pruning.json":
            with pytest.raises(ReleaseError, match="is damaged"):
                publish(home, writer(["a", "b"]))
        (last / name).write_bytes(whole)
    check_home(home, "pruning")


@pytest.mark.parametrize("name", ["o[1]", "id=5"])
def test_names_of_folders_are_no_patterns(tmp_path: Path, name: str) -> None:
    publish(tmp_path / "o1", writer(["x"]))
    found = [publish(tmp_path / name, writer(ids)).path.name for ids in (["a"], ["a", "b"], ["b"])]
    assert found == ["1.0.0", "1.1.0", "2.0.0"]


def test_a_folder_that_stands_where_a_version_would_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "1.0.0").mkdir()
    with pytest.raises(ReleaseError, match="no version is ever rewritten"):
        publish(tmp_path, writer(["a"]))
    assert not list((tmp_path / "1.0.0").iterdir())
