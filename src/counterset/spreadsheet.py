"""CSV cells that a spreadsheet shows as the text they are.

A cell that begins with = + - or @ is a formula to Excel, LibreOffice and Google Sheets, and photos'
credit lines, titles and names come from strangers. Such a text is written behind an apostrophe.
"""

from __future__ import annotations

import re

import pyarrow as pa

_INVISIBLE = r"[\s\x00-\x1f\x7f\u00a0\u200b-\u200f\u2060\ufeff]"
_FORMULA = rf"(?:{_INVISIBLE}*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])"
"""What may begin a formula: after what is not seen, a sign or its full-width form; or a tab or line break, which some
programs drop."""


def safe_cell(value: object) -> object:
    """A value as it may stand in a CSV file; numbers and harmless texts as they are."""
    return f"'{value}" if isinstance(value, str) and re.match(_FORMULA, value) else value


def safe_table(table: pa.Table) -> pa.Table:
    """`table` with every text as `safe_cell` gives it."""
    for position, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            values = table.column(position).combine_chunks().dictionary_encode()
            safe = pa.array([safe_cell(value) for value in values.dictionary.to_pylist()], pa.string())
            table = table.set_column(position, field, safe.take(values.indices))
    return table


def as_meant(cell: str) -> str:
    """The text of a cell that `safe_cell` may have written."""
    return cell[1:] if cell.startswith("'") and re.match(_FORMULA, cell[1:]) else cell
