"""When each host may be asked again, for all threads that ask it."""

from __future__ import annotations

import threading
import time


class Pauses:
    """When each host may be asked again, and how long it was waited for in vain."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._in_vain_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def begin(self, netloc: str, wait_s: float) -> None:
        """Leave the host alone for so long, whichever thread was told."""
        with self._lock:
            now = time.monotonic()
            until = self._until.get(netloc, now)
            if now + wait_s > until:
                self._until[netloc] = now + wait_s
                self._in_vain_s[netloc] = self._in_vain_s.get(netloc, 0.0) + now + wait_s - max(until, now)

    def end(self, netloc: str) -> None:
        """The host answers."""
        self._in_vain_s.pop(netloc, None)

    def left_s(self, netloc: str) -> float:
        """Seconds until the host may be asked; 0 = now."""
        return max(self._until.get(netloc, 0.0) - time.monotonic(), 0.0)

    def in_vain_s(self, netloc: str) -> float:
        """Seconds of pauses that the host asked for without one answer in between."""
        return self._in_vain_s.get(netloc, 0.0)
