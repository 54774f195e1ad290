"""Lists of captions in, the balanced rows of them out. Rows are streamed: once to count, once to draw."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterset.csv_rows import BadLine
from counterset.errors import ConfigError, SourceError, WorkspaceError
from counterset.outputs import check_output
from counterset.sources.balancing import Balance, Ints, hashes
from counterset.sources.cells import text_of
from counterset.sources.lists import BATCH_ROWS, TEXTS, Batch, ListFile, Row
from counterset.sources.matching import Phrases, words_of
from counterset.sources.schemas import ENTRIES, NOT_KEPT, NotKept
from counterset.tables import parquet_options, row_group_size, table_of, write_table


class Balanced(NamedTuple):
    """What was made of lists.

    Attributes:
        num_kept: rows kept, and `num_not_kept`: the others, by reason.
        expected: rows that are kept on average over all seeds.
        num_entries: different entries, and `num_thinned`: those that more than t texts name.
    """

    num_kept: int
    num_not_kept: dict[NotKept, int]
    expected: float
    num_entries: int
    num_thinned: int


def balance_lists(
    captions: Sequence[Path], entries: Path, output: Path, *, t: int, seed: int, id_column: str | None = None
) -> Balanced:
    """Write the balanced rows of lists, each list's as `kept-<number>.parquet` with the list's columns.

    Beside them lie `entries.parquet` (ENTRIES) and `not_kept-<number>.parquet` (NOT_KEPT).

    Args:
        captions: lists with a column `title`, `caption` or `text`; a row's text is its title, description and tags.
        entries: a text with one entry per line, or a JSON list of them.
        output: a folder that is not there yet, or is empty.
        t: texts that an entry may have before it is thinned, at least 1.
        seed: of the draws.
        id_column: what names a text; None = its URL, or itself where there is none.

    Raises:
        ConfigError: t is below 1, or a list has no column `id_column`.
        SourceError: a file cannot be read, or there is no entry.
        WorkspaceError: the output is not empty, or cannot be written.
    """
    if t < 1:
        raise ConfigError(f"--t is {t}; give the texts that an entry may have before it is thinned, 1 or more")
    check_output(output)
    if output.exists() and any(output.iterdir()):
        raise WorkspaceError(f"{output} is not empty; name a new folder")
    lists = [_Captions(path, id_column) for path in captions]
    names = read_entries(entries)
    aside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        aside.mkdir(parents=True)
        balanced = _balance(lists, names, aside, t, seed)
        shutil.rmtree(aside / "matches")
        aside.replace(output)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WorkspaceError(f"cannot write {output}: {reason}; free space or choose another folder") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return balanced


def read_entries(path: Path) -> list[str]:
    """The entries of a text with one per line, or of a JSON list.

    Raises:
        SourceError: it is neither, or no entry has a letter or digit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)[:200]
        raise SourceError(f"cannot read the entries {path}: {said}; give one per line, in UTF-8") from error
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise SourceError(f"the entries {path} are no list of texts; give one per line, or a JSON list of texts")
    if not any(map(words_of, found)):
        raise SourceError(f"no entry of {path} has a letter or digit; give one per line")
    return found


class _Captions:
    """A list of captions, a few thousand rows at a time."""

    def __init__(self, path: Path, id_column: str | None) -> None:
        if not ListFile.takes(str(path)):
            raise SourceError(f"{path} is no list of captions; give a local file ({', '.join(ListFile.SUFFIXES)})")
        self.list = ListFile(path, ("title",))
        if id_column is not None and id_column not in self.list.names:
            raise ConfigError(f"{path} has no column {id_column!r}; it has {', '.join(self.list.names)}")
        self._id = None if id_column is None else self.list.names.index(id_column)
        fields = (*TEXTS, "url") if id_column is None else TEXTS
        self._places = {place for field in fields for place in self.list.places[field]} | (
            set() if self._id is None else {self._id}
        )

    def batches(self) -> Iterator[Batch]:
        return self.list.batches(self._places)

    def texts(self, rows: Sequence[Row | BadLine]) -> list[list[str]]:
        return [[] if isinstance(row, BadLine) else self.list.texts(row) for row in rows]

    def ids(self, rows: Sequence[Row | BadLine], texts: Sequence[list[str]]) -> Iterator[str]:
        """What names each text; of a bad line, nothing."""
        for row, text in zip(rows, texts, strict=True):
            if isinstance(row, BadLine):
                yield ""
            elif self._id is not None:
                yield text_of(row.values[self._id]) or ""
            else:
                yield self.list.value(row, "url", text_of) or "\n".join(text)


