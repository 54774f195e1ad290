"""A message when a scheduled run fails or publishes: one POST of JSON to a webhook, and of a release an event too.

The flows that are deployed carry `tell` as a hook of Prefect, which calls it in the run
itself when that fails, and in the worker when the run was killed.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.utilities.urls import url_for

from counterset.config import Config, load_config
from counterset.errors import ConfigError, GateRefused
from counterset.fetching.webhook import send
from counterset.steps.build_pages import changes_page
from counterset.storage import Place

logger = logging.getLogger(__name__)

VARIABLE = "COUNTERSET_WEBHOOK"
"""Environment variable that goes before the config's `notify.webhook`; works for unreadable configs too."""


PUBLISHED = "counterset.release.published"
"""Prefect's event of a new release."""

MAX_CHARS = 1_000
"""Of what changed, in a message."""


def tell(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Send a message about a run that failed, timed out, crashed, or was refused by a gate."""
    config_path = str(flow_run.parameters.get("config_path", ""))
    webhook = webhook_of(config_path)
    if webhook:
        send(webhook, message(config_path or flow.name, flow_run, state))


def published(config: Config, build: str, release: Place) -> None:
    """Tell of a new release: the webhook, and Prefect's events, by which automations start.

    Args:
        config: the build's.
        build: what the webhook's messages call it.
        release: its folder or address.
    """
    changes = " ".join(changes_page(release, is_new=True).partition("\n## ")[2].split())[:MAX_CHARS]
    base = config.notify.releases_url.rstrip("/")
    told = {
        "text": f"counterset: {build}: published {config.name} {release.name}",
        "status": "published",
        "build": build,
        "reason": changes,
        "version": release.name,
        "release": str(release),
        "url": f"{base}/{config.name}/{release.name}/report.html" if base else "",
    }
    webhook = os.environ.get(VARIABLE, "") or config.notify.webhook.get_secret_value()
    if webhook:
        send(webhook, told)
    resource = {"prefect.resource.id": f"counterset.release.{config.name}", "prefect.resource.name": config.name}
    emit_event(PUBLISHED, resource, payload=told)


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
