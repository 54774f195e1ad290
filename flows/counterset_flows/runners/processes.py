"""Other processes on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from prefect.task_runners import ProcessPoolTaskRunner

from counterset_flows.pool import Pool, limits_of


@contextlib.contextmanager
def start(threads: int) -> Iterator[Pool]:
    """As many workers as this process may use processors for.

    Args:
        threads: of one embedding.
    """
    limits = limits_of(len(os.sched_getaffinity(0)), threads)
    with ProcessPoolTaskRunner(max_workers=sum(limits.values())) as runner:
        yield Pool(runner, limits, threads)
