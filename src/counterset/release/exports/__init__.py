"""The layouts that a release is exported in: one file each, with a function `export(release, folder)`.

Layouts of harnesses ask questions, and take `candidates` too.
"""

from __future__ import annotations

import inspect
from typing import Any

from counterset.deprecation import warn_renamed
from counterset.registry import Registry

EXPORTS = Registry("counterset.exports", __name__, "export", "export layout")
"""Name -> a function that writes a loaded release (`exporting.Photos`) into a folder and gives an `Exported`."""


def asks(layout: str) -> bool:
    """Whether a layout holds questions about photos, as harnesses ask them.

    Raises:
        ConfigError: there is no such layout.
    """
    return "candidates" in inspect.signature(EXPORTS[layout]).parameters


def __getattr__(name: str) -> Any:
    """`export_imagefolder` and the like, as the functions were called up to version 0.1."""
    layout = name.removeprefix("export_")
    if layout == name or layout not in EXPORTS.own:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_renamed(f"{__name__}.{name}", f'release.export("{layout}", folder)', removed_in="0.4")
    return EXPORTS[layout]
