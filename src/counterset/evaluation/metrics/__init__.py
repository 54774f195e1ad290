"""The figures of a model, one file each, with a `metric` (`counterset.evaluation.metric`)."""

from __future__ import annotations

from counterset.registry import Registry

METRICS = Registry("counterset.metrics", __name__, "metric", "metric")
