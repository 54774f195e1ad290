"""Progress: counts by stage, and what another process gets of it."""

from __future__ import annotations

import pickle

import pytest

from counterset.steps.progress import BarProgress, Progress


class Bars:
    """Stands for rich's bars; keeps what it is told."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def add_task(self, stage: str, **options: object) -> str:
        return stage

    def update(self, task: str, *, total: int, completed: int, note: str) -> None:
        self.shown.append((completed, total))


@pytest.mark.parametrize("progress", [Progress(), BarProgress(Bars())])
def test_another_process_gets_counts_of_its_own(progress: Progress) -> None:
    progress.begin("download", 10)
    progress.stopping.set()
    sent = pickle.loads(pickle.dumps(progress))
    assert type(sent) is Progress
    assert sent.stages == {} and not sent.stopping.is_set()


def test_bars_show_what_is_done_and_reused() -> None:
    bars = Bars()
    progress = BarProgress(bars)
    progress.begin("download", 10, reused=4)
    progress.advance("download", 3)
    progress.at("download", 5)
    assert bars.shown == [(4, 10), (7, 10), (9, 10)]
    assert progress.counts()["download"]["done"] == 5
    assert not hasattr(progress, "__dict__")
