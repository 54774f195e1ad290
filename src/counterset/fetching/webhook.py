"""One POST of JSON to a webhook, which may be away for a moment."""

from __future__ import annotations

import logging
import time

import requests

from counterset.fetching.addresses import AddressRefused, HostRules, netloc
from counterset.fetching.connections import deadline, session
from counterset.fetching.gate import retry_after_s, user_agent

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0
WAITS_S = (1.0, 2.0, 4.0)
"""Before each further try."""
MAY_PASS = (429, 500, 502, 503, 504)
MAX_WAIT_S = 60.0
"""A receiver that asks for a longer pause is not told."""


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
