"""counterset: spurious-background benchmarks, built, tested and released.

`counterset.build(config)` makes a release, `load` opens one, `diff` compares two, `evaluate` measures models on one,
`intervene` changes one thing in its photos and measures what that does, `audit` compares one with a training set, and
`verdict` judges any table of grouped answers. `errors` are what they raise. The names in `__all__`, with the public
attributes of what they give, are what stays compatible (docs/compatibility.md). Nothing heavy is imported before it is
asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from counterset import errors
from counterset.load import Release, load
from counterset.version import __version__

if TYPE_CHECKING:
    from counterset.api import audit, build, diff
    from counterset.evaluation.evaluate import evaluate
    from counterset.evaluation.intervene import intervene
    from counterset.verdicts.verdict import verdict

__all__ = ["Release", "__version__", "audit", "build", "diff", "errors", "evaluate", "intervene", "load", "verdict"]

_LATER = {
    "audit": "counterset.api",
    "build": "counterset.api",
    "diff": "counterset.api",
    "evaluate": "counterset.evaluation.evaluate",
    "intervene": "counterset.evaluation.intervene",
    "verdict": "counterset.verdicts.verdict",
}
"""Imported when first asked for, with the module that holds it."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
