"""The versions of releases, audits and prunings: which names are one, which is newer, which comes next.

No other module takes a version apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from counterset.errors import ReleaseError

FIRST = "1.0.0"
LEVELS = ("major", "minor", "patch")
"""What a change asks for: the number that is raised; those after it become 0."""

LATEST = "latest"
"""Stands for the newest version, whichever that is."""
POINTER = "latest.txt"
"""Beside the versions: says the newest one, for hosts whose folders cannot be listed."""

HUB = "hf:"
"""What addresses of releases on the hub begin with."""

PATTERN = r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})"
"""`major.minor.patch`, in one spelling."""
_VERSION = re.compile(PATTERN)


def is_version(name: str) -> bool:
    """Whether a name is a version, and nothing more."""
    return bool(_VERSION.fullmatch(name))


def check_asked(version: str) -> None:
    """See that a version that a config asks for is one; "" = none is asked for.

    Raises:
        ReleaseError: it is not.
    """
    if version and not is_version(version):
        raise ReleaseError(f"publish.version {version!r} is not a version; write it as 1.2.3 or leave it empty")


def in_order(names: Iterable[str]) -> list[str]:
    """The versions among names, the newest last."""
    return sorted(filter(is_version, names), key=_numbers)


def newest(names: Iterable[str]) -> str | None:
    """The newest version among names; None without any."""
    return max(filter(is_version, names), key=_numbers, default=None)


def next_version(old: str | None, level: str) -> str:
    """The version after `old` for a change of `level`; the first of all without an old one."""
    if old is None or not is_version(old):
        return FIRST
    place = LEVELS.index(level)
    numbers = _numbers(old)
    return ".".join(map(str, [*numbers[:place], numbers[place] + 1, *[0] * (len(LEVELS) - place - 1)]))


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
