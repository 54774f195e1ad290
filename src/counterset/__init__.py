"""counterset: spurious-background benchmarks, built, tested and released."""

from __future__ import annotations

__version__ = "0.1.0"
