"""counterset: spurious-background benchmarks, built, tested and released.

`counterset.load(name_or_path)` opens a release, `counterset.evaluate(release, ...)` measures models
on it; nothing heavy is imported before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from counterset.load import Release, load

if TYPE_CHECKING:
    from counterset.evaluation.run import evaluate

__all__ = ["Release", "__version__", "evaluate", "load"]


def __getattr__(name: str) -> Any:
    """`evaluate`, imported when first asked for: it brings torch."""
    if name == "evaluate":
        from counterset.evaluation.run import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
