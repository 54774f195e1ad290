"""Where a budget notes what was spent: a SQLite file of one machine, or an object on S3 for many."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath, Place

BUCKET_S = 60.0
"""On S3, what was spent longer ago than twice this is summed over so many seconds, at their end."""

_BUSY_S = (0.01, 0.2)
"""A writer that another one overtook waits for so long, at random, before it looks again."""


class Spent(NamedTuple):
    """One expense.

    Attributes:
        at: when, in seconds since the epoch.
        amount: how much.
    """

    at: float
    amount: float


Decide = Callable[[list[Spent]], Spent | None]
"""From what was spent, in order of time, to what is to be noted; None = nothing."""


class Ledger(Protocol):
    """What was spent, by kind; between looking and noting nobody else notes anything."""

    def note(self, kind: str, since: float, decide: Decide) -> None:
        """Note what `decide` makes of what was spent after `since`; what is older is forgotten."""

    def read(self, kind: str, since: float) -> list[Spent]:
        """What was spent after `since`, in order of time."""


def ledger_at(path: Place) -> Ledger:
    """The ledger at a path or object.

    Raises:
        WorkspaceError: it cannot be kept there.
    """
    return ObjectLedger(path) if isinstance(path, ObjectPath) else FileLedger(path)


class FileLedger:
    """In a SQLite file, for all processes of a machine; outlives a kill of each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS spent (kind TEXT, at REAL, amount REAL)")
                connection.execute("CREATE INDEX IF NOT EXISTS spent_by_time ON spent (kind, at)")
        except (OSError, sqlite3.Error) as error:
            raise WorkspaceError(f"cannot keep the budget at {path}: {error}; choose a writable workspace") from error

    def note(self, kind: str, since: float, decide: Decide) -> None:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM spent WHERE kind = ? AND at <= ?", (kind, since))
            if (spent := decide(self._rows(connection, kind, since))) is not None:
                connection.execute("INSERT INTO spent VALUES (?, ?, ?)", (kind, *spent))
            connection.execute("COMMIT")

    def read(self, kind: str, since: float) -> list[Spent]:
        with closing(self._connect()) as connection:
            return self._rows(connection, kind, since)

    def _rows(self, connection: sqlite3.Connection, kind: str, since: float) -> list[Spent]:
        query = "SELECT at, amount FROM spent WHERE kind = ? AND at > ? ORDER BY at"
        return [Spent(*row) for row in connection.execute(query, (kind, since))]

    def _connect(self) -> sqlite3.Connection:
        # No sync: a killed process loses nothing that the kernel holds, and a power cut only some history.
        connection = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        return connection


class ObjectLedger:
    """In one object on S3, for all machines of a cluster and all runs from any of them.

    Every write is conditional on the state that its writer saw, so nothing is spent twice. The machines' clocks are
    taken to agree within a second. A write whose answer is lost is noted twice: the budget errs towards too little.
    """

    def __init__(self, path: ObjectPath) -> None:
        self._path = path

    def note(self, kind: str, since: float, decide: Decide) -> None:
        while True:
            state, etag = self._state()
            rows = [row for row in state.get(kind, []) if row.at > since]
            if (spent := decide(rows)) is None:
                return
            state[kind] = _summed([*rows, spent], spent.at - 2 * BUCKET_S)
            content = json.dumps({name: list(rows) for name, rows in state.items()}, separators=(",", ":"))
            if self._path.write_if(content.encode(), etag) is not None:
                return
            time.sleep(random.uniform(*_BUSY_S))

    def read(self, kind: str, since: float) -> list[Spent]:
        return [row for row in self._state()[0].get(kind, []) if row.at > since]

    def _state(self) -> tuple[dict[str, list[Spent]], str | None]:
        found = self._path.read_tagged()
        if found is None:
            return {}, None
        try:
            state = {
                kind: sorted(Spent(*map(float, row)) for row in rows) for kind, rows in json.loads(found[0]).items()
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise WorkspaceError(
                f"the budget at {self._path} cannot be read; remove it when nothing was fetched for a day"
            ) from error
        return state, found[1]


def _summed(rows: list[Spent], until: float) -> list[Spent]:
    """Rows in order of time, those before `until` summed by `BUCKET_S`: a day's are at most 1440."""
    kept: dict[float, float] = {}
    for at, amount in sorted(rows):
        place = at if at > until else math.ceil(at / BUCKET_S) * BUCKET_S
        kept[place] = kept.get(place, 0.0) + amount
    return [Spent(*row) for row in sorted(kept.items())]
