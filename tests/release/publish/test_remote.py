"""Releases published to a local S3: the same versions and bytes as on disk, by one conditional write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterset.errors import ReleaseError
from counterset.load import load
from counterset.release.publish import remote
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import Published, publish
from counterset.storage import ObjectPath, place

from ...s3_server import BUCKET, s3_server
from ..build_inputs import build_config, build_inputs, drop_photos

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def small() -> ReleaseInputs:
    return build_inputs(3, 60, with_photos=False)


@pytest.fixture(scope="module")
def fewer(small: ReleaseInputs) -> ReleaseInputs:
    return drop_photos(small, {small.members["photo_id"][0].as_py()})


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}"


def published(inputs: ReleaseInputs, releases: str, **changes: Any) -> Published:
    config = build_config(**changes).model_copy(update={"releases": releases})
    return publish(replace(inputs, config=config))


def at(address: str) -> ObjectPath:
    found = place(address)
    assert isinstance(found, ObjectPath)
    return found


def files(home: ObjectPath) -> list[str]:
    return [path.relative_to(home) for path in home.walk()]


def test_versions_and_bytes_are_those_on_disk(small: ReleaseInputs, bucket: str, tmp_path: Path) -> None:
    photo_ids = sorted(small.members["photo_id"].to_pylist())
    steps = [drop_photos(small, {photo_ids[0]}), small, small, drop_photos(small, {photo_ids[1]})]
    for inputs, version, is_new in zip(
        steps, ("1.0.0", "1.1.0", "1.1.0", "2.0.0"), (True, True, False, True), strict=True
    ):
        local, there = published(inputs, str(tmp_path / "disk")), published(inputs, f"{bucket}/releases")
        assert (local.version, local.is_new) == (there.version, there.is_new) == (version, is_new)
        assert str(there) == f"{bucket}/releases/little-animals/{version}"
        assert isinstance(local.path, Path) and isinstance(there.path, ObjectPath)
        on_disk = sorted(path.relative_to(local.path).as_posix() for path in local.path.rglob("*") if path.is_file())
        assert sorted(files(there.path)) == on_disk
        for name in on_disk:
            assert (there.path / name).read_bytes() == (local.path / name).read_bytes(), name
    release = load(str(there), cache=tmp_path / "cache")
    assert release.tombstones["photo_id"].to_pylist() == [photo_ids[1]]
    home = at(f"{bucket}/releases/little-animals")
    assert sorted({name.split("/")[0] for name in files(home)}) == [
        ".next",
        "1.0.0",
        "1.1.0",
        "2.0.0",
        "latest.txt",
    ]
    assert (home / "latest.txt").read_bytes() == b"2.0.0\n"
    for version in (None, "latest"):
        assert load(f"{bucket}/releases/little-animals", version, cache=tmp_path / "cache").version == "2.0.0"
    with pytest.raises(ReleaseError, match=r"cannot read s3://.*nothing-here/SHA256SUMS"):
        load(f"{bucket}/releases/nothing-here", cache=tmp_path / "cache")


def test_a_version_is_never_rewritten(small: ReleaseInputs, fewer: ReleaseInputs, bucket: str) -> None:
    published(small, f"{bucket}/fixed", version="1.0.0")
    with pytest.raises(ReleaseError, match="too low"):
        published(fewer, f"{bucket}/fixed", version="1.0.0")


PUBLISHER = """
import sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
from counterset.release.publish import remote
from counterset.release.publish.writer import publish
from tests.release.build_inputs import build_config, build_inputs, drop_photos

inputs = build_inputs(3, 60, with_photos=False)
if sys.argv[3] == "fewer":
    inputs = drop_photos(inputs, {inputs.members["photo_id"][0].as_py()})
write_if, copy_to, step = remote.ObjectPath.write_if, remote.ObjectPath.copy_to, sys.argv[4]

def wait():
    print("here", flush=True)
    sys.stdin.readline()

def before(content, etag, mark):
    if step == "before the mark":
        wait()
    found = write_if(mark, content, etag)
    if step == "after the mark":
        wait()
    return found

def copying(source, target):
    copy_to(source, target)
    if step == "half copied" and target.name == "predictions.parquet":
        wait()

