"""Keeps a build's record in its workspace up to date while it runs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from counterset.build_records import FAILED, FINISHED, Recorder
from counterset.errors import CountersetError
from counterset.steps.keys import Build

EVERY_S = 2.0
"""Between two writes."""


class Record:
    """The record of the build that runs in a `with` block.

    Attributes:
        release: set to the release's folder once it is there.
    """

    def __init__(self, build: Build) -> None:
        self.release = ""
        self._progress = build.progress
        classes = {spec.class_id: spec.name for spec in build.specs}
        vocabulary = (background.name for background in build.vocabulary)
        self._recorder = Recorder(build.workspace, build.config.name, classes, vocabulary)
        self._keys: set[str] = set()
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._follow, name="run record", daemon=True)

    def use(self, *keys: str) -> None:
        """The build uses the files under these keys."""
        self._keys.update(keys)

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._writer.join()
        self._update()
        if error is None:
            self._recorder.end(FINISHED, release=self.release)
        elif not isinstance(error, Exception):
            self._recorder.end(FAILED, reason="it was told to stop; run the build again: it goes on where it stopped")
        else:
            text = " ".join(str(error).split())[:1000]
            planned = isinstance(error, CountersetError)
            self._recorder.end(FAILED, reason=text if planned else f"{type(error).__name__}: {text}".removesuffix(": "))

    def _follow(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._update()

    def _update(self) -> None:
        self._recorder.update(self._progress.counts(), self._keys)
