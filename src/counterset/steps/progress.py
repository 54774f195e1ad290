"""Progress of a run: one line per stage for logs, bars for the command line. A flow makes it and hands it on."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)


@dataclass
class StageCount:
    """What one stage has done: photos (or classes) asked for, done now, found done before, and seconds."""

    total: int = 0
    done: int = 0
    reused: int = 0
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0


class Progress:
    """Counts by stage; safe from several threads. Logs when a stage ends.

    Attributes:
        stages: each stage's counts, in the order of their beginning.
        stopping: set when the run stops early, for a download may have hours to go.
    """

    __slots__ = ("_lock", "stages", "stopping")  # and no __dict__, which Prefect would send to its server

    def __init__(self) -> None:
        self.stages: dict[str, StageCount] = {}
        self.stopping = threading.Event()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Progress], tuple[()]]:
        return Progress, ()  # another process gets counts that nobody looks at

    def begin(self, stage: str, total: int, reused: int = 0) -> None:
        """A stage is about to do `total - reused` units of `total`."""
        with self._lock:
            self.stages[stage] = StageCount(total=total, reused=reused)
            self._show(stage)

    def advance(self, stage: str, done: int) -> None:
        """`done` more units of the stage are finished."""
        with self._lock:
            count = self.stages[stage]
            count.done += done
            count.seconds = time.monotonic() - count.started
            self._show(stage)

    def at(self, stage: str, done: int) -> None:
        """The stage stands at `done` units of this run."""
        self.advance(stage, done - self.stages[stage].done)

    def grow(self, stage: str, more: int) -> None:
        """The stage has `more` units than was known."""
        with self._lock:
            self.stages[stage].total += more
            self._show(stage)

    def counts(self) -> dict[str, dict[str, float]]:
        """Total, done, reused and seconds by stage."""
        with self._lock:
            return {
                name: {"total": count.total, "done": count.done, "reused": count.reused, "seconds": count.seconds}
                for name, count in self.stages.items()
            }

    def _show(self, stage: str) -> None:
        count = self.stages[stage]
        if count.done + count.reused >= count.total:
            logger.info("%s: %d of %d, %d reused", stage, count.done + count.reused, count.total, count.reused)


class BarProgress(Progress):
    """Bars with counts, rate and time left on a terminal (rich)."""

    __slots__ = ("_bars", "_tasks")

    def __init__(self, bars: Any) -> None:
        super().__init__()
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def _show(self, stage: str) -> None:
        count = self.stages[stage]
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=count.total, completed=count.reused, note="")
        note = f"{count.reused:,} reused" if count.reused else ""
        self._bars.update(
            self._tasks[stage], total=count.total, completed=min(count.total, count.done + count.reused), note=note
        )
