"""An export that was killed is marked as unfinished and begun again; a folder in use is left alone."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pytest

from counterset.errors import ReleaseError, UserError
from counterset.load import Release
from counterset.release.exporting import UNFINISHED
from counterset.release.exports import EXPORTS

from .forging import restate

KILLED = """
import os, sys
from counterset.load import load
from counterset.release.exports import EXPORTS
release = load(sys.argv[1], mirrors=(sys.argv[2],), cache=sys.argv[3])
real, asked = release.photo, []
def photo(photo_id):
    asked.append(photo_id)
    if len(asked) > 5:
        os._exit(9)
    return real(photo_id)
release.photo = photo
EXPORTS[sys.argv[4]](release, sys.argv[5])
"""


@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "hub"])
def test_a_killed_export_shows_nothing_and_is_begun_again(
    release: Release, release_folder: Path, photo_folder: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    places = [str(path) for path in (release_folder, photo_folder, tmp_path / "cache")]
    run = subprocess.run([sys.executable, "-c", KILLED, *places, name, str(out)], check=False, timeout=120)
    assert run.returncode == 9
    assert [path.name for path in out.iterdir()] == [UNFINISHED]
    exported = EXPORTS[name](release, out)
    again = EXPORTS[name](release, tmp_path / "other")
    assert exported.num_photos == again.num_photos
    assert _content(out) == _content(tmp_path / "other")
    assert not (out / UNFINISHED).exists()


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_unfinished_export_with_other_files_is_left_alone(release: Release, tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ReleaseError, match="is not empty; export into a new folder"):
        EXPORTS["csv"](release, tmp_path)


def test_one_export_at_a_time(release: Release, tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    with (
        filelock.FileLock(tmp_path / UNFINISHED / ".lock"),
        pytest.raises(ReleaseError, match="another export is being written"),
    ):
        EXPORTS["csv"](release, tmp_path)


def test_a_full_disk_is_one_sentence(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ReleaseError, match=r"cannot write .*No space left on device; free space"):
        EXPORTS["imagefolder"](release, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(ReleaseError, match="exists and is not empty"):
        EXPORTS["csv"](release, tmp_path / "file")
    for folder in (tmp_path / "file" / "below", tmp_path / "\udcff", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match=r"cannot be written|no release|cannot write"):
            EXPORTS["csv"](release, folder)


def test_long_names_that_begin_alike_stay_two(release: Release, tmp_path: Path) -> None:
    rows = release.common.slice(0, 2).to_pylist()
    real = {}
    for row, end in zip(rows, "ab", strict=True):
        real["x" * 200 + end] = row["photo_id"]
        row["photo_id"] = "x" * 200 + end

    class Long:
        name, path, metadata, captions = release.name, release.path, release.metadata, release.captions
        class_names, labels = release.class_names, release.labels
        common = pa.Table.from_pylist(rows, schema=release.common.schema)
        counter = release.counter.slice(0, 0)
        changed_photos = release.changed_photos

        def parts(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
            yield getattr(self, name).select(columns)

        def photo(self, photo_id: str) -> bytes:
            return release.photo(real[photo_id])

    EXPORTS["imagefolder"](Long(), tmp_path / "folder")
    assert sum(path.is_file() for path in (tmp_path / "folder").rglob("*")) == 2
    assert EXPORTS["webdataset"](Long(), tmp_path / "set").num_photos == 2


def test_a_class_that_the_release_does_not_name(copied: Path) -> None:
    from counterset.load import load

    metadata: dict[str, Any] = dict(load(copied).metadata)
    restate(copied, classes=metadata["classes"][1:])
    with pytest.raises(ReleaseError, match=r"which its release\.json does not name"):
        EXPORTS["csv"](load(copied), copied.parent / "out")
