"""Photos of candidates: by img2dataset over HTTP through the gate, or from files."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import pyarrow as pa

from counterset.config import DownloadConfig
from counterset.download.hosts import Failure, check_hosts, went_away
from counterset.download.img2dataset import Downloader, collect
from counterset.errors import SourceUnavailable
from counterset.fetching.addresses import netloc, netloc_of_number
from counterset.schemas import IMAGES, REJECTS, RejectReason
from counterset.tables import table_of

MAY_HEAL = (RejectReason.TIMEOUT, RejectReason.SERVER_ERROR, RejectReason.REFUSED, RejectReason.UNDECODABLE)
"""Photos that failed for these reasons are retried by later builds, until MAX_ATTEMPTS builds have tried; what is gone
stays gone at that URL."""

MAX_ATTEMPTS = 3

REPEAT_AFTER_S = (5.0, 30.0)
"""Waits before the passes over what failed in this build for a reason that may pass in a minute."""

MAX_PAUSE_S = 300.0
"""A photo whose host asks for a longer pause is not retried within the build."""


class Download(NamedTuple):
    """What a download gives: tables of the images and rejects schemas."""

    images: pa.Table
    rejects: pa.Table


def download_photos(
    candidates: pa.Table,
    folder: Path,
    config: DownloadConfig,
    *,
    user_agent: str,
    photo_hosts: Sequence[str] = ("",),
    allowed_hosts: Sequence[str] | None = None,
    is_retry: bool = False,
    on_progress: Callable[[int], None] | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> Download:
    """One image row for each photo that was downloaded, one reject row for each other.

    Args:
        candidates: the photos to download (candidates schema; photo_id, class_id, url are read).
        folder: scratch space; a folder left by a killed run of the same list is resumed. What came stays in it:
            the caller removes it once the tables are stored, so that no photo is downloaded twice.
        config: threads, timeouts, caps.
        user_agent: the requests' User-Agent.
        photo_hosts: scheme and host that replace those of every http(s) URL (a mirror), empty = none; each is asked for
            what those before it did not give.
        allowed_hosts: where photos may come from and be redirected to, as `HostRules` takes it; None = any
            public host, and the addresses that the list itself writes as numbers.
        is_retry: these photos failed in an earlier build, so their failure says nothing of the host.
        on_progress: called with the number of photos done so far, now and then.
        on_bytes: called with bytes that came over the wire since, also for what failed and what is repeated.

    Raises:
        SourceUnavailable: a host is why most photos did not come, or it answered and then was gone.
        WorkspaceError: the disk is full.
        ShardError: img2dataset ended without its result.
    """
    urls = dict(zip(candidates["photo_id"].to_pylist(), candidates["url"].to_pylist(), strict=True))
    class_ids = dict(zip(candidates["photo_id"].to_pylist(), candidates["class_id"].to_pylist(), strict=True))
    photo_hosts = photo_hosts or ("",)
    remote = {photo_id: _at_host(url, photo_hosts[0]) for photo_id, url in urls.items() if _is_remote(url)}
    images: dict[str, bytes] = {}
    failures: dict[str, Failure] = {}
    for photo_id, url in urls.items():
        if photo_id not in remote:
            _read_local(photo_id, url, config.max_size_bytes, images, failures)
    if remote:
        if allowed_hosts is None:
            written = [_at_host(urls[photo_id], host) for host in photo_hosts for photo_id in remote]
            allowed_hosts = ["*", *sorted(set(map(netloc_of_number, written)))]
        downloader = Downloader(config, user_agent, [*allowed_hosts, *map(netloc, photo_hosts)], on_bytes)
        downloader.download(remote, folder, config.retries, on_progress)
        collect(folder, remote, images, failures)
        for number, host in enumerate(photo_hosts[1:], 1):
            elsewhere = {photo_id: _at_host(urls[photo_id], host) for photo_id in remote.keys() & failures.keys()}
            if elsewhere:
                place = folder / "again" / f"mirror-{number}"
                downloader.download(elsewhere, place, config.retries, None)
                _take(place, elsewhere, remote, images, failures)
        _repeat(downloader, remote, folder, images, failures, on_progress or (lambda done: None))
    try:
        check_hosts(remote, images, failures, is_retry, is_mirror=any(photo_hosts))
    except SourceUnavailable:
        shutil.rmtree(folder if not images else folder / "again", ignore_errors=True)  # the next run asks anew
        raise
    rejects = [
        {"photo_id": photo_id, "class_id": class_ids[photo_id], "stage": "download"}
        | {"reason": failure.reason, "detail": failure.detail}
        for photo_id, failure in failures.items()
    ]
    return Download(
        table_of(IMAGES, {"photo_id": list(images), "image": list(images.values())}), table_of(REJECTS, rejects)
    )


def _take(
    folder: Path,
    elsewhere: dict[str, str],
    remote: dict[str, str],
    images: dict[str, bytes],
    failures: dict[str, Failure],
) -> None:
    """Take what another mirror gave; `remote` and `failures` then say where else a photo is, and why it failed.

    Where both failed, that is the mirror whose failure may pass, the last one if both may or none.
    """
    there: dict[str, Failure] = {}
    collect(folder, elsewhere, images, there)
    for photo_id, url in elsewhere.items():
        if photo_id in images:
            del failures[photo_id]
            remote[photo_id] = url
        elif there[photo_id].may_pass or not failures[photo_id].may_pass:
            failures[photo_id], remote[photo_id] = there[photo_id], url


def _repeat(
    downloader: Downloader,
    remote: dict[str, str],
    folder: Path,
    images: dict[str, bytes],
    failures: dict[str, Failure],
    on_progress: Callable[[int], None],
) -> None:
    """Ask again, after a while, for what failed for a reason that may pass; stop when nothing heals."""
    for number, wait_s in enumerate(REPEAT_AFTER_S, 1):
        again = {
            name: remote[name]
            for name, failure in failures.items()
            if failure.may_pass and failure.wait_s <= MAX_PAUSE_S
        }
        if not again:
            return
        until = time.monotonic() + max([wait_s, *(failures[name].wait_s for name in again)])
        while (left_s := until - time.monotonic()) > 0:
            on_progress(len(remote))  # which stops the wait when the build stops
            time.sleep(min(left_s, 0.5))
        place = folder / "again" / str(number)
        downloader.download(again, place, 0, lambda done: on_progress(len(remote)))
        before = len(images)
        collect(place, again, images, failures)
        for name in again.keys() & images.keys():
            failures.pop(name, None)
        if len(images) == before and not went_away(remote, failures):
            return


def _is_remote(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")  # in lower case, whatever the URL's


def _at_host(url: str, photo_host: str) -> str:
    if not photo_host:
        return url
    host, parts = urlsplit(photo_host), urlsplit(url)
    return urlunsplit((host.scheme, host.netloc, host.path.rstrip("/") + parts.path, parts.query, ""))


def _read_local(
    photo_id: str, url: str, max_bytes: int, images: dict[str, bytes], failures: dict[str, Failure]
) -> None:
    parts = urlsplit(url)
    if parts.scheme != "file":
        failures[photo_id] = Failure(RejectReason.URL_REFUSED, f"scheme {parts.scheme!r}")
        return
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or device may have no end
            failures[photo_id] = Failure(RejectReason.GONE, "not a regular file")
        elif status.st_size > max_bytes:
            failures[photo_id] = Failure(RejectReason.TOO_LARGE, f"{status.st_size} bytes")
        else:
            images[photo_id] = path.read_bytes()
    except OSError as error:
        failures[photo_id] = Failure(RejectReason.GONE, str(error.strerror))
    except ValueError:
        failures[photo_id] = Failure(RejectReason.GONE, "the path has a null character")
