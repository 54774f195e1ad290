"""The process in which img2dataset downloads photos through the gate.

`python -m counterset.download.img2dataset_child OPTIONS PARENT_PID`; `download.img2dataset` starts it. img2dataset
fetches with `urllib.request.urlopen`, which asks whatever opener is installed: here one that asks the gate.
Its own retries, its browser's User-Agent and its unbounded read are not used.
"""

from __future__ import annotations

import io
import json
import multiprocessing.context
import os
import signal
import sys
import threading
import time
import types
import urllib.request
from collections.abc import Mapping
from typing import Any, TypedDict

from counterset.fetching.addresses import HostRules
from counterset.fetching.gate import FetchFailed, Gate


class Options(TypedDict):
    """What the parent says.

    Attributes:
        allowed_hosts: as `HostRules` takes them.
        user_agent: sent with each request.
        timeout_s: of one read.
        tries: of one photo.
        max_bytes: of one photo.
        spent: file to which the bytes of each answer are appended, one number per line.
        img2dataset: arguments of its `download`.
    """

    allowed_hosts: list[str]
    user_agent: str
    timeout_s: float
    tries: int
    max_bytes: int
    spent: str
    img2dataset: dict[str, Any]


class _Failure(Exception):
    """img2dataset keeps an error's text, so the text is the failure as JSON."""

    def __init__(self, failure: FetchFailed) -> None:
        said = {name: getattr(failure, name) for name in ("reason", "netloc", "is_silent", "may_pass", "wait_s")}
        super().__init__(json.dumps(said | {"detail": str(failure)}))


class _Answer(io.BytesIO):
    def __init__(self, content: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(content)
        self.headers = headers


class _Opener:
    """What `urlopen` asks."""

    def __init__(self, options: Options) -> None:
        from img2dataset.downloader import is_disallowed

        settings = options["img2dataset"]
        token, directives = settings["user_agent_token"], set(settings["disallowed_header_directives"])
        self._is_unwanted = lambda headers: is_disallowed(headers, token, directives)
        self._max_bytes = options["max_bytes"]
        spent = os.open(options["spent"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._gate = Gate(
            HostRules((), options["allowed_hosts"]),
            options["user_agent"],
            timeout_s=options["timeout_s"],
            tries=options["tries"],
            connections=settings["thread_count"],
            on_bytes=lambda count: _append(spent, count),
        )

    def open(self, request: urllib.request.Request, data: object = None, timeout: object = None) -> _Answer:
        try:
            answer = self._gate.get(request.full_url, self._max_bytes, self._is_unwanted)
        except FetchFailed as failure:
            raise _Failure(failure) from None
        return _Answer(answer.content, answer.headers)


def _append(file: int, count: int) -> None:
    os.write(file, f"{count}\n".encode())


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
    for formats, distributors, logs, its command line and resizing that are not used here takes most of the start:
    torch and ray are guarded and may be missing, the others may be empty.
    """
    for name in ("torch", "ray"):
        sys.modules[name] = None  # type: ignore[assignment]
    for name in ("wandb", "albumentations", "pandas", "fire", "exifread"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["pandas"].__version__ = "0"  # type: ignore[attr-defined]  # pyarrow does without one so old
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]
    multiprocessing.context.SpawnProcess = multiprocessing.context.ForkProcess  # type: ignore[misc, assignment]


def main(options: Options, parent: int) -> None:
    """Download, and end with the parent."""
    _end_with_parent(parent)
    _start_quickly()
    from img2dataset import download

    urllib.request.install_opener(_Opener(options))  # type: ignore[arg-type]
    download(**options["img2dataset"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
