"""Files by address, on a local S3; and the lease that stands for a lock there."""

from __future__ import annotations

import json
import os
import pickle
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from counterset import lease
from counterset.digests import Digests
from counterset.errors import ConfigError, SchemaError, WorkspaceError
from counterset.schemas import REJECTS
from counterset.sources.budget import DAY_S, Budget, Limit
from counterset.storage import ObjectPath, fetch, keep, place
from counterset.tables import read_metadata, read_table, sha256_of, table_of, write_bytes, write_table
from counterset.workspace import Workspace

from .s3_server import BUCKET, s3_server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}"


def at(address: str) -> ObjectPath:
    found = place(address)
    assert isinstance(found, ObjectPath)
    return found


def test_addresses() -> None:
    assert place("a/b") == Path("a/b")
    path = at("s3://bucket/prefix/?scheme=http") / "name.parquet"
    assert str(path) == "s3://bucket/prefix/name.parquet?scheme=http"
    assert (path.name, path.stem, path.suffix, path.parent.name) == ("name.parquet", "name", ".parquet", "prefix")
    assert place(str(path)) == path and pickle.loads(pickle.dumps(path)) == path
    for wrong in ("https://a.example/b", "gs://bucket/b", "s3://", "s3://a b/c", "s3://a/c", "s3://\udcff"):
        with pytest.raises(ConfigError, match="s3://bucket/prefix"):
            place(wrong)


def test_objects_come_and_go(bucket: str) -> None:
    root = at(f"{bucket}/objects")
    for name in ("b/2.txt", "b/1.txt", "a.txt", "b/c/3.txt"):
        write_bytes(name.encode(), root / name)
    assert [str(path).removeprefix(f"{root}/") for path in root.walk()] == ["a.txt", "b/1.txt", "b/2.txt", "b/c/3.txt"]
    assert [path.name for path in root.glob("*/*.txt")] == ["1.txt", "2.txt"]
    assert [path.name for path in root.glob("*.txt")] == ["a.txt"]
    assert (root / "a.txt").read_text() == "a.txt" and (root / "a.txt").stat().st_size == 5
    assert not (root / "b").is_file() and not (root / "none").is_file()
    (root / "a.txt").unlink()
    (root / "a.txt").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (root / "a.txt").unlink()
    assert not (root / "a.txt").exists()
    assert not list(at(f"{bucket}/nothing").walk())


def test_a_table_is_the_same_file_there(bucket: str, tmp_path: Path) -> None:
    row = {"photo_id": "a", "class_id": "lion", "stage": "download", "reason": "gone", "detail": "HTTP Error 404"}
    table = table_of(REJECTS, [row])
    local, there = write_table(table, REJECTS, tmp_path / "x"), write_table(table, REJECTS, at(f"{bucket}/t/x.parquet"))
    assert there.path == f"{bucket}/t/x.parquet" and there.sha256 == local.sha256 == sha256_of(there.path)
    assert read_table(there.path, REJECTS).equals(table)
    assert read_metadata(there.path).num_rows == 1
    write_bytes(b"PAR1 and no more", f"{bucket}/t/x.parquet")
    with pytest.raises(WorkspaceError, match="delete it and run again"):
        read_table(there.path, REJECTS)
    with pytest.raises((SchemaError, WorkspaceError)):
        read_metadata(f"{bucket}/t/none.parquet")


