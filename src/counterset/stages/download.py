"""Download: candidates to images, by img2dataset over HTTP.

img2dataset runs in a child process: its `download()` installs a signal handler, which
only works in a main thread, and its imports cost 0.9 GB. The child leads a process group
of its own, so that it and its workers end together, and ends when its parent does.
"""

from __future__ import annotations

import json
import multiprocessing.context
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.config import DownloadConfig
from counterset.errors import ShardError, SourceUnavailable, WorkspaceError
from counterset.schemas import IMAGES, REJECTS, RejectReason
from counterset.tables import table_of, write_bytes

FAILURES: tuple[tuple[str, RejectReason], ...] = (
    (r"HTTP Error (403|404|410)", RejectReason.GONE),
    (r"HTTP Error (401|429)|X-Robots-Tag", RejectReason.REFUSED),
    (r"timed out|timeout", RejectReason.TIMEOUT),
)
"""What img2dataset's error texts mean; anything else is a server error."""

HOST_FAILURES = (RejectReason.TIMEOUT, RejectReason.SERVER_ERROR)
"""Reasons that speak of the host rather than of the photo."""

MAY_HEAL = (RejectReason.TIMEOUT, RejectReason.SERVER_ERROR, RejectReason.REFUSED, RejectReason.UNDECODABLE)
"""Reasons that a later build asks again for, up to MAX_ATTEMPTS builds in all; what is gone stays gone at that URL."""

MAX_ATTEMPTS = 3

FEW_PHOTOS = 10
"""Fewer failures than this are held against the photos, not against their host."""

REPEAT_AFTER_S = (5.0, 30.0)
"""Waits before the passes over what failed in this build for a reason that may pass in a minute."""

_MAY_PASS = re.compile(r"timed out|timeout|HTTP Error (429|5\d\d)|reset|closed|aborted", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"refused|unreachable|no route|name or service|name resolution|nodename|no address", re.IGNORECASE
)
_NO_SPACE = re.compile(r"no space left|disk quota exceeded|read-only file system", re.IGNORECASE)


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
    photo_host: str = "",
    is_retry: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Download:
    """One image row for each photo that was downloaded, one reject row for each other.

    Args:
        candidates: the photos to download (candidates schema; photo_id, class_id, url are read).
        folder: scratch space; a folder left by a killed run of the same list is resumed.
        config: threads, timeouts, caps.
        user_agent: added to the requests' User-Agent.
        photo_host: scheme and host that replace those of every http(s) URL (a mirror); empty = none.
        is_retry: these photos failed in an earlier build, so their failure says nothing of the host.
        on_progress: called with the number of photos done so far, now and then.

    Raises:
        SourceUnavailable: not one photo came and the host is why, or a host answered and then was gone.
        WorkspaceError: the disk is full.
        ShardError: img2dataset ended without its result.
    """
    urls = dict(zip(candidates["photo_id"].to_pylist(), candidates["url"].to_pylist(), strict=True))
    class_ids = dict(zip(candidates["photo_id"].to_pylist(), candidates["class_id"].to_pylist(), strict=True))
    remote = {photo_id: _at_host(url, photo_host) for photo_id, url in urls.items() if _is_remote(url)}
    images: dict[str, bytes] = {}
    failures: dict[str, tuple[RejectReason, str]] = {}
    for photo_id, url in urls.items():
        if photo_id not in remote:
            _read_local(photo_id, url, images, failures)
    if remote:
        _run_img2dataset(remote, folder, config, user_agent, on_progress)
        _collect(folder, remote, images, failures)
        _repeat(remote, folder, config, user_agent, images, failures)
    try:
        _check_hosts(remote, images, failures, is_retry)
    except SourceUnavailable:
        shutil.rmtree(folder if not images else folder / "again", ignore_errors=True)  # the next run asks anew
        raise
    for photo_id in [photo_id for photo_id, image in images.items() if len(image) > config.max_size_bytes]:
        failures[photo_id] = (RejectReason.TOO_LARGE, f"{len(images.pop(photo_id))} bytes")
    rejects = [
        {"photo_id": photo_id, "class_id": class_ids[photo_id], "stage": "download", "reason": reason, "detail": detail}
        for photo_id, (reason, detail) in failures.items()
    ]
    shutil.rmtree(folder, ignore_errors=True)
    return Download(
        table_of(IMAGES, {"photo_id": list(images), "image": list(images.values())}), table_of(REJECTS, rejects)
    )


