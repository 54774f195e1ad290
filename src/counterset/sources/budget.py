"""One budget for all requests and media bytes of a build, kept on disk between runs and shared by processes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from counterset.errors import SourceUnavailable, WorkspaceError

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


class Budget:
    """What may still be spent; every request asks `acquire` first.

    Requests are also spaced evenly (the first limit's window by its amount), so that
    no burst goes out. Windows are taken a little longer than asked, because a
    server counts arrivals, which jitter.

    Args:
        path: the SQLite file; spending outlives a kill of the process.
        limits: by kind, e.g. `{"requests": request_limits(60, 10_000)}`.
        max_wait_s: a longer wait is an error that says when to come again.
    """

    def __init__(
        self,
        path: Path,
        limits: Mapping[str, tuple[Limit, ...]],
        *,
        max_wait_s: float = 120.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._limits = dict(limits)
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._sleep = sleep
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS spent (kind TEXT, at REAL, amount REAL)")
                connection.execute("CREATE INDEX IF NOT EXISTS spent_by_time ON spent (kind, at)")
        except (OSError, sqlite3.Error) as error:
            raise WorkspaceError(f"cannot keep the budget at {path}: {error}; choose a writable workspace") from error

    def acquire(self, kind: str, amount: float = 1.0, *, is_spaced: bool = True) -> None:
        """Wait until `amount` may be spent, and note it as spent.

        Raises:
            SourceUnavailable: that would take longer than `max_wait_s`.
        """
        while True:
            with closing(self._connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                now = self._clock()
                wait_s, limit = self._wait(connection, kind, amount, now, is_spaced)
                if wait_s <= 0:
                    connection.execute("INSERT INTO spent VALUES (?, ?, ?)", (kind, now, amount))
                    connection.execute("COMMIT")
                    return
                connection.execute("ROLLBACK")
            self._refuse_long(kind, wait_s, now, limit)
            self._sleep(wait_s)

    def await_room(self, kind: str, on_wait: Callable[[], None] = lambda: None) -> None:
        """Wait until something may be spent, for what is counted while it is spent (`spend`).

        Args:
            kind: of the limits.
            on_wait: called every second of the wait; may raise to end it.

        Raises:
            SourceUnavailable: that would take longer than `max_wait_s`.
        """
        while True:
            with closing(self._connect()) as connection:
                now = self._clock()
                wait_s, limit = self._wait(connection, kind, 1.0, now, is_spaced=False)
            if wait_s <= 0:
                return
            self._refuse_long(kind, wait_s, now, limit)
            on_wait()
            self._sleep(min(wait_s, 1.0))

    def spend(self, kind: str, amount: float) -> None:
        """Note what was spent, also what is more than was left."""
        with closing(self._connect()) as connection:
            connection.execute("INSERT INTO spent VALUES (?, ?, ?)", (kind, self._clock(), amount))

    def spent(self, kind: str, window_s: float) -> float:
        """What was spent in the last `window_s` seconds."""
        with closing(self._connect()) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(amount), 0) FROM spent WHERE kind = ? AND at > ?",
                (kind, self._clock() - window_s),
            ).fetchone()
        return float(row[0])

    def _refuse_long(self, kind: str, wait_s: float, now: float, limit: Limit) -> None:
        if wait_s > self._max_wait_s:
            again = datetime.fromtimestamp(now + wait_s, UTC)
            raise SourceUnavailable(
                f"the budget of {limit.amount:,.0f} {kind.replace('_', ' ')} in {limit.window_s / HOUR_S:g} h is "
                f"spent; run the same command again after {again:%Y-%m-%d %H:%M} UTC and it goes on from here"
            )

    def _wait(
        self, connection: sqlite3.Connection, kind: str, amount: float, now: float, is_spaced: bool
    ) -> tuple[float, Limit]:
        """Seconds to wait, and the limit that asks for them."""
        limits = self._limits[kind]
        longest_s = max(_wide(limit) for limit in limits)
        connection.execute("DELETE FROM spent WHERE kind = ? AND at <= ?", (kind, now - longest_s))
        last = connection.execute("SELECT max(at) FROM spent WHERE kind = ? AND at <= ?", (kind, now)).fetchone()[0]
        waits = []
        if is_spaced and last is not None:
            waits.append((last + limits[0].window_s / limits[0].amount - now, limits[0]))
        for limit in limits:
            rows = connection.execute(
                "SELECT at, amount FROM spent WHERE kind = ? AND at > ? ORDER BY at", (kind, now - _wide(limit))
            ).fetchall()
            excess = sum(row[1] for row in rows) + amount - limit.amount
            for at, freed in rows:
                if excess <= 0:
                    break
                excess -= freed
                waits.append((at + _wide(limit) - now, limit))
        return max(waits, default=(0.0, limits[0]))

    def _connect(self) -> sqlite3.Connection:
        # No sync: a killed process loses nothing that the kernel holds, and a power cut only some history.
        connection = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        return connection


def _wide(limit: Limit) -> float:
    return limit.window_s + min(1.0, limit.window_s / 10)
