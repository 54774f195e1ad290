"""One budget for all requests and media bytes of a build, kept between runs, shared by processes and machines."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple

from counterset.errors import SourceUnavailable
from counterset.sources.ledgers import Spent, ledger_at
from counterset.storage import Place

DAY_S, HOUR_S, MINUTE_S = 86_400.0, 3_600.0, 60.0


class Limit(NamedTuple):
    """At most `amount` in any `window_s` seconds."""

    amount: float
    window_s: float


MEDIA_BYTES = "media_bytes"
"""The budget's kind that bytes of photos are counted under."""

MEDIA_LIMITS = (Limit(4.5e9, HOUR_S), Limit(22e9, DAY_S))
"""Bytes of media: below the 5 GB an hour and 24 GB a day at which iNaturalist blocks."""


def request_limits(per_minute: int, per_day: int) -> tuple[Limit, ...]:
    """The limits of API requests."""
    return Limit(per_minute, MINUTE_S), Limit(per_day, DAY_S)


class _Wait(NamedTuple):
    """Seconds to wait, and the limit that asks for them."""

    seconds: float
    limit: Limit


class Budget:
    """What may still be spent; every request asks `acquire` first.

    Requests are also spaced evenly (the first limit's window by its amount), so that
    no burst goes out. Windows are taken a little longer than asked, because a
    server counts arrivals, which jitter.

    Args:
        path: of the ledger, a file for the processes of one machine or an object on S3 for many machines; spending
            outlives a kill of the process.
        limits: by kind, e.g. `{"requests": request_limits(60, 10_000)}`.
        max_wait_s: a longer wait is an error that says when to come again.

    Raises:
        WorkspaceError: the ledger cannot be kept there.
    """

    def __init__(
        self,
        path: Place,
        limits: Mapping[str, tuple[Limit, ...]],
        *,
        max_wait_s: float = 120.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger_at(path)
        self._limits = dict(limits)
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._sleep = sleep

    def acquire(self, kind: str, amount: float = 1.0, *, is_spaced: bool = True) -> None:
        """Wait until `amount` may be spent, and note it as spent.

        Raises:
            SourceUnavailable: that would take longer than `max_wait_s`.
        """
        while (wait := self._try(kind, amount, is_spaced)).seconds > 0:
            self._refuse_long(kind, wait)
            self._sleep(wait.seconds)

    def await_room(self, kind: str, on_wait: Callable[[], None] = lambda: None) -> None:
        """Wait until something may be spent, for what is counted while it is spent (`spend`).

        Args:
            kind: of the limits.
            on_wait: called every second of the wait; may raise to end it.

        Raises:
            SourceUnavailable: that would take longer than `max_wait_s`.
        """
        while True:
            now = self._clock()
            wait = self._wait(self._ledger.read(kind, now - self._longest_s(kind)), kind, 1.0, now, is_spaced=False)
            if wait.seconds <= 0:
                return
            self._refuse_long(kind, wait)
            on_wait()
            self._sleep(min(wait.seconds, 1.0))

    def spend(self, kind: str, amount: float) -> None:
        """Note what was spent, also what is more than was left."""
        now = self._clock()
        self._ledger.note(kind, now - self._longest_s(kind), lambda rows: Spent(now, amount))

    def spent(self, kind: str, window_s: float) -> float:
        """What was spent in the last `window_s` seconds, as far as a limit looks back."""
        since = self._clock() - min(window_s, self._longest_s(kind))
        return sum(row.amount for row in self._ledger.read(kind, since))

    def _try(self, kind: str, amount: float, is_spaced: bool) -> _Wait:
        """Note `amount` as spent if it may be now; the wait otherwise."""
        found: _Wait

        def decide(rows: list[Spent]) -> Spent | None:
            nonlocal found
            now = self._clock()
            found = self._wait(rows, kind, amount, now, is_spaced)
            return Spent(now, amount) if found.seconds <= 0 else None

        self._ledger.note(kind, self._clock() - self._longest_s(kind), decide)
        return found

    def _longest_s(self, kind: str) -> float:
        return max(_wide(limit) for limit in self._limits[kind])

    def _refuse_long(self, kind: str, wait: _Wait) -> None:
        if wait.seconds > self._max_wait_s:
            again = datetime.fromtimestamp(self._clock() + wait.seconds, UTC)
            raise SourceUnavailable(
                f"the budget of {wait.limit.amount:,.0f} {kind.replace('_', ' ')} in {wait.limit.window_s / HOUR_S:g} "
                f"h is spent; run the same command again after {again:%Y-%m-%d %H:%M} UTC and it goes on from here"
            )

    def _wait(self, rows: list[Spent], kind: str, amount: float, now: float, is_spaced: bool) -> _Wait:
        limits = self._limits[kind]
        waits = []
        past = bisect_right(rows, now, key=attrgetter("at"))
        if is_spaced and past:
            waits.append(_Wait(rows[past - 1].at + limits[0].window_s / limits[0].amount - now, limits[0]))
        for limit in limits:
            inside = rows[bisect_right(rows, now - _wide(limit), key=attrgetter("at")) :]
            excess = sum(row.amount for row in inside) + amount - limit.amount
            for at, freed in inside:
                if excess <= 0:
                    break
                excess -= freed
                waits.append(_Wait(at + _wide(limit) - now, limit))
        return max(waits, default=_Wait(0.0, limits[0]))


def _wide(limit: Limit) -> float:
    return limit.window_s + min(1.0, limit.window_s / 10)
