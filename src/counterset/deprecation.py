"""How a Python name or a config key is retired: it works for some versions more, and says what to use instead.

The rule is in docs/compatibility.md.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from counterset.errors import ConfigError

logger = logging.getLogger(__name__)


def warn_renamed(old: str, new: str, removed_in: str) -> None:
    """Tell the caller of the function that calls this one that the name it used has another one now.

    Args:
        old: the name that was used.
        new: what to use instead.
        removed_in: the first version without the old name.
    """
    warnings.warn(_sentence(old, new, removed_in), DeprecationWarning, stacklevel=3)


@dataclass(frozen=True)
class RenamedKey:
    """A config key that has another name now.

    Attributes:
        old: `section.key`.
        new: `section.key`.
        removed_in: the first version that refuses the old one.
    """

    old: str
    new: str
    removed_in: str


RENAMED_KEYS: tuple[RenamedKey, ...] = (RenamedKey("select.min_observers", "select.min_units", "0.4"),)
"""The config keys that were renamed and are still taken."""


def with_new_keys(raw: Mapping[str, Any], renamed: Iterable[RenamedKey], origin: str) -> dict[str, Any]:
    """A parsed config in which renamed keys bear their new names. Each is warned of in the log, which the command
    line shows: whoever writes a config need not write Python.

    Raises:
        ConfigError: both the old key and the new one are set.
    """
    changed = copy.deepcopy(dict(raw))
    for key in renamed:
        section, _, name = key.old.rpartition(".")
        holder = changed.get(section) if section else changed
        if not isinstance(holder, dict) or name not in holder:
            continue
        new_section, _, new_name = key.new.rpartition(".")
        target = changed.setdefault(new_section, {}) if new_section else changed
        if not isinstance(target, dict):
            continue  # the config's own check says what is wrong with it
        if new_name in target:
            raise ConfigError(f"{origin}: {key.old} and {key.new} are the same setting; leave out {key.old}")
        target[new_name] = holder.pop(name)
        logger.warning("%s: %s", origin, _sentence(key.old, key.new, key.removed_in))
    return changed


def _sentence(old: str, new: str, removed_in: str) -> str:
    return f"{old} is deprecated and will be removed in counterset {removed_in}; use {new}"
