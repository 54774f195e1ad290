"""Where shards may be worked on, by name, without importing Prefect: the runners are in `counterset_flows.runners`."""

from __future__ import annotations

from counterset.registry import Registry

RUNNERS = Registry("counterset.runners", "counterset_flows.runners", "start", "runner")
