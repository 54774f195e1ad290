"""GET and POST through the gate: bounded while reading, redirects step by step, a host's Retry-After kept."""

from __future__ import annotations

import contextlib
import functools
import http.client
import importlib.metadata
import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from counterset.errors import ConfigError
from counterset.fetching.addresses import Address, AddressRefused, HostRules, redirected
from counterset.fetching.connections import Pools, deadline, is_over
from counterset.fetching.pauses import Pauses
from counterset.schemas import RejectReason

MAX_REDIRECTS = 5
TIMEOUTS_IN_ALL = 5
"""One file may take so many times the timeout of one read."""
SLOWEST_BYTES_S = 20_000
"""A long file that comes in parts may take a second more for so many bytes."""
FIRST_WAIT_S = 1.0
"""Before the second try; doubled each time, times a jitter in [0.5, 1.5]."""
MAX_WAIT_S = 60.0
"""A host that asks for a longer pause is given up for now."""
MAX_IN_VAIN_S = 300.0
"""As is one whose pauses have come to so much without one answer in between."""
CHUNK_BYTES = 1 << 16
MAX_SAID_BYTES = 4_000
"""Of what a host says of a POST that it refuses."""

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({403, 404, 410})
_MAY_PASS = frozenset({408, 425, 429, *range(500, 600)} - {501, 505})
"""Also 520 to 530, by which proxies say what is wrong behind them; what a host cannot do (501, 505) stays so."""


