"""Digests are taken once, and never hide that a file changed."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pytest

from counterset import digests
from counterset.digests import Digests
from counterset.errors import WorkspaceError
from counterset.schemas import REJECTS
from counterset.tables import TableRef, sha256_of, table_of, write_table

LONG_AGO_NS = 1_700_000_000_123_456_789


def rows(detail: str) -> pa.Table:
    row = {"photo_id": "a-1", "class_id": "bear", "stage": "download", "reason": "gone", "detail": detail}
    return table_of(REJECTS, [row])


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A file of a workspace, written long ago."""
    path = tmp_path / "work" / "stage" / "key" / "all.parquet"
    write_table(rows("x" * 40), REJECTS, path)
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read for a digest."""
    asked: list[Path] = []

    def noted(path: Path) -> str:
        asked.append(path)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", noted)
    return asked


def opened(path: Path) -> Digests:
    return Digests(path.parents[2], path.parents[2] / "digests.jsonl")


def test_a_digest_is_taken_once_and_kept_between_runs(finished: Path, read: list[Path]) -> None:
    first = opened(finished).ref(finished)
    assert first == TableRef(str(finished), sha256_of(finished), 1, REJECTS.version)
    again = opened(finished)
    assert [again.ref(finished), again.ref(finished)] == [first, first]
    assert read == [finished]


def test_what_another_process_added_is_taken(finished: Path, read: list[Path]) -> None:
    early = opened(finished)
    opened(finished).ref(finished)
    assert early.ref(finished).sha256 == sha256_of(finished)
    assert read == [finished]


def test_a_file_changed_in_place_with_equal_size_is_noticed(finished: Path) -> None:
    """Also where its old time is put back, as a copy or a restored file has it."""
    kept = opened(finished)
    before = kept.ref(finished)
    content = finished.read_bytes()
    changed = content.replace(b"x" * 8, b"y" * 8)
    assert changed != content
    with finished.open("r+b") as file:
        file.write(changed)
    os.utime(finished, ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert finished.stat().st_size == len(content)
    assert kept.ref(finished).sha256 == opened(finished).ref(finished).sha256 == sha256_of(finished) != before.sha256


def test_another_file_in_its_place_is_noticed(finished: Path, tmp_path: Path) -> None:
    before = opened(finished).ref(finished)
    other = tmp_path / "other.parquet"
    write_table(rows("y" * 40), REJECTS, other)
    os.utime(other, ns=(LONG_AGO_NS, LONG_AGO_NS))
    os.replace(other, finished)
    assert opened(finished).ref(finished).sha256 == sha256_of(finished) != before.sha256


def test_nothing_is_kept_of_a_file_that_may_still_change_within_a_tick(
    finished: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    for written_ns, num_read in ((now - 5_000_000, 2), (now // 10**9 * 10**9 - 10**9, 2), (now - 10**9 + 1, 1)):
        os.utime(finished, ns=(written_ns, written_ns))
        monkeypatch.setattr("counterset.digests.time.time_ns", lambda: now)
        read.clear()
        kept = opened(finished)
        assert kept.ref(finished) == kept.ref(finished)
        assert len(read) == num_read, written_ns


def test_the_digest_of_what_was_written_is_kept(finished: Path, read: list[Path]) -> None:
    kept = opened(finished)
    ref = write_table(rows("z"), REJECTS, finished)
    os.utime(finished, ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert kept.written(ref, finished) == kept.ref(finished) == ref
    assert read == []


def test_lines_that_are_lost_torn_or_strange_cost_one_reading(finished: Path, read: list[Path]) -> None:
    first, lines = opened(finished).ref(finished), finished.parents[2] / "digests.jsonl"
    whole = lines.read_bytes()
    for content in (b"", whole[:-9], b"\xff\n[]\n{}\n[1, 2]\n" + json.dumps(["/x", [1], ["", 0, 0]]).encode() + b"\n"):
        lines.write_bytes(content)
        read.clear()
        assert opened(finished).ref(finished) == first
        assert read == [finished]
    lines.unlink()
    assert opened(finished).ref(finished) == first


def test_stale_lines_are_dropped(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = finished.parents[2] / "digests.jsonl"
    opened(finished).ref(finished)
    one = lines.read_bytes()
    lines.write_bytes(one * 1_100)
    assert opened(finished).ref(finished).sha256 == sha256_of(finished)
    assert lines.read_bytes() == one


def test_a_copied_workspace_is_read_once_more(finished: Path, tmp_path: Path, read: list[Path]) -> None:
    opened(finished).ref(finished)
    shutil.copytree(tmp_path / "work", tmp_path / "copy")
    copy = tmp_path / "copy" / finished.relative_to(tmp_path / "work")
    assert opened(copy).ref(copy).sha256 == sha256_of(finished)
    assert read == [finished, copy]


def test_a_missing_file_is_one_sentence(finished: Path) -> None:
    kept = opened(finished)
    kept.ref(finished)
    finished.unlink()
    with pytest.raises(WorkspaceError, match="cannot be read"):
        kept.ref(finished)


def test_a_digest_taken_elsewhere_counts_for_the_file_that_was_read(finished: Path, tmp_path: Path) -> None:
    kept = Digests(tmp_path / "work", tmp_path / "digests.jsonl")
    assert kept.sha256(finished) is None
    before = digests.mark_of(finished)
    os.utime(finished, ns=(LONG_AGO_NS, LONG_AGO_NS + 10**9))  # somebody wrote it meanwhile
    kept.keep(finished, "a" * 64, before)
    assert kept.sha256(finished) is None
    kept.keep(finished, "b" * 64, digests.mark_of(finished))
    assert Digests(tmp_path / "work", tmp_path / "digests.jsonl").sha256(finished) == "b" * 64
