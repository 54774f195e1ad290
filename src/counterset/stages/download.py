"""Download: candidates to images, by img2dataset over HTTP through the gate.

img2dataset runs in a child process (`fetching.img2dataset_child`): its `download()` installs a signal
handler, which only works in a main thread, and its imports cost 0.9 GB. The child leads a process group
of its own, so that it and its workers end together, and ends when its parent does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.config import DownloadConfig
from counterset.errors import ShardError, SourceUnavailable, WorkspaceError
from counterset.fetching.addresses import netloc, netloc_of_number
from counterset.fetching.img2dataset_child import Options
from counterset.schemas import IMAGES, REJECTS, RejectReason
from counterset.tables import table_of, write_bytes

MAY_HEAL = (RejectReason.TIMEOUT, RejectReason.SERVER_ERROR, RejectReason.REFUSED, RejectReason.UNDECODABLE)
"""Reasons that a later build asks again for, up to MAX_ATTEMPTS builds in all; what is gone stays gone at that URL."""

MAX_ATTEMPTS = 3

FEW_PHOTOS = 10
"""Fewer failures than this are held against the photos, not against their host."""

REPEAT_AFTER_S = (5.0, 30.0)
"""Waits before the passes over what failed in this build for a reason that may pass in a minute."""

MAX_PAUSE_S = 300.0
"""The longest pause that a host may ask for and be asked again within the build."""

_NO_SPACE = re.compile(r"no space left|disk quota exceeded|read-only file system", re.IGNORECASE)
_NOTE_AFTER_S = 5.0
"""How often spent bytes are told while a download runs."""


class Failure(NamedTuple):
    """Why a photo did not come; the fields are those of `fetching.gate.FetchFailed`."""

    reason: RejectReason
    detail: str
    netloc: str = ""
    is_silent: bool = False
    may_pass: bool = False
    wait_s: float = 0.0

    def blames(self, host: str) -> bool:
        """Whether it speaks of this host rather than of the photo or of where that redirects to."""
        is_hosts = self.may_pass or self.reason in (RejectReason.TIMEOUT, RejectReason.SERVER_ERROR)
        return is_hosts and self.netloc == host


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
        photo_host: scheme and host that replace those of every http(s) URL (a mirror); empty = none.
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
    remote = {photo_id: _at_host(url, photo_host) for photo_id, url in urls.items() if _is_remote(url)}
    images: dict[str, bytes] = {}
    failures: dict[str, Failure] = {}
    for photo_id, url in urls.items():
        if photo_id not in remote:
            _read_local(photo_id, url, config.max_size_bytes, images, failures)
    if remote:
        if allowed_hosts is None:
            allowed_hosts = ["*", *sorted(set(map(netloc_of_number, remote.values())))]
        run = _Run(config, user_agent, [*allowed_hosts, netloc(photo_host)], on_bytes)
        run.img2dataset(remote, folder, config.retries, on_progress)
        _collect(folder, remote, images, failures)
        _repeat(run, remote, folder, images, failures, on_progress or (lambda done: None))
    try:
        _check_hosts(remote, images, failures, is_retry, is_mirror=bool(photo_host))
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


def _repeat(
    run: _Run,
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
        run.img2dataset(again, place, 0, lambda done: on_progress(len(remote)))
        before = len(images)
        _collect(place, again, images, failures)
        for name in again.keys() & images.keys():
            failures.pop(name, None)
        if len(images) == before and not _went_away(remote, failures):
            return


def _went_away(remote: dict[str, str], failures: dict[str, Failure]) -> list[str]:
    """Photos of hosts that cannot be reached though they answered for others: not the photos' fault.

    A few photos prove nothing of a host, unless they are much of the list.
    """
    silent: dict[str, list[str]] = {}
    hosts = {name: netloc(url) for name, url in remote.items()}
    total = Counter(hosts.values())
    for name in sorted(failures.keys() & remote.keys()):
        if failures[name].is_silent and failures[name].blames(hosts[name]):
            silent.setdefault(hosts[name], []).append(name)
    return [
        name
        for host, names in silent.items()
        if len(names) < total[host] and len(names) >= min(FEW_PHOTOS, max(2, len(remote) / 4))
        for name in names
    ]


def _check_hosts(
    remote: dict[str, str],
    images: dict[str, bytes],
    failures: dict[str, Failure],
    is_retry: bool,
    *,
    is_mirror: bool = False,
) -> None:
    """Tell hosts that are away from photos that are bad.

    A host is judged by many photos that the list has of it, never by where a photo redirects to; a mirror,
    which the user named, by any number.

    Raises:
        SourceUnavailable: a host went away, or hosts that fail are why most photos did not come.
    """
    away = _went_away(remote, failures)
    if away:
        raise SourceUnavailable(
            f"{urlsplit(remote[away[0]]).hostname} went away in the middle: {len(away)} of {len(remote)} photos of a "
            f"shard are missing ({failures[away[0]].detail}); run again when it is back, and what came is kept"
        )
    if is_retry:
        return
    hosts = {name: netloc(url) for name, url in remote.items()}
    total = Counter(hosts.values())
    blamed = sorted(name for name, host in hosts.items() if name in failures and failures[name].blames(host))
    failed = Counter(hosts[name] for name in blamed)
    failing = [host for host, count in failed.items() if count >= FEW_PHOTOS and count > total[host] / 2]
    if sum(failed[host] for host in failing) > len(remote) / 2 or (is_mirror and 0 < len(blamed) == len(remote)):
        some = "none" if not images else f"only {len(images)}"
        raise SourceUnavailable(
            f"{some} of {len(remote)} photos could be downloaded ({failures[blamed[0]].detail}); "
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
    photo_id: str, url: str, max_bytes: int, images: dict[str, bytes], failures: dict[str, Failure]
) -> None:
    parts = urlsplit(url)
    if parts.scheme != "file":
        failures[photo_id] = Failure(RejectReason.URL_REFUSED, f"scheme {parts.scheme!r}")
        return
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe or device may have no end
            failures[photo_id] = Failure(RejectReason.GONE, "not a regular file")
        elif found.st_size > max_bytes:
            failures[photo_id] = Failure(RejectReason.TOO_LARGE, f"{found.st_size} bytes")
        else:
            images[photo_id] = path.read_bytes()
    except OSError as error:
        failures[photo_id] = Failure(RejectReason.GONE, str(error.strerror))
    except ValueError:
        failures[photo_id] = Failure(RejectReason.GONE, "the path has a null character")


class _Run:
    """Runs img2dataset, as often as a list needs it."""

    def __init__(
        self,
        config: DownloadConfig,
        user_agent: str,
        allowed_hosts: list[str],
        on_bytes: Callable[[int], None] | None,
    ) -> None:
        self._config = config
        self._user_agent = user_agent
        self._allowed_hosts = allowed_hosts
        self._on_bytes = on_bytes or (lambda count: None)

    def img2dataset(
        self, urls: dict[str, str], folder: Path, retries: int, on_progress: Callable[[int], None] | None
    ) -> None:
        """Run one img2dataset download of `urls` into `folder / "out"`."""
        photo_ids = sorted(urls)
        settings = {"allowed_hosts": self._allowed_hosts, "max_bytes": self._config.max_size_bytes}
        buffer = pa.BufferOutputStream()
        table = pa.table({"photo_id": photo_ids, "url": [urls[photo_id] for photo_id in photo_ids]})
        pq.write_table(table.replace_schema_metadata({"settings": json.dumps(settings)}), buffer)
        content = buffer.getvalue().to_pybytes()
        url_list = folder / "urls.parquet"
        if not url_list.is_file() or url_list.read_bytes() != content:
            # img2dataset silently does nothing when a list changes in a folder it knows.
            shutil.rmtree(folder, ignore_errors=True)
            write_bytes(content, url_list)
        shutil.rmtree(folder / "out" / "_tmp", ignore_errors=True)
        options: Options = {
            "allowed_hosts": self._allowed_hosts,
            "user_agent": self._user_agent,
            "timeout_s": self._config.timeout_s,
            "tries": retries + 1,
            "max_bytes": self._config.max_size_bytes,
            "spent": str(folder / "spent"),
            "img2dataset": {
                "url_list": str(url_list),
                "input_format": "parquet",
                "output_folder": str(folder / "out"),
                "output_format": "parquet",
                "disable_all_reencoding": True,
                "save_additional_columns": ["photo_id"],
                "thread_count": self._config.threads,
                "processes_count": 1,
                "number_sample_per_shard": self._config.shard_size,
                "extract_exif": False,
                "compute_hash": None,
                "retries": 0,  # the gate's
                "user_agent_token": "counterset",  # whom robots headers may name
                "disallowed_header_directives": ["noai", "noimageai", "noindex", "noimageindex"],
            },
        }
        (folder / "spent").unlink(missing_ok=True)
        self._wait_for(self._start(options, folder), folder, on_progress)

    def _start(self, options: Options, folder: Path) -> subprocess.Popen[bytes]:
        with (folder / "img2dataset.log").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "counterset.fetching.img2dataset_child", json.dumps(options), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"DO_NOT_TRACK": "1"},
                start_new_session=True,
            )

    def _wait_for(
        self, child: subprocess.Popen[bytes], folder: Path, on_progress: Callable[[int], None] | None
    ) -> None:
        noted, noted_at = 0, time.monotonic()
        try:
            while child.poll() is None:
                time.sleep(0.1)
                if on_progress:
                    on_progress(sum(count for count in _finished(folder / "out").values()))
                if time.monotonic() - noted_at > _NOTE_AFTER_S:
                    noted, noted_at = self._note(folder, noted), time.monotonic()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            self._note(folder, noted)
        if not any(_finished(folder / "out").values()):  # its own errors do not always show in its exit status
            lines = (folder / "img2dataset.log").read_text(errors="replace").strip().splitlines()
            reason = next((line for line in reversed(lines) if _NO_SPACE.search(line)), "")
            if reason:
                raise WorkspaceError(f"cannot write {folder} ({reason[-200:]}); free space and run again")
            raise ShardError(f"img2dataset ended with status {child.returncode} ({' '.join(lines[-1:])[:200]})")

    def _note(self, folder: Path, noted: int) -> int:
        """Tell what was spent beyond `noted`; the sum so far."""
        lines = (folder / "spent").read_text().split("\n")[:-1] if (folder / "spent").is_file() else []
        spent = sum(map(int, lines))
        if spent > noted:
            self._on_bytes(spent - noted)
        return spent


def _finished(out: Path) -> dict[str, int]:
    """The photos handled by each finished img2dataset shard, by shard name."""
    counts = {}
    for stats in out.glob("*_stats.json"):
        try:
            counts[stats.name.removesuffix("_stats.json")] = int(json.loads(stats.read_text())["count"])
        except (ValueError, KeyError):
            continue  # being written
    return counts


def _collect(folder: Path, asked: dict[str, str], images: dict[str, bytes], failures: dict[str, Failure]) -> None:
    """Read img2dataset's shards; join on photo_id, for its `key` is positional."""
    out = folder / "out"
    for shard in sorted(_finished(out)):
        rows = pq.read_table(out / f"{shard}.parquet", columns=["photo_id", "jpg", "status", "error_message"])
        for row in rows.to_pylist():
            if row["status"] == "success" and row["jpg"] is not None:
                images[row["photo_id"]] = row["jpg"]
            else:
                failures[row["photo_id"]] = _failure(str(row["error_message"] or row["status"]))
    for photo_id in asked.keys() - images.keys() - failures.keys():
        failures[photo_id] = Failure(RejectReason.SERVER_ERROR, "img2dataset gave no row for it")


def _failure(message: str) -> Failure:
    """What the child said of one photo."""
    try:
        said = json.loads(message)
        return Failure(**said | {"reason": RejectReason(said["reason"])})
    except (ValueError, KeyError, TypeError):  # img2dataset's own words
        return Failure(RejectReason.SERVER_ERROR, " ".join(message.split())[:200])
