"""One kind of model per file: what its names begin with, and how one is opened (`counterset.models.door`)."""

from __future__ import annotations

from counterset.registry import Registry

KINDS = Registry("counterset.models", __name__, "open_model", "kind of model")
