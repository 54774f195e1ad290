"""The same build with its workspace and releases on S3, killed on the way, gives the same bytes, and is reviewed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import counterset
from counterset.demo.serve import ServerProcess
from counterset.review.desk import Desk, Said
from counterset.review.opening import review_gallery
from counterset.storage import ObjectPath, place
from counterset.workspace import Workspace

from ..s3_server import BUCKET, s3_server
from ..steps import whole_build
from .small_build import SMALL_BUILD

CONFIG = (
    """
name = "a-build"
workspace = "{place}/workspace"
releases = "{place}/releases"
"""
    + SMALL_BUILD
    + """with_images = true
"""
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--photos-per-class", "40", "--seed", "6") as running:
        yield running


@pytest.fixture(scope="module")
def environment(sandbox: Any) -> Iterator[dict[str, str]]:
    with s3_server() as s3, pytest.MonkeyPatch.context() as patch:
        for name, value in s3.items():
            patch.setenv(name, value)
        patch.setenv("COUNTERSET_CACHE", str(sandbox.folder / "cache"))
        yield sandbox.environment


def there(name: str) -> ObjectPath:
    found = place(f"s3://{BUCKET}/{name}")
    assert isinstance(found, ObjectPath)
    return found


def test_the_same_bytes_as_on_disk_and_the_same_reviews(
    sandbox: Any, server: ServerProcess, environment: dict[str, str]
) -> None:
    work: Path = sandbox.folder / "s3"
    work.mkdir()
    local, remote = work / "local.toml", work / "remote.toml"
    local.write_text(CONFIG.format(place="on-disk", url=server.url))
    remote.write_text(CONFIG.format(place=f"s3://{BUCKET}/x", url=server.url))
    made = sandbox.here("build", str(local))
    assert made.returncode == 0, made.stderr
    folder = work / "on-disk" / "releases" / "a-build" / "1.0.0"

    killed = subprocess.Popen(
        [sys.executable, "-m", "counterset.cli", "build", str(remote)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while killed.poll() is None and not list(there("x/workspace").glob("photos/*/*.parquet")):
        time.sleep(0.1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert (there("x/workspace") / ".lease").is_file()  # of a dead process of this machine: taken over at once
    made = sandbox.here("build", str(remote))
    assert made.returncode == 0, made.stderr
    release = there("x/releases/a-build/1.0.0")
    assert (release / "SHA256SUMS").read_bytes() == (folder / "SHA256SUMS").read_bytes()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        assert (release / path.relative_to(folder).as_posix()).read_bytes() == path.read_bytes(), path
    assert not (there("x/workspace") / ".lease").exists()

    again = sandbox.here("build", str(remote))
    assert again.returncode == 0 and "nothing to do" in again.stdout, again.stderr
    loaded = counterset.load(str(release), cache=work / "cache")
    assert loaded.all_photos.num_rows > 60

    _review_on_s3(Workspace(f"s3://{BUCKET}/x/workspace"))
    whole_build.build(remote)
    reviewed = counterset.load(str(there("x/releases/a-build/2.0.0")), cache=work / "cache")
    assert reviewed.metadata["review"]["reviewers"].keys() == {"ada"}
    assert reviewed.all_photos.num_rows == loaded.all_photos.num_rows - 1


def _review_on_s3(workspace: Workspace) -> None:
    """Say something of every lion, and reject one, on the page's desk; another desk knows it from the bucket."""
    gallery = review_gallery(workspace)
    first, *others = gallery.of_class("lion")
    assert gallery.read(gallery.photos[first].photo_id, False)
    desk = Desk(gallery, workspace)
    desk.say("ada", [Said(first, "d0", "reject", reason="label_noise")])
    desk.say("ada", [Said(number, f"d{number}", "none") for number in others])
    assert len(list((workspace.root / "decisions").glob("*.parquet"))) == 2
    assert Desk(gallery, workspace).progress()["lion"] == [len(others) + 1] * 2
