"""Releases published to a local S3: the same versions and bytes as on disk, by one conditional write."""

from __future__ import annotations

import threading
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


class Publisher:
    """A publisher in a thread, that stops at a step until it is woken; one that never is, was killed."""

    def __init__(self, inputs: ReleaseInputs, releases: str, step: str) -> None:
        self.step = step
        self.said = ""
        self.is_there, self.is_woken = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._publish, args=(inputs, releases), daemon=True)
        with pytest.MonkeyPatch.context() as patch:  # until it is there: it alone has called them, and goes on in them
            patch.setattr(remote.ObjectPath, "write_if", self._writing(remote.ObjectPath.write_if))
            patch.setattr(remote.ObjectPath, "copy_to", self._copying(remote.ObjectPath.copy_to))
            self.thread.start()
            assert self.is_there.wait(60), self.said

    def _publish(self, inputs: ReleaseInputs, releases: str) -> None:
        try:
            self.said = str(published(inputs, releases))
        except ReleaseError as error:
            self.said = f"refused: {error}"

    def _stop(self, step: str) -> None:
        if step == self.step and not self.is_there.is_set():
            self.is_there.set()
            self.is_woken.wait()

    def _writing(self, write_if: Callable[..., str | None]) -> Callable[..., str | None]:
        def writing(mark: ObjectPath, content: bytes, etag: str | None) -> str | None:
            self._stop("before the mark")
            found = write_if(mark, content, etag)
            self._stop("after the mark")
            return found

        return writing

    def _copying(self, copy_to: Callable[..., None]) -> Callable[..., None]:
        def copying(source: ObjectPath, target: ObjectPath) -> None:
            copy_to(source, target)
            if target.name == "predictions.parquet":
                self._stop("half copied")

        return copying

    def wake(self) -> str:
        self.is_woken.set()
        self.thread.join(120)
        return self.said


def test_a_publisher_that_slept_publishes_nothing_over_another_ones_release(
    small: ReleaseInputs, fewer: ReleaseInputs, bucket: str, tmp_path: Path
) -> None:
    """It was about to make its release the next one. No lease or clock decides: it may have slept for ever."""
    releases = f"{bucket}/slept"
    home = at(f"{releases}/little-animals")
    sleeper = Publisher(small, releases, "before the mark")
    assert any(name.startswith(".parts/none/") for name in files(home))
    assert published(fewer, releases).version == "1.0.0"
    before = {name: (home / name).read_bytes() for name in files(home)}
    said = sleeper.wake()
    assert said.startswith("refused: another build published to s3://"), said
    assert said.endswith("so this one published nothing; run it again")
    assert {name: (home / name).read_bytes() for name in files(home)} == before
    assert not [name for name in before if name.startswith(".parts")]
    load(f"{releases}/little-animals/1.0.0", cache=tmp_path / "one")
    assert published(small, releases).version == "1.1.0"
    load(f"{releases}/little-animals/1.1.0", cache=tmp_path / "two")


def test_a_fork_of_the_versions_is_refused(small: ReleaseInputs, fewer: ReleaseInputs, bucket: str) -> None:
    """2.0.0 that follows 1.0.0 is not published when 1.0.1 followed it meanwhile: its tombstones would be forgotten."""
    releases = f"{bucket}/forked"
    published(small, releases)
    sleeper = Publisher(fewer, releases, "before the mark")
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
        maker = Publisher(fewer, releases, step)
        assert not (home / "1.0.0" / "SHA256SUMS").is_file()  # so nobody sees it yet
        assert published(small, releases).version == "1.1.0"
        if not is_killed:
            assert maker.wake() == f"{home}/1.0.0"
        for version in ("1.0.0", "1.1.0"):
            load(f"{home}/{version}", cache=tmp_path / str(number))
        assert published(small, releases).is_new is False
        assert not [name for name in files(home) if name.startswith(".parts")]


def test_a_killed_upload_leaves_nothing_that_counts(small: ReleaseInputs, fewer: ReleaseInputs, bucket: str) -> None:
    releases = f"{bucket}/killed"
    Publisher(small, releases, "before the mark")
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