def _repeat(
    remote: dict[str, str],
    folder: Path,
    config: DownloadConfig,
    user_agent: str,
    images: dict[str, bytes],
    failures: dict[str, tuple[RejectReason, str]],
) -> None:
    """Ask again, after a while, for what failed for a reason that may pass; stop when nothing heals."""
    for number, wait_s in enumerate(REPEAT_AFTER_S, 1):
        away = _went_away(remote, images, failures)
        again = {name: remote[name] for name in away}
        again |= {name: remote[name] for name, (_, detail) in failures.items() if _MAY_PASS.search(detail)}
        if not again:
            return
        time.sleep(wait_s)
        place = folder / "again" / str(number)
        _run_img2dataset(again, place, config.model_copy(update={"retries": 0}), user_agent, None)
        before = len(images)
        _collect(place, again, images, failures)
        for name in again.keys() & images.keys():
            failures.pop(name, None)
        if len(images) == before and not away:
            return


def _went_away(
    remote: dict[str, str], images: dict[str, bytes], failures: dict[str, tuple[RejectReason, str]]
) -> list[str]:
    """Photos whose host cannot be reached though it answered for others: not the photos' fault."""
    silent = {name for name, (_, detail) in failures.items() if name in remote and _UNREACHABLE.search(detail)}
    answering = {urlsplit(remote[name]).netloc for name in remote.keys() - silent}
    return sorted(name for name in silent if urlsplit(remote[name]).netloc in answering)


def _check_hosts(
    remote: dict[str, str], images: dict[str, bytes], failures: dict[str, tuple[RejectReason, str]], is_retry: bool
) -> None:
    """Tell a host that is away from photos that are bad.

    Raises:
        SourceUnavailable: a host went away, or nothing at all could be reached, or most of many photos failed.
    """
    hosts_fault = sorted(name for name, (reason, _) in failures.items() if reason in HOST_FAILURES)
    silent = [name for name in hosts_fault if _UNREACHABLE.search(failures[name][1])]
    away = _went_away(remote, images, failures)
    if away:
        raise SourceUnavailable(
            f"{urlsplit(remote[away[0]]).hostname} went away in the middle: {len(away)} of {len(remote)} photos of a "
            f"shard are missing ({failures[away[0]][1]}); run again when it is back, and what came is kept"
        )
    is_silent = bool(silent) and not images and len(silent) == len(remote)
    is_failing = len(hosts_fault) >= FEW_PHOTOS and len(hosts_fault) > len(remote) / 2
    if not is_retry and (is_silent or is_failing):
        some = "none" if not images else f"only {len(images)}"
        raise SourceUnavailable(
            f"{some} of {len(remote)} photos could be downloaded ({failures[hosts_fault[0]][1]}); "
            "check the network and run again"
        )


