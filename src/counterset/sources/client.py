"""A small API client: serial requests within a budget, retries only of what heals."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from counterset.errors import ConfigError, SourceError, SourceUnavailable
from counterset.sources.budget import Budget
from counterset.sources.hosts import is_loopback

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64_000_000
CHUNK_BYTES = 1 << 16
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


def user_agent(contact: str) -> str:
    """The honest User-Agent: project, version and whom to write to."""
    try:
        version = importlib.metadata.version("counterset")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    return f"counterset/{version} ({contact or 'local test'})"


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
                f"{api_url} asks its users to say who they are; set source.contact to a web page or e-mail address"
            )
        if any(ord(letter) < 32 or ord(letter) > 126 for letter in contact):
            raise ConfigError("source.contact goes into an HTTP header; write it in plain ASCII")
        self._api_url = api_url.rstrip("/")
        self._budget = budget
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._jitter = random.Random(seed)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": user_agent(contact), "Accept": "application/json"})
        if is_loopback(api_url):
            self._session.trust_env = False  # no proxy stands between a machine and itself

    def get(self, route: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """The answer's JSON object, which has a list `results`.

        Raises:
            SourceError: an answer that will not heal (401, 403, 404, 422, a redirect).
            SourceUnavailable: no usable answer after all tries, or a longer pause is asked for.
        """
        url = f"{self._api_url}/{route.lstrip('/')}"
        num_throttled = 0
        for attempt in range(1, self._retry.max_tries + len(self._retry.throttled_waits_s) + 1):
            try:
                with self._lock:
                    self._budget.acquire(REQUESTS)
                    return self._ask(url, dict(query or {}))
            except _Failure as failure:
                num_throttled += failure.is_throttled
                wait_s = self._wait_s(failure, num_throttled, attempt - num_throttled)
                if wait_s is None:
                    raise SourceUnavailable(
                        f"{url} gave no usable answer after {attempt} tries ({failure}); check the network and "
                        "source.api_url, then run the same command again: it goes on from here"
                    ) from failure
                logger.warning("%s: %s; trying again in %.1f s", url, failure, wait_s)
                self._sleep(wait_s)
        raise SourceUnavailable(f"{url} gave no usable answer; run the same command again later")

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
        try:
            with self._session.get(
                url, params=query, timeout=self._timeout_s, stream=True, allow_redirects=False
            ) as answer:
                if answer.status_code == 200:
                    return _results(self._body(answer))
                self._refuse(answer)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Failure(_in_words(error)) from error
        except requests.exceptions.ContentDecodingError as error:
            raise _Failure("the compressed answer is damaged") from error
        except requests.RequestException as error:
            raise SourceError(f"{url} cannot be asked ({str(error)[:200]}); mend source.api_url") from error
        raise AssertionError("unreachable")

    def _body(self, answer: requests.Response) -> bytes:
        """The body, within a size and a time, however slowly it drips."""
        deadline_s = time.monotonic() + 10 * self._timeout_s
        content = bytearray()
        for chunk in answer.iter_content(CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise SourceError(
                    f"{answer.url} answers with more than {MAX_ANSWER_BYTES:,} bytes; check source.api_url"
                )
            if time.monotonic() > deadline_s:
                raise _Failure("the answer drips too slowly")
        return bytes(content)

    def _refuse(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status == 429 or status in HEALING_STATUSES:
            wait_s = retry_after_s(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            raise _Failure(f"status {status}", wait_s, is_throttled=status == 429)
        text = next(answer.iter_content(500), b"").decode("utf-8", "replace").strip()
        remedy = {
            401: "the service refuses access; check with its operators",
            403: "it has blocked this address or refuses the query; ask its operators before trying again",
            404: "check source.api_url",
            422: "check the class list's ids",
        }.get(status, "check source.api_url")
        raise SourceError(f"{answer.url} answers {status} ({text[:200]}); {remedy}")


def _results(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _Failure(f"the answer is not whole JSON ({len(content):,} bytes)") from error
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        raise _Failure("the answer has no list of results")
    if not all(isinstance(row, dict) for row in body["results"]):
        raise _Failure("the answer's results are not objects")
    return body


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Seconds from a Retry-After header in either form, relative to the answer's own Date; None = not given."""
    if value is None:
        return None
    value = value.strip()
    if value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return max((_aware(until) - _aware(now)).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