remote.ObjectPath.write_if = lambda mark, content, etag: before(content, etag, mark)
remote.ObjectPath.copy_to = copying
config = build_config().model_copy(update={"releases": sys.argv[2]})
try:
    print(publish(replace(inputs, config=config)), flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


class Publisher:
    """A publisher in a process of its own, that stops at a step until it is let go on."""

    def __init__(self, releases: str, inputs: str, step: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(ROOT), releases, inputs, step],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "here\n"
        os.kill(self.process.pid, signal.SIGSTOP)

    def wake(self) -> str:
        os.kill(self.process.pid, signal.SIGCONT)
        return self.process.communicate("\n", timeout=120)[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_a_publisher_that_slept_publishes_nothing_over_another_ones_release(
    small: ReleaseInputs, fewer: ReleaseInputs, bucket: str, tmp_path: Path
) -> None:
    """It was about to make its release the next one. No lease or clock decides: it may have slept for ever."""
    releases = f"{bucket}/slept"
    home = at(f"{releases}/little-animals")
    sleeper = Publisher(releases, "small", "before the mark")
    assert any(name.startswith(".parts/none/") for name in files(home))
    assert published(fewer, releases).version == "1.0.0"
    before = {name: (home / name).read_bytes() for name in files(home)}
    said = sleeper.wake()
    assert said.startswith("ReleaseError another build published to s3://"), said
    assert said.strip().endswith("so this one published nothing; run it again")
    assert {name: (home / name).read_bytes() for name in files(home)} == before
    assert not [name for name in before if name.startswith(".parts")]
    load(f"{releases}/little-animals/1.0.0", cache=tmp_path / "one")
    assert published(small, releases).version == "1.1.0"
    load(f"{releases}/little-animals/1.1.0", cache=tmp_path / "two")


def test_a_fork_of_the_versions_is_refused(small: ReleaseInputs, fewer: ReleaseInputs, bucket: str) -> None:
    """2.0.0 that follows 1.0.0 is not published when 1.0.1 followed it meanwhile: its tombstones would be forgotten."""
    releases = f"{bucket}/forked"
    published(small, releases)
    sleeper = Publisher(releases, "fewer", "before the mark")
    assert published(small, releases, homepage="https://a.example").version == "1.0.1"
    assert "another build published" in sleeper.wake()
    assert published(fewer, releases).version == "2.0.0"


@pytest.mark.parametrize("step", ["after the mark", "half copied"])
def test_a_release_is_finished_by_who_finds_it_unfinished(
    small: ReleaseInputs, fewer: ReleaseInputs, bucket: str, tmp_path: Path, step: str
) -> None:
    """Once it is the next release, the publisher that made it may die or wake at any time."""
    for number, is_killed in enumerate((True, False)):
        releases = f"{bucket}/{step.replace(' ', '-')}/{number}"
        home = at(f"{releases}/little-animals")
        maker = Publisher(releases, "fewer", step)
        assert not (home / "1.0.0" / "SHA256SUMS").is_file()  # so nobody sees it yet
        if is_killed:
            maker.kill()
        assert published(small, releases).version == "1.1.0"
        if not is_killed:
            assert maker.wake().strip() == f"{home}/1.0.0"
        for version in ("1.0.0", "1.1.0"):
            load(f"{home}/{version}", cache=tmp_path / str(number))
        assert published(small, releases).is_new is False
        assert not [name for name in files(home) if name.startswith(".parts")]


def test_a_killed_upload_leaves_nothing_that_counts(small: ReleaseInputs, fewer: ReleaseInputs, bucket: str) -> None:
    releases = f"{bucket}/killed"
    Publisher(releases, "small", "before the mark").kill()
    at(f"{releases}/little-animals/1.0.0/left.md").write_bytes(b"of an upload by earlier code that was cut off")
    made = published(fewer, releases)
    assert made.version == "1.0.0" and isinstance(made.path, ObjectPath)
    assert "left.md" not in files(made.path)
    assert not [name for name in files(made.path.parent) if name.startswith(".parts")]


DAMAGES: dict[str, Callable[[ObjectPath], None]] = {
    "SHA256SUMS is missing": lambda release: (release / "SHA256SUMS").unlink(),
    "release.json is missing": lambda release: (release / "release.json").unlink(),
    "tombstones.parquet is missing": lambda release: (release / "tombstones.parquet").unlink(),
    "common-00000-of-00001.parquet is missing": lambda release: (
        release / "data" / "common-00000-of-00001.parquet"
    ).unlink(),
    "CHANGELOG.md does not match SHA256SUMS": lambda release: (release / "CHANGELOG.md").write_bytes(b"## 0.1.0"),
    "data/counter-00000-of-00001.parquet does not match SHA256SUMS": lambda release: (
        release / "data" / "counter-00000-of-00001.parquet"
    ).write_bytes(b"PAR1"),
}


@pytest.fixture(scope="module")
def whole(small: ReleaseInputs, bucket: str) -> dict[str, bytes]:
    """All objects of a published release, which each damage leaves as it found them."""
    return contents(at(str(published(small, f"{bucket}/damaged"))).parent)


def contents(home: ObjectPath) -> dict[str, bytes]:
    return {name: (home / name).read_bytes() for name in files(home)}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("is_marked", [True, False])
def test_a_damaged_last_release_is_not_built_upon(
    small: ReleaseInputs, fewer: ReleaseInputs, bucket: str, whole: dict[str, bytes], damage: str, is_marked: bool
) -> None:
    """Nor one that was published by earlier code, which left no mark of what follows what."""
    releases = f"{bucket}/damaged"
    home = at(f"{releases}/little-animals")
    if not is_marked:
        (home / ".next" / "none").unlink()
    DAMAGES[damage](home / "1.0.0")
    before = contents(home)
    for inputs in (small, fewer):
        with pytest.raises(ReleaseError) as refused:
            published(inputs, releases)
        assert f"1.0.0 is damaged ({damage})" in str(refused.value)
        assert str(refused.value).endswith("restore it from a copy, or move it away")
    assert contents(home) == before
    for name in whole:
        if before.get(name) != whole[name]:
            (home / name).write_bytes(whole[name])


def test_a_release_that_was_moved_away_is_followed_by_another(
    small: ReleaseInputs, fewer: ReleaseInputs, bucket: str
) -> None:
    releases = f"{bucket}/moved"
    published(small, releases)
    made = published(fewer, releases)
    assert isinstance(made.path, ObjectPath)
    first = {name: (made.path / name).read_bytes() for name in files(made.path)}
    for path in list(made.path.walk()):
        path.unlink()
    again = published(fewer, releases)
    assert again.version == "2.0.0" and isinstance(again.path, ObjectPath)
    assert {name: (again.path / name).read_bytes() for name in files(again.path)} == first


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": "x/../y", "attempt": "a"}', b'{"version": "1.0.0"}'])
def test_a_mark_that_says_nothing_is_one_sentence(small: ReleaseInputs, bucket: str, content: bytes) -> None:
    at(f"{bucket}/mark/little-animals/.next/none").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"\.next/none does not say which release comes next; remove it"):
        published(small, f"{bucket}/mark")


def test_a_bucket_that_cannot_be_written_is_one_sentence(small: ReleaseInputs, bucket: str) -> None:
    with pytest.raises(ReleaseError, match=r"cannot publish to s3://no-such-bucket/x/little-animals .*NoSuchBucket"):
        published(small, "s3://no-such-bucket/x")


def test_ten_comes_after_nine(small: ReleaseInputs, fewer: ReleaseInputs, bucket: str) -> None:
    releases = f"{bucket}/ten"
    published(small, releases, version="9.0.0")
    assert published(fewer, releases).version == "10.0.0"
    assert published(small, releases).version == "10.1.0"


def test_a_service_without_conditional_writes_is_noticed(
    small: ReleaseInputs, fewer: ReleaseInputs, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is read back: when another publisher wrote over it, this one has published nothing."""
    releases = f"{bucket}/unconditional"
    write_if = ObjectPath.write_if

    def ignored(path: ObjectPath, content: bytes, etag: str | None) -> str | None:
        written = write_if(path, content, etag)
        path.write_bytes(b'{"attempt": "another", "version": "1.0.0"}')
        return written

    with monkeypatch.context() as patch:
        patch.setattr(remote.ObjectPath, "write_if", ignored)
        with pytest.raises(ReleaseError, match="another build published"):
            published(small, releases)
    assert published(fewer, releases).version == "1.0.0"