class FetchFailed(Exception):
    """One URL could not be fetched; the text says why, without what may be secret in it.

    Attributes:
        reason: as the rejects table says it.
        netloc: `host:port` of the step that failed; "" = an address that was not asked.
        is_silent: that host could not even be connected to.
        may_pass: another try may succeed within minutes.
        wait_s: the pause that the host asks for, in seconds; 0 = none.
        status: of the host's answer; 0 = it gave none.
        said: what the answer to a refused POST holds, its beginning. It is the host's text and may quote the request.
    """

    def __init__(
        self,
        reason: RejectReason,
        detail: str,
        netloc: str = "",
        *,
        is_silent: bool = False,
        may_pass: bool = False,
        wait_s: float = 0.0,
        status: int = 0,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.netloc = netloc
        self.is_silent = is_silent
        self.may_pass = may_pass
        self.wait_s = wait_s
        self.status = status
        self.said = b""


class Fetched(NamedTuple):
    """A whole answer."""

    content: bytes
    headers: Mapping[str, str]


class Gate:
    """Fetches URLs under one set of rules; shared by threads, each of which fetches one URL at a time.

    Args:
        rules: which addresses may be fetched.
        user_agent: whom the host sees, as `user_agent` writes it.
        timeout_s: of a connection and of each read.
        tries: of one URL, where another may succeed.
        is_patient: a host that takes no connection is tried again, too.
        connections: kept open to one host.
        on_bytes: called with what came over the wire, also for what failed.
        sleep: waits between tries.
    """

    def __init__(
        self,
        rules: HostRules,
        user_agent: str,
        *,
        timeout_s: float = 30.0,
        tries: int = 1,
        is_patient: bool = False,
        connections: int = 16,
        on_bytes: Callable[[int], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rules = rules
        self._headers = {"User-Agent": user_agent, "Accept": "*/*"}
        self._timeout_s = timeout_s
        self._tries = tries
        self._is_patient = is_patient
        self._on_bytes = on_bytes or (lambda count: None)
        self._sleep = sleep
        self._pools = Pools(rules, num_pools=4 * connections, maxsize=connections)
        self._pauses = Pauses()

    def get(
        self, url: str, max_bytes: int, is_unwanted: Callable[[urllib3.HTTPHeaderDict], bool] | None = None
    ) -> Fetched:
        """The whole answer; never more than `max_bytes` of it are in memory.

        Args:
            url: what to fetch.
            max_bytes: a longer answer is refused, by its Content-Length where it has one.
            is_unwanted: looks at the headers, before the body comes, for the host's word against this use.

        Raises:
            FetchFailed: why not.
        """

        def whole() -> Fetched:
            chunks, headers = self._open(url, max_bytes, is_unwanted)
            content = b"".join(chunks)
            if not content:
                raise FetchFailed(RejectReason.SERVER_ERROR, "an empty answer")
            return Fetched(content, headers)

        return self._tried(whole)

    def post(
        self, url: str, content: bytes, headers: Mapping[str, str], max_bytes: int, read: Callable[[bytes], T]
    ) -> T:
        """What `read` makes of the answer to a POST; no redirect is followed, and it is retried as `get` is.

        Args:
            url: where to.
            content: the body.
            headers: beside the gate's own.
            max_bytes: a longer answer is refused.
            read: makes of the answer's content what is wanted. It raises FetchFailed where that is no whole answer.

        Raises:
            FetchFailed: why not.
        """

        def whole() -> T:
            address = self._allowed(url, None)
            answer = self._ask(address, "POST", content, headers)
            try:
                self._check(answer, address, max_bytes)
            except FetchFailed as failure:
                with _in_words(address):
                    failure.said = answer.read(MAX_SAID_BYTES)
                raise
            finally:
                if answer.status != 200:
                    answer.close()
            return read(b"".join(self._body(answer, address, max_bytes)))

        return self._tried(whole)

    def _tried(self, attempt: Callable[[], T]) -> T:
        """What an attempt gives, made anew while that may help."""
        num_failed = 0
        while True:
            try:
                with deadline(TIMEOUTS_IN_ALL * self._timeout_s):
                    return attempt()
            except FetchFailed as failure:
                num_failed += not isinstance(failure, _Paused)
                # A host that takes no connection has to be tried later, not at once.
                is_worth_it = failure.may_pass and (self._is_patient or not failure.is_silent)
                if not is_worth_it or failure.wait_s > MAX_WAIT_S or num_failed >= self._tries:
                    raise
                self._sleep(failure.wait_s or FIRST_WAIT_S * 2 ** (num_failed - 1) * random.uniform(0.5, 1.5))

    def stream(self, url: str, max_bytes: int, headers: Mapping[str, str] = MappingProxyType({})) -> Iterator[bytes]:
        """The answer's parts, as they come; one try, with no less than SLOWEST_BYTES_S over its whole time.

        Args:
            url: what to fetch.
            max_bytes: a longer answer is refused.
            headers: beside the gate's own, for the URL's host alone: none that it redirects to sees them.

        Raises:
            FetchFailed: why not, also in the middle.
        """
        with deadline(TIMEOUTS_IN_ALL * self._timeout_s) as extend:
            for chunk in self._open(url, max_bytes, None, headers)[0]:
                extend(len(chunk) / SLOWEST_BYTES_S)
                yield chunk

    def _open(
        self,
        url: str,
        max_bytes: int,
        is_unwanted: Callable[[urllib3.HTTPHeaderDict], bool] | None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[Iterator[bytes], Mapping[str, str]]:
        """The parts of the answer that the last redirect leads to, and its headers."""
        came_from: Address | None = None
        for _ in range(MAX_REDIRECTS + 1):
            address = self._allowed(url, came_from)
            if came_from and (came_from.scheme, came_from.netloc) != (address.scheme, address.netloc):
                headers = {}
            came_from = address
            answer = self._ask(address, headers=headers)
            if answer.status in _REDIRECTS and "Location" in answer.headers:
                answer.close()
                try:
                    url = redirected(address.url, answer.headers["Location"])
                except AddressRefused as error:
                    raise FetchFailed(RejectReason.URL_REFUSED, f"redirected: {error}") from None
                continue
            try:
                self._check(answer, address, max_bytes)
                if is_unwanted is not None and is_unwanted(answer.headers):
                    raise FetchFailed(RejectReason.REFUSED, "the host's X-Robots-Tag forbids this use", address.netloc)
            except FetchFailed:
                answer.close()
                raise
            return self._body(answer, address, max_bytes), answer.headers
        raise FetchFailed(RejectReason.SERVER_ERROR, f"more than {MAX_REDIRECTS} redirects")

    def _allowed(self, url: str, came_from: Address | None) -> Address:
        where = "redirected: " if came_from else ""
        try:
            address = self._rules.check(url)
        except AddressRefused as error:
            raise FetchFailed(RejectReason.URL_REFUSED, where + str(error)) from None
        if came_from and came_from.scheme == "https" and address.scheme == "http":
            raise FetchFailed(RejectReason.URL_REFUSED, f"redirected from https to http at {address.host}")
        return address

    def _ask(
        self,
        address: Address,
        method: str = "GET",
        content: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> urllib3.BaseHTTPResponse:
        if wait_s := self._pauses.left_s(address.netloc):
            is_given_up = self._pauses.in_vain_s(address.netloc) > MAX_IN_VAIN_S
            raise _Paused(address.netloc, max(wait_s, MAX_WAIT_S + 1) if is_given_up else wait_s)
        with _in_words(address):
            return self._pools.request(
                method,
                address.url,
                body=content,
                headers={**self._headers, **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=self._timeout_s,
            )

    def _check(self, answer: urllib3.BaseHTTPResponse, address: Address, max_bytes: int) -> None:
        """See that the answer is a whole file of a size that may be read."""
        status, netloc = answer.status, address.netloc
        if status == 200:
            self._pauses.end(netloc)
            length = answer.headers.get("Content-Length", "")
            if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
                raise FetchFailed(RejectReason.TOO_LARGE, f"{int(length[:20])} bytes, more than {max_bytes}", netloc)
            return
        may_pass = status in _MAY_PASS
        wait_s = 0.0
        if may_pass:
            asked_s = retry_after_s(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            wait_s = asked_s or 0.0
            self._pauses.begin(netloc, wait_s)
        reason = RejectReason.SERVER_ERROR
        if status in _GONE:
            reason = RejectReason.GONE
        elif 400 <= status < 500 and status not in (408, 425):
            reason = RejectReason.REFUSED
        pause = f", asks for a pause of {wait_s:.0f} s" if wait_s else ""
        detail = f"status {status}{pause}"
        raise FetchFailed(reason, detail, netloc, may_pass=may_pass, wait_s=wait_s, status=status)

    def _body(self, answer: urllib3.BaseHTTPResponse, address: Address, max_bytes: int) -> Iterator[bytes]:
        size = 0
        try:
            with _in_words(address):
                for chunk in answer.stream(CHUNK_BYTES, decode_content=True):
                    size += len(chunk)
                    if size > max_bytes:
                        raise FetchFailed(RejectReason.TOO_LARGE, f"more than {max_bytes} bytes", address.netloc)
                    yield chunk
            answer.release_conn()
        finally:
            self._on_bytes(answer.tell())
            answer.close()


class _Paused(FetchFailed):
    """The host was not asked, for it wants a pause."""

    def __init__(self, netloc: str, wait_s: float) -> None:
        detail = f"the host wants a pause of {wait_s:.0f} s"
        super().__init__(RejectReason.REFUSED, detail, netloc, may_pass=True, wait_s=wait_s)


@contextlib.contextmanager
def _in_words(address: Address) -> Iterator[None]:
    """Turns what the client raises into FetchFailed, without the URLs that its texts hold."""
    fail = functools.partial(FetchFailed, netloc=address.netloc)
    timed_out, broken = RejectReason.TIMEOUT, RejectReason.SERVER_ERROR
    try:
        yield
    except FetchFailed:
        raise
    except AddressRefused as error:
        raise FetchFailed(RejectReason.URL_REFUSED, str(error)) from None
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        cause = error.__cause__
        match error:
            case _ if is_over():
                failure = fail(timed_out, "it took too long in all")
            case NewConnectionError():  # which is a ConnectTimeoutError, too
                reason = getattr(cause, "strerror", None) or cause or "no connection"
                failure = fail(broken, f"the host cannot be reached ({reason})", is_silent=True, may_pass=True)
            case ConnectTimeoutError():
                failure = fail(timed_out, "the host takes no connection in time", is_silent=True, may_pass=True)
            case ReadTimeoutError() | TimeoutError():
                failure = fail(timed_out, "timed out", may_pass=True)
            case SSLError():
                failure = fail(broken, "no secure connection (TLS)")
            case DecodeError():
                failure = fail(broken, "the compressed answer is damaged")
            case ValueError():  # a header or status line that is no such thing
                failure = fail(broken, f"the answer cannot be read ({type(error).__name__})")
            case _:
                failure = fail(broken, f"the answer broke off ({type(error).__name__})", may_pass=True)
        raise failure from None


def user_agent(contact: str = "") -> str:
    """The honest User-Agent: project, version and whom to write to.

    Raises:
        ConfigError: the contact cannot go into a header.
    """
    if any(ord(letter) < 32 or ord(letter) > 126 for letter in contact):
        raise ConfigError("source.contact goes into an HTTP header; write it in plain ASCII")
    try:
        version = importlib.metadata.version("counterset")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    return f"counterset/{version}" + (f" ({contact})" if contact else "")


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Seconds from a Retry-After header in either form, relative to the answer's own Date; None = not given."""
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until = _moment(value)
    if until is None:
        return None
    now = _moment(date or "") or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
