"""Lists of photos as files: Parquet, JSON lines, and CSV (`csv_rows` states its dialect); every row accounted for."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.classes import normal_name
from counterset.csv_rows import SEPARATORS, BadLine, header_of, records_of
from counterset.errors import SourceError
from counterset.sources.cells import tags_of, text_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "url": ("url", "image_url", "identifier"),
    "class": ("class", "class_id", "label"),
    "license": ("license", "licence"),
    "attribution": ("attribution", "rightsholder", "creator"),
    "observation_id": ("observation_id", "gbifid"),
    "observer_id": ("observer_id", "recordedby", "creator"),
    "observed_on": ("observed_on", "eventdate", "created"),
    "time": ("hour", "eventtime", "observed_on", "eventdate", "created"),
    "life_stage": ("life_stage", "lifestage"),
    "sex": ("sex",),
    "taxon_name": ("taxon_name", "species", "scientificname"),
    "title": ("title", "caption", "text"),
    "description": ("description",),
    "tags": ("tags",),
    "latitude": ("latitude", "decimallatitude"),
    "longitude": ("longitude", "decimallongitude"),
    "accuracy_m": ("accuracy_m", "coordinateuncertaintyinmeters"),
}
"""What a column may be called, whatever the case. Of several that are there, the first that says something counts."""

COORDINATES = ("latitude", "longitude", "accuracy_m")
"""What a photo's place is made of; none of it is kept."""

TEXTS = ("title", "description", "tags")
"""The fields whose texts may say what a photo shows."""

BATCH_ROWS = 20_000


class Row(NamedTuple):
    """One row: its number as people count (lines of a text, rows of a table, from 1), and its values by position."""

    number: int
    values: Sequence[Any]


class Batch(NamedTuple):
    """Some rows that follow each other, and the same as a table: of a text's cells, texts, null in a bad line."""

    rows: list[Row | BadLine]
    table: pa.Table


