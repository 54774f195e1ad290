"""Loaded models: each is read once per process, and few are in memory at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

MAX_HELD = 6
"""A build embeds shard by shard under all of its models: with more models than this, one is read again per shard."""

Loaded = TypeVar("Loaded")


class _Place:
    """Where one model is kept. Whoever comes while it is being read waits."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.model: Any = None


_places: OrderedDict[Hashable, _Place] = OrderedDict()
_lock = threading.Lock()


def held(key: Hashable, load: Callable[[], Loaded]) -> Loaded:
    """The model of a key, read by `load` unless it is held.

    Before a further one is read, the one that was asked for longest ago is let go.

    Args:
        key: all that decides what `load` gives.
        load: reads the model. What it raises is passed on, and the next caller tries again.
    """
    with _lock:
        place = _places.setdefault(key, _Place())
        _places.move_to_end(key)
        while len(_places) > MAX_HELD:
            _places.popitem(last=False)
    with place.lock:
        loaded: Loaded | None = place.model
        if loaded is None:
            try:
                loaded = place.model = load()
            finally:
                with _lock:
                    if place.model is None and _places.get(key) is place:
                        del _places[key]
        return loaded


def num_held() -> int:
    """How many models are in memory."""
    return len(_places)


def let_go() -> None:
    """Hold no model any more."""
    with _lock:
        _places.clear()
