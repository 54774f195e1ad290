"""Releases published to a local S3: the same versions and bytes as on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from counterset.errors import ReleaseError
from counterset.load import load
from counterset.release.inputs import ReleaseInputs
from counterset.stages.publish import Published, publish
from counterset.storage import ObjectPath, place

from ..s3_server import BUCKET, s3_server
from .build_inputs import build_config, build_inputs, drop_photos


@pytest.fixture(scope="module")
def small() -> ReleaseInputs:
    return build_inputs(3, 60, with_photos=False)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}"


def published(inputs: ReleaseInputs, releases: str, **changes: str) -> Published:
    config = build_config(**changes).model_copy(update={"releases": releases})
    return publish(replace(inputs, config=config))


def test_versions_and_bytes_are_those_on_disk(small: ReleaseInputs, bucket: str, tmp_path: Path) -> None:
    photo_ids = sorted(small.members["photo_id"].to_pylist())
    steps = [drop_photos(small, {photo_ids[0]}), small, small, drop_photos(small, {photo_ids[1]})]
    for inputs, version, is_new in zip(
        steps, ("1.0.0", "1.1.0", "1.1.0", "2.0.0"), (True, True, False, True), strict=True
    ):
        local, remote = published(inputs, str(tmp_path / "disk")), published(inputs, f"{bucket}/releases")
        assert (local.version, local.is_new) == (remote.version, remote.is_new) == (version, is_new)
        assert str(remote) == f"{bucket}/releases/little-animals/{version}"
        assert isinstance(local.path, Path) and isinstance(remote.path, ObjectPath)
        for path in (path for path in local.path.rglob("*") if path.is_file()):
            name = path.relative_to(local.path).as_posix()
            assert (remote.path / name).read_bytes() == path.read_bytes(), name
    release = load(str(remote), cache=tmp_path / "cache")
    assert release.tombstones["photo_id"].to_pylist() == [photo_ids[1]]
    assert not (place(f"{bucket}/releases/little-animals") / ".lock").exists()
    shutil.rmtree(tmp_path / "cache")


def test_a_version_is_never_rewritten(small: ReleaseInputs, bucket: str) -> None:
    published(small, f"{bucket}/fixed", version="1.0.0")
    other = drop_photos(small, {small.members["photo_id"][0].as_py()})
    with pytest.raises(ReleaseError):
        published(other, f"{bucket}/fixed", version="1.0.0")