class ListFile:
    """A list's columns and rows. Rows are streamed, so a list may be larger than the memory.

    Args:
        path: `.parquet`, or `.csv`, `.tsv`, `.jsonl`, `.ndjson` with or without `.gz`.
        needs: the fields (`COLUMNS`) without which it is no list.
    """

    SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")

    def __init__(self, path: Path, needs: Sequence[str] = ("url", "class")) -> None:
        self.path = path
        self._needs = needs
        suffixes = [suffix.lower() for suffix in path.suffixes]
        self._is_gzip = suffixes[-1:] == [".gz"]
        self._kind = ([suffix for suffix in suffixes if suffix != ".gz"] or [""])[-1]
        self.unit = "row" if self._kind == ".parquet" else "line"

    @classmethod
    def takes(cls, path: str) -> bool:
        """Whether a path is that of a local list, by its name."""
        kind = cls(Path(path))._kind
        return "://" not in path and kind in cls.SUFFIXES

    def rows(self) -> Iterator[Row | BadLine]:
        """All rows, in order; the values stand in the order of `names`.

        Raises:
            SourceError: the file cannot be read, or is not UTF-8.
        """
        with _reading(self.path):
            if self._kind == ".parquet":
                yield from self._of_parquet()
            elif self._kind in (".csv", ".tsv"):
                yield from self._of_csv()
            else:
                yield from self._of_json()

    def batches(self, places: Collection[int]) -> Iterator[Batch]:
        """All rows, a few thousand at a time, each also as it lies in the file.

        Args:
            places: positions of the columns whose values the rows must have.

        Raises:
            SourceError: as `rows`.
        """
        if self._kind == ".parquet":
            with _reading(self.path):
                yield from self._parquet_batches(places)
            return
        rows = self.rows()
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            values = [[None] * len(self.names) if isinstance(row, BadLine) else row.values for row in batch]
            columns = [pa.array(map(_cell, column), pa.string()) for column in zip(*values, strict=True)]
            yield Batch(batch, pa.table(columns, names=self.names))

    @cached_property
    def names(self) -> list[str]:
        """The columns, in the order of the file; of JSON lines, each key that some line has.

        Raises:
            SourceError: as `rows`, or two columns that a photo is read from have one name.
        """
        with _reading(self.path):
            if self._kind == ".parquet":
                names = list(pq.read_schema(self.path).names)
            elif self._kind in (".csv", ".tsv"):
                with self._open() as file:
                    names = self._header(file)[1]
            else:
                names = self._keys()
        plain = [name.casefold() for name in names]
        for name in plain:
            if plain.count(name) > 1 and any(name in aliases for aliases in COLUMNS.values()):
                raise SourceError(f"{self.path} has two columns named {name!r}; rename or remove one")
        return names

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """The positions of each field's columns, in the order in which they count.

        Raises:
            SourceError: as `names`, or there is no column for the URL or the class.
        """
        plain = [name.casefold() for name in self.names]
        places = {field: [plain.index(name) for name in aliases if name in plain] for field, aliases in COLUMNS.items()}
        for field in self._needs:
            if not places[field]:
                remedy = "; where captions say the class, set source.match" if field == "class" else ""
                others = ", ".join(map(repr, COLUMNS[field]))
                raise SourceError(f"{self.path} has no column {others}; it has {', '.join(self.names)}{remedy}")
        return places

    def value(self, row: Row, field: str, read: Callable[[Any], Any]) -> Any:
        """What the first of a field's columns says that says anything, as `read` understands it; else None."""
        values = (read(row.values[place]) for place in self.places[field])
        return next((value for value in values if value), None)

    def labels(self, row: Row) -> list[str]:
        """The class names of a row, in normal form; more than one only where the column holds lists."""
        cells = (row.values[place] for place in self.places["class"])
        value = next((cell for cell in cells if (cell if isinstance(cell, list | tuple) else text_of(cell))), None)
        return [normal_name(label_text(part) or "") for part in (value if isinstance(value, list | tuple) else [value])]

    def texts(self, row: Row) -> list[str]:
        """What a row's title, description and tags say."""
        title, description = (self.value(row, field, text_of) for field in TEXTS[:2])
        return [text for text in (title, description, *(self.value(row, "tags", tags_of) or ())) if text]

    def labels_of_line(self, line: BadLine) -> set[str]:
        """What a broken line may name as its class: each of its cells, in normal form."""
        return {normal_name(part.strip(' "')) for part in re.split(r"[,;|\t]", line.text)} - {""}

    # --- the formats -------------------------------------------------------------------------

    def _open(self) -> IO[str]:
        if self._is_gzip:
            return gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
        return self.path.open(encoding="utf-8-sig", newline="")

    def _header(self, file: IO[str]) -> tuple[str, list[str]]:
        separators = ("\t",) if self._kind == ".tsv" else SEPARATORS
        return header_of(file.readline(), separators, self._is_header)

    def _is_header(self, names: Sequence[str]) -> bool:
        """Whether cells are column names: there is one for each field that is needed."""
        plain = {name.casefold() for name in names}
        return all(plain & set(COLUMNS[field]) for field in self._needs)

    def _of_csv(self) -> Iterator[Row | BadLine]:
        with self._open() as file:
            separator, names = self._header(file)
            known = {name for field in self._needs for name in COLUMNS[field]}
            for line in records_of(file, names, separator, self._is_header, known):
                yield line if isinstance(line, BadLine) else Row(line.number, line.cells)

    def _of_json(self) -> Iterator[Row | BadLine]:
        names = self.names
        for number, item in self._objects():
            if isinstance(item, BadLine):
                yield item
            else:
                yield Row(number, [item.get(name) for name in names])

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
        with self._open() as file:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    item = json.loads(text)
                except (ValueError, RecursionError):
                    item = None
                yield number, item if isinstance(item, dict) else BadLine(number, "is no JSON object", text)

    def _keys(self) -> list[str]:
        names: dict[str, None] = {}
        bad: BadLine | None = None
        for _, item in self._objects():
            if isinstance(item, BadLine):
                bad = bad or item
            else:
                names |= dict.fromkeys(item)
        if bad and not names:
            raise SourceError(f"cannot read {self.path}: line {bad.number} {bad.fault}; check the path and the file")
        return list(names)

    def _of_parquet(self) -> Iterator[Row | BadLine]:
        for batch in self._parquet_batches(range(len(self.names))):
            yield from batch.rows

    def _parquet_batches(self, places: Collection[int]) -> Iterator[Batch]:
        """As `batches`; values that do not stand at one of the places are None."""
        number = 1
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                columns = [
                    _in_microseconds(column).to_pylist() if place in places else itertools.repeat(None, len(batch))
                    for place, column in enumerate(batch.columns)
                ]
                rows: list[Row | BadLine] = list(map(Row, itertools.count(number), zip(*columns, strict=True)))
                yield Batch(rows, pa.Table.from_batches([batch]))
                number += len(batch)


def _why(error: Exception) -> str:
    """The system's own words, where there are some: they do not repeat the path."""
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error))[:300]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise SourceError(f"cannot read {path}: it is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as error:
        raise SourceError(f"cannot read {path}: {_why(error)}; check the path and the file") from error


def label_text(value: object) -> str | None:
    """A class's name as text; a number that went through a floating-point column is whole again."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else text_of(value)


def _cell(value: object) -> str | None:
    """A value of a text as the text of a cell, which is read again as the same."""
    if isinstance(value, list):
        return "|".join(text for text in map(text_of, value) if text)
    return json.dumps(value) if isinstance(value, dict) else text_of(value)


def _in_microseconds(column: pa.Array) -> pa.Array:
    """Times as Python can hold them."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column
