"""The log of decisions: Parquet files of a workspace that are added and never changed.

    <workspace>/decisions/<time>-<random>.parquet

A batch is a file of its own, on the disk before anyone is told that it was kept. A mistake is taken back by another
decision (`undo`), so the log says everything that was ever said.
"""

from __future__ import annotations

import datetime
import os
import re
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterset.errors import ReviewError, SchemaError, WorkspaceError
from counterset.review.schemas import DECISIONS, Answer, Mode, Origin, reject_reasons
from counterset.storage import Place
from counterset.tables import read_table, table_of, write_table
from counterset.workspace import Workspace

FOLDER = "decisions"
MAX_TEXT = 200
"""Characters of an id or a name."""
READERS = 8
"""Files that are read side by side: each is small, so most of the time is spent waiting for the disk or bucket."""

_PSEUDONYM = re.compile(r"\w[\w .-]{0,39}")


@dataclass(frozen=True)
class Decision:
    """What one reviewer said of one photo; the columns of the decisions table but `said_at`.

    Raises:
        ReviewError: it contradicts itself, or a text is empty, too long or holds control characters.
    """

    class_id: str
    photo_id: str
    answer: str
    reviewer: str
    mode: str = Mode.REVIEW.value
    shown_name: str | None = None
    said_name: str | None = None
    reason: str | None = None
    undoes: str | None = None
    origin: str = Origin.PAGE.value
    sample_id: str | None = None
    probability: float | None = None
    decision_id: str = ""
    """"" = a new one. Whoever may send a decision twice, or import a file twice, gives it an id of its own."""

    def __post_init__(self) -> None:
        if not self.decision_id:
            object.__setattr__(self, "decision_id", uuid.uuid4().hex)
        for name, choices in (("mode", Mode), ("answer", Answer), ("origin", Origin)):
            _check_choice(name, getattr(self, name), [choice.value for choice in choices])
        if self.reason is not None:
            _check_choice("reason", self.reason, list(reject_reasons()))
        for name in ("decision_id", "class_id", "photo_id", "shown_name", "said_name", "undoes", "sample_id"):
            _check_text(name, getattr(self, name))
        if not _PSEUDONYM.fullmatch(self.reviewer):
            raise ReviewError(
                f"the reviewer {self.reviewer[:50]!r} cannot be cited; use letters, digits, blanks, '.', '_' and '-', "
                "at most 40, the first a letter or a digit"
            )
        if self.probability is not None and not 0 < self.probability <= 1:
            raise ReviewError(f"the probability {self.probability} is none; give one above 0 and up to 1")
        self._check_parts()

    def _check_parts(self) -> None:
        """See that the answer has the parts that belong to it, and no others."""
        parts = {Answer.OTHER: "said_name", Answer.REJECT: "reason", Answer.UNDO: "undoes"}
        for answer, part in parts.items():
            if (self.answer == answer) != (getattr(self, part) is not None):
                what = "needs" if self.answer == answer else "may not have"
                raise ReviewError(f"a decision {self.answer!r} {what} {part!r} (photo {self.photo_id})")
        if self.answer == Answer.RIGHT and self.shown_name is None:
            raise ReviewError(f"nothing was shown that could be right (photo {self.photo_id}); say other or none")
        if self.mode == Mode.AUDIT and self.shown_name is not None:
            raise ReviewError(f"a blind decision was shown a name (photo {self.photo_id}); its mode is review")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ReviewError(f"the {name} {value[:50]!r} of a decision is unknown; use {', '.join(choices)}")


def _check_text(name: str, value: str | None) -> None:
    if value is not None and (not value or len(value) > MAX_TEXT or not value.isprintable()):
        raise ReviewError(
            f"the {name} {value[:50]!r} of a decision cannot be kept; give 1 to {MAX_TEXT} printable characters"
        )


def append(workspace: Workspace, decisions: Iterable[Decision]) -> int:
    """Keep a batch of decisions, whole or not at all; they are on the disk when this returns.

    The order given is the order in which they were said.

    Returns:
        How many there were.

    Raises:
        ReviewError: two have the same id.
        WorkspaceError: the disk is full, or the workspace cannot be written.
    """
    batch = list(decisions)
    if not batch:
        return 0
    now = datetime.datetime.now(datetime.UTC)
    rows = [
        asdict(decision) | {"said_at": now + datetime.timedelta(microseconds=number)}
        for number, decision in enumerate(batch)
    ]
    folder = workspace.root / FOLDER
    try:
        table = table_of(DECISIONS, rows)
    except SchemaError as error:
        raise ReviewError("a batch holds one decision twice; give each an id of its own") from error
    write_table(table, DECISIONS, folder / f"{now:%Y%m%dT%H%M%S%fZ}-{uuid.uuid4().hex[:8]}.parquet")
    if isinstance(folder, Path):
        _sync(folder)
    return len(batch)


def _sync(folder: Path) -> None:
    """Have the folder's list of files on the disk: a file's own content is there already."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def files(workspace: Workspace) -> list[Place]:
    """The log's files, in the order in which they were added."""
    return sorted((workspace.root / FOLDER).glob("*.parquet"), key=lambda path: path.name)


def read(workspace: Workspace) -> pa.Table:
    """Everything that was ever said (decisions schema), sorted by time.

    Raises:
        ReviewError: a file is damaged, of another program or newer, or two decisions have one id.
    """
    paths = files(workspace)
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(_read_file, paths))
    rows = {row: None for table in tables for row in _rows(table)}  # a batch that was sent twice is one
    try:
        table = table_of(DECISIONS, [dict(zip(_NAMES, row, strict=True)) for row in rows])
    except SchemaError as error:
        raise ReviewError(
            f"two decisions in {workspace.root / FOLDER} have one id and are not the same; "
            "move the file that does not belong there out of the folder"
        ) from error
    return table.sort_by([("said_at", "ascending"), ("decision_id", "ascending")])


_NAMES = tuple(column.name for column in DECISIONS.columns)


def _rows(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in _NAMES), strict=True)


def _read_file(path: Any) -> pa.Table:
    try:
        return read_table(path, DECISIONS)
    except (SchemaError, WorkspaceError) as error:
        raise ReviewError(
            f"{path} is damaged or holds no decisions ({' '.join(str(error).split())[:200]}); "
            "bring it back from a copy, or move it out of the folder"
        ) from error


def last_words(log: pa.Table) -> pa.Table:
    """What each reviewer said last of each photo, in each mode and sample, after all that was taken back.

    A decision can be taken back by its own reviewer only, and what was taken back stays so.

    Args:
        log: as `read` gives it.
    """
    said_by = dict(zip(log["decision_id"].to_pylist(), log["reviewer"].to_pylist(), strict=True))
    answers = list(zip(log["answer"].to_pylist(), log["undoes"].to_pylist(), log["reviewer"].to_pylist(), strict=True))
    undone = {
        undoes for answer, undoes, reviewer in answers if answer == Answer.UNDO and said_by.get(undoes) == reviewer
    }
    last: dict[tuple[Any, ...], int] = {}
    keys = zip(*(log[name].to_pylist() for name in ("reviewer", "photo_id", "mode", "sample_id")), strict=True)
    for row, (key, decision_id, (answer, _, _)) in enumerate(zip(keys, said_by, answers, strict=True)):
        if answer != Answer.UNDO and decision_id not in undone:
            last[key] = row
    return log.take(pa.array(sorted(last.values()), pa.int64()))
