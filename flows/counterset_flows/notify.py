"""A message when a scheduled run fails: one POST of JSON to a webhook.

The flows that are deployed carry `tell` as a hook of Prefect, which calls it in the run
itself when that fails, and in the worker when the run was killed.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.urls import url_for

from counterset.config import load_config
from counterset.errors import ConfigError, GateRefused
from counterset.fetching.webhook import send

logger = logging.getLogger(__name__)

VARIABLE = "COUNTERSET_WEBHOOK"
"""Environment variable that goes before the config's `notify.webhook`; works for unreadable configs too."""


def tell(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Send a message about a run that failed, timed out, crashed, or was refused by a gate."""
    config_path = str(flow_run.parameters.get("config_path", ""))
    webhook = webhook_of(config_path)
    if webhook:
        send(webhook, message(config_path or flow.name, flow_run, state))


def webhook_of(config_path: str) -> str:
    """The address to tell; "" = nobody."""
    address = os.environ.get(VARIABLE, "")
    if not address and config_path:
        try:
            address = load_config(config_path).notify.webhook.get_secret_value()
        except ConfigError as error:
            logger.warning("nobody is told: %s (the variable %s would do without the config)", error, VARIABLE)
    return address


def message(build: str, flow_run: FlowRun, state: State[Any]) -> dict[str, str]:
    """The JSON: text (one line, as chat services show it), status, build, reason, flow_run, url.

    `status` is failed, timed out, crashed, or gated = refused by the config's own gate.
    """
    reason = (state.message or state.name or "no reason given").removeprefix("Flow run encountered an exception: ")
    status = {"TimedOut": "timed out"}.get(state.name or "", state.type.value.lower())
    mark = f"{GateRefused.__name__}: "
    if reason.startswith(mark):
        status, reason = "gated", reason.removeprefix(mark)
    url = url_for(flow_run) or ""
    return {
        "text": f"counterset: {build}: {status}: {reason} {url}".strip(),
        "status": status,
        "build": build,
        "reason": reason,
        "flow_run": flow_run.name,
        "url": url,
    }
