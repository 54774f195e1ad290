"""A small API client: serial requests within a budget, retries only of what heals."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from counterset.errors import ConfigError, SourceError, SourceUnavailable
from counterset.fetching.addresses import AddressRefused, HostRules, is_loopback, netloc, shown
from counterset.fetching.connections import deadline, session
from counterset.fetching.gate import retry_after_s, user_agent
from counterset.sources.budget import Budget

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64_000_000
CHUNK_BYTES = 1 << 16
TIMEOUTS_IN_ALL = 10
"""One answer may take so many times the timeout of one read."""
HEALING_STATUSES = frozenset({500, 502, 503, 504})
REQUESTS = "requests"
"""The budget's kind that every request is counted under."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait, and how often.

    Attributes:
        throttled_waits_s: after each 429 without Retry-After; then it is given up.
        first_wait_s: after a failure that heals; doubled each time, times a jitter in [0.5, 1.5].
        max_tries: of one request, counting the first.
        max_retry_after_s: a service that asks for a longer pause ends the run.
    """

    throttled_waits_s: tuple[float, ...] = (60.0, 120.0, 300.0)
    first_wait_s: float = 1.0
    max_tries: int = 6
    max_retry_after_s: float = 900.0


class _Failure(Exception):
    """An answer that may heal."""

    def __init__(self, cause: str, retry_after_s: float | None = None, is_throttled: bool = False) -> None:
        super().__init__(cause)
        self.retry_after_s = retry_after_s
        self.is_throttled = is_throttled


def _in_words(error: requests.RequestException) -> str:
    """What went wrong on the way, without the library's nested representation of it."""
    if isinstance(error, requests.Timeout):
        return "it took too long"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer broke off"
    return "no connection" if "refused" not in str(error) else "connection refused"


class ApiClient:
    """GETs JSON from one API, one request at a time.

    Raises:
        ConfigError: a real host, and no contact to put into the User-Agent.
    """

    def __init__(
        self,
        api_url: str,
        *,
        contact: str,
        budget: Budget,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        seed: int = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not contact.strip() and not is_loopback(api_url):
            raise ConfigError(
                f"{shown(api_url)} asks its users to say who they are; "
                "set source.contact to a web page or e-mail address"
            )
        self._api_url = api_url.rstrip("/")
        self._budget = budget
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._jitter = random.Random(seed)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._session = session(HostRules((netloc(api_url),)), user_agent(contact))
        self._session.headers["Accept"] = "application/json"

    def get(self, route: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """The answer's JSON object, which has a list `results`.

        Raises:
            SourceError: an answer that will not heal (401, 403, 404, 422, a redirect).
            SourceUnavailable: no usable answer after all tries, or a longer pause is asked for.
        """
        with self._lock:  # also while it waits: a pause that the service asks for is every thread's
            return self._get(f"{self._api_url}/{route.lstrip('/')}", dict(query or {}))

    def _get(self, url: str, query: dict[str, str | int]) -> dict[str, Any]:
        num_throttled = 0
        for attempt in range(1, self._retry.max_tries + len(self._retry.throttled_waits_s) + 1):
            try:
                self._budget.acquire(REQUESTS)
                return self._ask(url, query)
            except _Failure as failure:
                num_throttled += failure.is_throttled
                wait_s = self._wait_s(failure, num_throttled, attempt - num_throttled)
                if wait_s is None:
                    raise SourceUnavailable(
                        f"{shown(url)} gave no usable answer after {attempt} tries ({failure}); check the network and "
                        "source.api_url, then run the same command again: it goes on from here"
                    ) from None
                logger.warning("%s: %s; trying again in %.1f s", shown(url), failure, wait_s)
                self._sleep(wait_s)
        raise SourceUnavailable(f"{shown(url)} gave no usable answer; run the same command again later")

    def _wait_s(self, failure: _Failure, num_throttled: int, num_failed: int) -> float | None:
        """Seconds until the next try, or None to give up."""
        waits = self._retry.throttled_waits_s
        if num_throttled > len(waits) or num_failed >= self._retry.max_tries:
            return None
        if failure.retry_after_s is not None:
            return failure.retry_after_s if failure.retry_after_s <= self._retry.max_retry_after_s else None
        if failure.is_throttled:
            return waits[num_throttled - 1]
        return float(self._retry.first_wait_s * 2 ** (num_failed - 1) * self._jitter.uniform(0.5, 1.5))

    def _ask(self, url: str, query: dict[str, str | int]) -> dict[str, Any]:
        # Its texts hold whole URLs, so what the library raises is not passed on as a cause.
        try:
            with (
                deadline(TIMEOUTS_IN_ALL * self._timeout_s),
                self._session.get(
                    url, params=query, timeout=self._timeout_s, stream=True, allow_redirects=False
                ) as answer,
            ):
                if answer.status_code == 200:
                    return _results(self._body(answer))
                self._refuse(answer)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Failure(_in_words(error)) from None
        except requests.exceptions.ContentDecodingError:
            raise _Failure("the compressed answer is damaged") from None
        except requests.RequestException as error:
            raise SourceError(f"{shown(url)} cannot be fetched ({type(error).__name__}); fix source.api_url") from None
        except AddressRefused as error:
            raise SourceError(f"{shown(url)} cannot be fetched ({error}); fix source.api_url") from None
        raise AssertionError("unreachable")

    def _body(self, answer: requests.Response) -> bytes:
        """The body, within a size."""
        content = bytearray()
        for chunk in answer.iter_content(CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise SourceError(
                    f"{shown(answer.url)} answers with more than {MAX_ANSWER_BYTES:,} bytes; check source.api_url"
                )
        return bytes(content)

    def _refuse(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status == 429 or status in HEALING_STATUSES:
            wait_s = retry_after_s(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            raise _Failure(f"status {status}", wait_s, is_throttled=status == 429)
        text = " ".join(next(answer.iter_content(500), b"").decode("utf-8", "replace").split())
        remedy = {
            401: "the service refuses access; check with its operators",
            403: "it has blocked this address or refuses the query; ask its operators before trying again",
            404: "check source.api_url",
            422: "check the class list's ids",
        }.get(status, "check source.api_url")
        raise SourceError(f"{shown(answer.url)} answers {status} ({text[:200]}); {remedy}")


def _results(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise _Failure(f"the answer is not whole JSON ({len(content):,} bytes)") from None
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        raise _Failure("the answer has no list of results")
    if not all(isinstance(row, dict) for row in body["results"]):
        raise _Failure("the answer's results are not objects")
    return body
