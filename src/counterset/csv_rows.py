"""CSV by a stated dialect, every line accounted for.

UTF-8, with or without a byte order mark; lines end in LF, CRLF or CR; quotes as in RFC 4180
("" within quotes is a quote, a quote within an unquoted cell is itself); blank lines do not
count. The first line names the columns, and its separator, of those allowed, is the one that
all lines have. Nothing is guessed from the lines below. A line that does not keep to this
is given as a `BadLine`, never skipped, and the next line is read on its own.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import IO, NamedTuple

SEPARATORS = (",", ";", "\t", "|")


class Line(NamedTuple):
    """One record: the number of its first line, from 1, and its cells, as many as the header has names."""

    number: int
    cells: list[str]


class BadLine(NamedTuple):
    """A line that is no record: its number, what is wrong with it, and its text."""

    number: int
    fault: str
    text: str


def header_of(
    line: str, separators: Sequence[str], is_header: Callable[[Sequence[str]], bool]
) -> tuple[str, list[str]]:
    """The separator and the column names of a header line.

    Args:
        line: the file's first line.
        separators: those allowed; the first under which `is_header` holds, else the first, is the line's.
        is_header: whether cells are column names that the reader can use.
    """
    found = [(separator, _names(line, separator)) for separator in separators]
    return next((each for each in found if is_header(each[1])), found[0])


def records_of(
    file: IO[str],
    header: Sequence[str],
    separator: str,
    is_header: Callable[[Sequence[str]], bool],
    known: Collection[str] = (),
) -> Iterator[Line | BadLine]:
    """The lines below a header, in order.

    A header that is repeated further down, as in files put one after the other, is left out
    like the first. Lines below another header are bad ones: they would be read by wrong names.

    Args:
        file: opened with `newline=""`, and read past the header.
        header: its column names.
        separator: between cells.
        is_header: as in `header_of`.
        known: column names in lower case, some of which every header has.
    """
    lines = _Lines(file, 2)
    own = [name.casefold() for name in header]
    suspect = {*own, *known}
    below = ""
    while True:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        try:
            for cells in reader:
                number, texts = lines.taken()
                fault = below
                if any("\0" in text for text in texts):
                    fault = "has a null character"
                elif not any(cell.strip() for cell in cells):
                    continue
                elif not suspect.isdisjoint(names := [_name(cell).casefold() for cell in cells]) and (
                    names == own or is_header(names)
                ):
                    below = "" if names == own else f"stands below another header, that of line {number}"
                    continue
                elif len(cells) != len(header):
                    fault = f"has {len(cells)} cells, not {len(header)}"
                yield BadLine(number, fault, texts[0]) if fault else Line(number, cells)
            return
        except csv.Error as error:
            number, texts = lines.taken()
            is_open = "end of data" in str(error)
            yield BadLine(number, "has a quote that does not end" if is_open else f"is not CSV ({error})", texts[0])
            lines.give_back(number, texts[1:])  # a quote too many must not swallow the rows below it


def _names(line: str, separator: str) -> list[str]:
    try:
        return [_name(cell) for cell in next(csv.reader([line], delimiter=separator, strict=True), [])]
    except csv.Error:
        return []


def _name(cell: str) -> str:
    return cell.removeprefix("\ufeff").strip()


class _Lines:
    """A file's lines that remembers which of them the record being read has taken."""

    def __init__(self, file: IO[str], first: int) -> None:
        self._file = file
        self._waiting: deque[str] = deque()
        self._taken: list[str] = []
        self._next = first

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self._waiting.popleft() if self._waiting else next(self._file)
        self._taken.append(text)
        self._next += 1
        return text

    def taken(self) -> tuple[int, list[str]]:
        """The number of the first line taken since the last call, and the lines."""
        taken, self._taken = self._taken, []
        return self._next - len(taken), taken

    def give_back(self, number: int, texts: Sequence[str]) -> None:
        """Have all but the first line of a bad record, `number`, read again."""
        self._waiting.extendleft(reversed(texts))
        self._next = number + 1
