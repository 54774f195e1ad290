"""What a cell of somebody's list says: a text, an id, a day, tags; or nothing."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal

from counterset.classes import normal_name

MAX_TEXT_CHARS = 20_000

UNKNOWN = frozenset(
    {"", ".", "?", "??", "nan", "nat", "na", "<na>", "n/a", "#n/a", "null", "nil", "none", "undefined", "unspecified"}
    | {"unknown", "not known", "missing", "no data", "not available", "not recorded", "not provided"}
    | {"anon", "anon.", "anonymous"}
)
"""What programs and people write into a cell that has nothing to say, as `normal_name` gives it (`-` gives "")."""

_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_SCIENTIFIC = re.compile(r"[+-]?\d(?:\.\d+)?[eE]\+\d{2}")


def text_of(value: object) -> str | None:
    """Text that any file can hold: no lone surrogates or NULs, of bounded length; None = empty."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value)
    if not text.isascii() or "\0" in text:
        text = text.encode("utf-8", "replace").decode().replace("\0", "")
    return text.strip()[:MAX_TEXT_CHARS] or None


def known_text(value: object) -> str | None:
    """As `text_of`, without what only says that nothing is known (`UNKNOWN`)."""
    text = text_of(value)
    return None if text is None or normal_name(text) in UNKNOWN else text


def word_of(value: object) -> str | None:
    """As `known_text`, in lower case: what stands for one of a few things."""
    text = known_text(value)
    return text.lower() if text else None


def id_of(value: object) -> str | None:
    """An id as text; one that went through a floating-point column is the whole number that it was."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = known_text(value)
    if text is None:
        return None
    match = _WHOLE.fullmatch(text)
    if match:
        return match[1]
    if _SCIENTIFIC.fullmatch(text):
        number = Decimal(text)
        if number == number.to_integral_value():
            return str(int(number))
    return text


def number_of(value: object) -> float | None:
    """A number, also where it is written as text; None = none, or not understood."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def day_of(value: object) -> date | None:
    """The day of an ISO date or time, or of a range within one day; None = none, or several, or not understood."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = (text_of(value) or "").upper()
    days = {_iso_day(part.strip()) for part in text.split("/")}
    return days.pop() if len(days) == 1 else None


def time_of(value: object) -> time | None:
    """The local time of day of an ISO time, or date with time, or of a whole hour; None = none, or not understood.

    Midnight to the second is what programs write after a day without a time, so it says nothing. Neither does a time
    that is marked as UTC (Z), for where it was that hour is not known.
    """
    if isinstance(value, bool | time):
        return value if isinstance(value, time) else None
    hour = number_of(value)
    if hour is not None and hour in range(24):
        return time(int(hour))
    if not isinstance(value, datetime):
        text = (text_of(value) or "").upper()
        if ":" not in text or text.endswith("Z"):
            return None
        found = _moment(text) or _moment(f"2000-01-01T{text}")
        if found is None:
            return None
        value = found
    return value.time() if value.time() != time(0) else None


def tags_of(value: object) -> list[str]:
    """A list's parts, a text's parts between commas, semicolons or bars; anything else is one tag."""
    parts = (
        re.split(r"[,;|]", value) if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    )
    return [text for text in map(known_text, parts) if text]


def _iso_day(text: str) -> date | None:
    found = _moment(text)
    return found.date() if found is not None else None


def _moment(text: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    return None