def test_a_digest_there_is_that_of_the_object_as_it_lies(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object is read once; another one of the same size in its place, however soon, is read again."""
    root, asked = at(f"{bucket}/digests"), []

    def noted(path: ObjectPath) -> str:
        asked.append(path)
        return sha256_of(path)

    monkeypatch.setattr("counterset.digests.sha256_of", noted)
    row = {"photo_id": "a", "class_id": "lion", "stage": "download", "reason": "gone", "detail": "x"}
    path, kept = root / "stage" / "all.parquet", Digests(root, tmp_path / "digests.jsonl")
    ref = write_table(table_of(REJECTS, [row]), REJECTS, path)
    assert kept.written(ref, path) == kept.ref(path) == ref and not asked
    other = path.read_bytes().replace(b"lion", b"bear")
    path.write_bytes(other)
    assert path.stat().st_size == len(other)
    assert kept.ref(path).sha256 == sha256_of(path) != ref.sha256 and asked == [path]
    assert Digests(root, tmp_path / "digests.jsonl").ref(path) == kept.ref(path) and asked == [path]


def test_a_bucket_that_is_not_there_is_one_sentence(bucket: str) -> None:
    with pytest.raises(WorkspaceError, match="no-such-bucket"):
        Workspace("s3://no-such-bucket/x").prepare()
    Workspace(f"{bucket}/empty").prepare()
    assert not list(at(f"{bucket}/empty").walk())


def test_scratch_is_kept_with_the_workspace(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local, there = tmp_path / "here", at(f"{bucket}/state")
    write_bytes(b"one", local / "pages" / "1")
    keep(local, there)
    fetch(there, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "pages" / "1").read_bytes() == b"one"
    with monkeypatch.context() as patch:
        patch.setattr(ObjectPath, "write_bytes", lambda path, content: pytest.fail("nothing has changed"))
        keep(local, there)
    time.sleep(1.1)  # S3 counts whole seconds
    write_bytes(b"two", tmp_path / "elsewhere" / "pages" / "1")
    keep(tmp_path / "elsewhere", there)
    fetch(there, local)
    assert (local / "pages" / "1").read_bytes() == b"two"
    monkeypatch.setenv("COUNTERSET_CACHE", str(tmp_path / "cache"))
    assert tmp_path / "cache" in Workspace(bucket + "/w").scratch("a", "b").parents
    assert Workspace(tmp_path / "w").scratch("a", "b") == tmp_path / "w" / "a" / "b"


def test_one_build_holds_a_lease(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, path = Workspace(f"{bucket}/leased"), at(f"{bucket}/leased/.lease")
    with workspace.locked(), pytest.raises(WorkspaceError, match="another build"), workspace.locked():
        pass
    assert not path.exists()
    other = {"owner": "x", "host": "elsewhere", "pid": 1, "started": 0.0}
    path.write_bytes(json.dumps(other).encode())
    with pytest.raises(WorkspaceError, match=r"on elsewhere.*its claim ends in"), workspace.locked():
        pass
    monkeypatch.setattr(lease, "EXPIRES_S", 0.0)  # as after a minute
    with workspace.locked():
        assert json.loads(path.read_text())["pid"] == os.getpid()
    monkeypatch.setattr(lease, "EXPIRES_S", 60.0)
    dead = other | {"host": lease.machine(), "pid": os.getpid()}  # this id, but of an earlier process
    path.write_bytes(json.dumps(dead).encode())
    with workspace.locked():
        pass


def test_a_lease_is_renewed_and_lost_with_a_warning(
    bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    path = at(f"{bucket}/renewed/.lease")
    with lease.held(path, "here"):
        first = path.stat().st_mtime
        end = time.monotonic() + 30
        while path.stat().st_mtime == first and time.monotonic() < end:
            time.sleep(0.1)
        assert path.stat().st_mtime > first
        while "took over" not in caplog.text and time.monotonic() < end:
            path.write_bytes(b'{"owner": "another"}')  # again, for a renewal may have been under way
            time.sleep(0.2)
        assert "took over" in caplog.text
    assert path.exists()  # it is the other's


def test_one_of_several_writers_that_saw_the_same_writes(bucket: str) -> None:
    path = at(f"{bucket}/conditional/x")
    assert path.read_tagged() is None
    first = path.write_if(b"one", None)
    assert first is not None and path.write_if(b"two", None) is None
    assert path.read_tagged() == (b"one", first)
    second = path.write_if(b"two", first)
    assert second is not None and path.write_if(b"three", first) is None
    assert path.read_bytes() == b"two"
    path.unlink()
    assert path.write_if(b"four", second) is None and not path.exists()
    path.write_bytes(b"five")
    path.copy_to(at(f"{bucket}/conditional/y"))
    assert at(f"{bucket}/conditional/y").read_bytes() == b"five"
    with pytest.raises(FileNotFoundError):
        at(f"{bucket}/conditional/none").copy_to(path)
    with pytest.raises(OSError, match="NoSuchBucket"):
        at("s3://no-such-bucket/x").write_if(b"", None)


def test_an_address_options_are_those_of_both_clients(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    path = at(f"{bucket}/options/x?endpoint_override={host}&scheme=http&region=eu-west-1")
    assert path.write_if(b"one", None)
    assert path.read_bytes() == b"one"


def test_threads_share_one_budget_on_s3(bucket: str) -> None:
    """Each machine of a cluster had a budget of its own, in a file."""
    path, limits = at(f"{bucket}/shared/.budget"), (Limit(50, 1.0), Limit(1e9, DAY_S))

    def spend(_: int) -> None:
        budget = Budget(path, {"requests": limits, "media_bytes": limits[1:]})
        for _ in range(8):
            budget.acquire("requests")
            budget.spend("media_bytes", 1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(spend, range(4)))
    noted = json.loads(path.read_bytes())
    times = [time for time, _ in noted["requests"]]
    assert len(times) == 32 and sum(amount for _, amount in noted["media_bytes"]) == 32_000
    assert all(later - earlier >= 0.0199 for earlier, later in pairwise(times))


def test_a_budget_on_s3_spends_as_one_in_a_file(bucket: str, tmp_path: Path) -> None:
    """Though what was spent long ago is kept in sums: no window holds more, and little time is lost."""
    ends = []
    for path in (at(f"{bucket}/windows/.budget"), tmp_path / "budget.sqlite"):
        clock, generator, times = [1_000_000.0], random.Random(1), []

        def sleep(seconds: float, clock: list[float] = clock) -> None:
            clock[0] += seconds

        limits = {"requests": (Limit(10, 60.0), Limit(40, 3600.0))}
        budget = Budget(path, limits, clock=lambda clock=clock: clock[0], sleep=sleep, max_wait_s=1e9)  # type: ignore[misc]
        for _ in range(100):
            clock[0] += generator.choice([0.0, 0.01, 5.0, 50.0])
            budget.acquire("requests")
            times.append(clock[0])
        for window_s, most in ((60.0, 10), (3600.0, 40)):
            assert max(sum(start <= time < start + window_s for time in times) for start in times) <= most
        ends.append(times[-1] - times[0])
    assert ends[1] <= ends[0] < 1.05 * ends[1]
    path = at(f"{bucket}/windows/.budget")
    assert len(json.loads(path.read_bytes())["requests"]) < 40
    path.write_bytes(b"no ledger")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        Budget(path, limits).acquire("requests")
