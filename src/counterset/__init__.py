"""counterset: spurious-background benchmarks, built, tested and released.

`counterset.load(name_or_path)` opens a release; nothing heavy is imported before that.
"""

from __future__ import annotations

__version__ = "0.1.0"

from counterset.load import Release, load

__all__ = ["Release", "__version__", "load"]