def _is_remote(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")  # in lower case, whatever the URL's


def _at_host(url: str, photo_host: str) -> str:
    if not photo_host:
        return url
    host, parts = urlsplit(photo_host), urlsplit(url)
    return urlunsplit((host.scheme, host.netloc, host.path.rstrip("/") + parts.path, parts.query, ""))


def _read_local(
    photo_id: str, url: str, images: dict[str, bytes], failures: dict[str, tuple[RejectReason, str]]
) -> None:
    parts = urlsplit(url)
    if parts.scheme != "file":
        failures[photo_id] = (RejectReason.URL_REFUSED, f"scheme {parts.scheme!r}")
        return
    try:
        images[photo_id] = Path(os.fsdecode(unquote_to_bytes(parts.path))).read_bytes()
    except OSError as error:
        failures[photo_id] = (RejectReason.GONE, str(error.strerror))


def _run_img2dataset(
    urls: dict[str, str],
    folder: Path,
    config: DownloadConfig,
    user_agent: str,
    on_progress: Callable[[int], None] | None,
) -> None:
    """Run one img2dataset download of `urls` into `folder / "out"`."""
    photo_ids = sorted(urls)
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"photo_id": photo_ids, "url": [urls[photo_id] for photo_id in photo_ids]}), buffer)
    content = buffer.getvalue().to_pybytes()
    url_list = folder / "urls.parquet"
    if not url_list.is_file() or url_list.read_bytes() != content:
        # img2dataset silently does nothing when a list changes in a folder it knows.
        shutil.rmtree(folder, ignore_errors=True)
        write_bytes(content, url_list)
    shutil.rmtree(folder / "out" / "_tmp", ignore_errors=True)
    options = {
        "url_list": str(url_list),
        "input_format": "parquet",
        "output_folder": str(folder / "out"),
        "output_format": "parquet",
        "disable_all_reencoding": True,
        "save_additional_columns": ["photo_id"],
        "thread_count": config.threads,
        "processes_count": 1,
        "number_sample_per_shard": config.shard_size,
        "timeout": config.timeout_s,
        "retries": config.retries,
        "extract_exif": False,
        "compute_hash": None,
        "user_agent_token": user_agent,
    }
    log = folder / "img2dataset.log"
    environment = os.environ | {"DO_NOT_TRACK": "1"}
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "counterset.stages.download", json.dumps(options), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            while child.poll() is None:
                time.sleep(0.1)
                if on_progress:
                    on_progress(sum(count for count in _finished(folder / "out").values()))
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if not any(_finished(folder / "out").values()):  # its own errors do not always show in its exit status
        lines = log.read_text(errors="replace").strip().splitlines()
        reason = next((line for line in reversed(lines) if _NO_SPACE.search(line)), "")
        if reason:
            raise WorkspaceError(f"cannot write {folder} ({reason[-200:]}); free space and run again")
        raise ShardError(f"img2dataset ended with status {child.returncode} ({' '.join(lines[-1:])[:200]})")


def _finished(out: Path) -> dict[str, int]:
    """The photos handled by each finished img2dataset shard, by shard name."""
    counts = {}
    for stats in out.glob("*_stats.json"):
        try:
            counts[stats.name.removesuffix("_stats.json")] = int(json.loads(stats.read_text())["count"])
        except (ValueError, KeyError):
            continue  # being written
    return counts


def _collect(
    folder: Path, asked: dict[str, str], images: dict[str, bytes], failures: dict[str, tuple[RejectReason, str]]
) -> None:
    """Read img2dataset's shards; join on photo_id, for its `key` is positional."""
    out = folder / "out"
    for shard in sorted(_finished(out)):
        rows = pq.read_table(out / f"{shard}.parquet", columns=["photo_id", "jpg", "status", "error_message"])
        for row in rows.to_pylist():
            if row["status"] == "success" and row["jpg"] is not None:
                images[row["photo_id"]] = row["jpg"]
            else:
                message = str(row["error_message"] or row["status"])
                failures[row["photo_id"]] = (_reason(message), message[:200])
    for photo_id in asked.keys() - images.keys() - failures.keys():
        failures[photo_id] = (RejectReason.SERVER_ERROR, "img2dataset gave no row for it")


def _reason(message: str) -> RejectReason:
    for pattern, reason in FAILURES:
        if re.search(pattern, message, re.IGNORECASE):
            return reason
    return RejectReason.SERVER_ERROR


def _end_with_parent(parent: int) -> None:
    """End this process group when the parent is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _start_quickly() -> None:
    """Spare img2dataset most of its start, which is paid for every shard.

    It starts two processes that each import everything again, so they are forked instead. What it imports
    for formats, distributors, logs and resizing that are not used here takes two thirds of the start: torch
    and ray are guarded and may be missing, the others may be empty.
    """
    for name in ("torch", "ray"):
        sys.modules[name] = None  # type: ignore[assignment]
    for name in ("wandb", "albumentations"):
        sys.modules[name] = types.ModuleType(name)
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]
    multiprocessing.context.SpawnProcess = multiprocessing.context.ForkProcess  # type: ignore[misc, assignment]


def _child(options: dict[str, Any], parent: int) -> None:
    _end_with_parent(parent)
    _start_quickly()
    from img2dataset import download

    download(**options)


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]), int(sys.argv[2]))