def _balance(lists: Sequence[_Captions], names: list[str], folder: Path, t: int, seed: int) -> Balanced:
    phrases = Phrases(names)
    counts = np.zeros(len(names), np.int64)
    (folder / "matches").mkdir()
    number = itertools.count()
    for captions in lists:
        for batch in captions.batches():
            text, entry = _matches(phrases, captions.texts(batch.rows), len(names))
            counts += np.bincount(entry, minlength=len(names))
            np.save(folder / f"matches/{next(number)}.npy", np.stack([text, entry]))
    drawn = Balance(counts, t, hashes((" ".join(words_of(name)) for name in names), seed))
    num_kept, expected, not_kept = np.zeros(len(names), np.int64), 0.0, dict.fromkeys(NotKept, 0)
    num_rows, number = 0, itertools.count()
    for place, captions in enumerate(lists):
        with (
            _Writer(folder / f"kept-{place:05}.parquet") as kept_rows,
            _Writer(folder / f"not_kept-{place:05}.parquet") as other_rows,
        ):
            for rows, table in captions.batches():
                text, entry = np.load(folder / f"matches/{next(number)}.npy")
                texts = captions.texts(rows)
                is_kept = drawn.kept(text, entry, hashes(captions.ids(rows, texts), seed))
                expected += float(drawn.expected(text, entry, len(rows)).sum())
                num_kept += np.bincount(entry[is_kept[text]], minlength=len(names))
                num_rows += int(np.count_nonzero(is_kept))
                kept_rows.write(table.filter(pa.array(is_kept)))
                names_some = np.bincount(text, minlength=len(rows)) > 0
                reasons = [
                    (row.number, _reason(row, said, is_named))
                    for row, said, is_named, is_in in zip(rows, texts, names_some, is_kept, strict=True)
                    if not is_in
                ]
                for _, reason in reasons:
                    not_kept[reason] += 1
                other_rows.write(
                    table_of(
                        NOT_KEPT,
                        {
                            "file": [place] * len(reasons),
                            "row": [line for line, _ in reasons],
                            "reason": [reason.value for _, reason in reasons],
                        },
                    )
                )
    on = np.flatnonzero(phrases.is_first)
    columns = {
        "entry": [names[place] for place in on],
        "num_texts": counts[on],
        "probability": drawn.probability[on],
        "num_kept": num_kept[on],
    }
    write_table(table_of(ENTRIES, columns), ENTRIES, folder / "entries.parquet")
    return Balanced(num_rows, not_kept, expected, len(on), int(np.count_nonzero(counts > t)))


def _matches(phrases: Phrases, texts: list[list[str]], num_phrases: int) -> tuple[Ints, Ints]:
    """Each text with each entry that it names, once, sorted by both."""
    found = phrases.find(texts)
    pairs = np.sort(found.text * num_phrases + found.phrase)
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    return pairs // num_phrases, pairs % num_phrases


def _reason(row: Row | BadLine, texts: list[str], names_some: bool) -> NotKept:
    if isinstance(row, BadLine):
        return NotKept.MALFORMED
    if names_some:
        return NotKept.NOT_DRAWN
    return NotKept.NO_ENTRY if texts else NotKept.NO_TEXT


class _Writer:
    """A Parquet file that is written a few thousand rows at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[pa.Table] = []
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> _Writer:
        return self

    def write(self, table: pa.Table) -> None:
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= BATCH_ROWS:
            self._flush()

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            self._flush()
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        table, self._waiting = pa.concat_tables(self._waiting), []
        if self._file is None:
            self._file = pq.ParquetWriter(self._path, table.schema, **parquet_options(table.schema))
        self._file.write_table(table, row_group_size=row_group_size(table.schema))
