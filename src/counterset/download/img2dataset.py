"""img2dataset, in a child process.

Its `download()` installs a signal handler, which only works in a main thread, and its imports cost 0.9 GB. The
child (`img2dataset_child`) leads a process group of its own, so that it and its workers end together, and ends when
its parent does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.config import DownloadConfig
from counterset.download.hosts import Failure
from counterset.download.img2dataset_child import Options
from counterset.errors import ShardError, WorkspaceError
from counterset.schemas import RejectReason
from counterset.tables import write_bytes

_NO_SPACE = re.compile(r"no space left|disk quota exceeded|read-only file system", re.IGNORECASE)
_NOTE_AFTER_S = 5.0
"""How often spent bytes are told while a download runs."""


class Downloader:
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

    def download(
        self, urls: dict[str, str], folder: Path, retries: int, on_progress: Callable[[int], None] | None
    ) -> None:
        """Run img2dataset once, on `urls`, into `folder / "out"`; `collect` reads what came."""
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
                [sys.executable, "-m", "counterset.download.img2dataset_child", json.dumps(options), str(os.getpid())],
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
                    on_progress(sum(count for count in finished(folder / "out").values()))
                if time.monotonic() - noted_at > _NOTE_AFTER_S:
                    noted, noted_at = self._note(folder, noted), time.monotonic()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            self._note(folder, noted)
        if not any(finished(folder / "out").values()):  # its own errors do not always show in its exit status
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


def collect(folder: Path, asked: dict[str, str], images: dict[str, bytes], failures: dict[str, Failure]) -> None:
    """Read img2dataset's shards; join on photo_id, for its `key` is positional."""
    out = folder / "out"
    for shard in sorted(finished(out)):
        rows = pq.read_table(out / f"{shard}.parquet", columns=["photo_id", "jpg", "status", "error_message"])
        for row in rows.to_pylist():
            if row["status"] == "success" and row["jpg"] is not None:
                images[row["photo_id"]] = row["jpg"]
            else:
                failures[row["photo_id"]] = _failure(str(row["error_message"] or row["status"]))
    for photo_id in asked.keys() - images.keys() - failures.keys():
        failures[photo_id] = Failure(RejectReason.SERVER_ERROR, "img2dataset gave no row for it")


def finished(out: Path) -> dict[str, int]:
    """The photos handled by each finished img2dataset shard, by shard name."""
    counts = {}
    for stats in out.glob("*_stats.json"):
        try:
            counts[stats.name.removesuffix("_stats.json")] = int(json.loads(stats.read_text())["count"])
        except (ValueError, KeyError):
            continue  # being written
    return counts


def _failure(message: str) -> Failure:
    """What the child said of one photo."""
    try:
        said = json.loads(message)
        return Failure(**said | {"reason": RejectReason(said["reason"])})
    except (ValueError, KeyError, TypeError):  # img2dataset's own words
        return Failure(RejectReason.SERVER_ERROR, " ".join(message.split())[:200])
