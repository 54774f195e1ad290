"""A message when a scheduled run fails: one POST of JSON to a webhook.

The flows that are deployed carry `tell` as a hook of Prefect, which calls it in the run
itself when that fails, and in the worker when the run was killed.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import requests
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.urls import url_for

from counterset.config import load_config
from counterset.errors import ConfigError, GateRefused
from counterset.fetching.addresses import AddressRefused, HostRules, netloc
from counterset.fetching.connections import deadline, session
from counterset.fetching.gate import retry_after_s, user_agent

logger = logging.getLogger(__name__)

VARIABLE = "COUNTERSET_WEBHOOK"
"""Environment variable that goes before the config's `notify.webhook`; works for unreadable configs too."""

TIMEOUT_S = 10.0
WAITS_S = (1.0, 2.0, 4.0)
"""Before each further try."""
MAY_PASS = (429, 500, 502, 503, 504)
MAX_WAIT_S = 60.0
"""A receiver that asks for a longer pause is not told."""


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


def send(webhook: str, content: dict[str, str]) -> bool:
    """POST the message, trying again a few times; true when it was taken. Never raises for the network's sake."""
    # What goes wrong is named by its type and the host: the rest of the address is a secret.
    where = netloc(webhook).rpartition(":")[0] or "an address that cannot be read"
    with session(HostRules((netloc(webhook),)), user_agent()) as client:
        for wait_s in (*WAITS_S, None):
            try:
                with (
                    deadline(TIMEOUT_S),
                    client.post(webhook, json=content, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as answer,
                ):
                    said, may_pass = f"answered {answer.status_code}", answer.status_code in MAY_PASS
                    asked_s = retry_after_s(answer.headers.get("Retry-After"), answer.headers.get("Date")) or 0.0
                    if answer.status_code < 300:
                        return True
            except (requests.RequestException, AddressRefused, OSError, ValueError) as error:
                said, asked_s = f"was not reached: {type(error).__name__}", 0.0
                may_pass = isinstance(error, requests.ConnectionError | requests.Timeout)
            if wait_s is None or not may_pass or asked_s > MAX_WAIT_S:
                break
            time.sleep(max(wait_s, asked_s))
    logger.warning("the webhook on %s %s", where, said)
    return False
