"""Connections that lead to the address that was checked, and end at a deadline.

A name that is resolved once to be checked and again to be connected to can answer differently (DNS
rebinding), so the check is made where the connection is: for every new connection, at every step of a
redirect. A deadline holds for all that a thread reads, however slowly it drips.
"""

from __future__ import annotations

import contextlib
import functools
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util import create_urllib3_context

from counterset.fetching.addresses import HostRules

if TYPE_CHECKING:
    import requests

_LOCAL = threading.local()
_MAX_ADDRESSES = 4
"""Addresses of one name that are tried."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Callable[[float], None]]:
    """Within the block, what this thread reads from connections of this module ends with TimeoutError after so long.

    What it gives extends the time by more seconds.
    """
    before = getattr(_LOCAL, "until", math.inf)
    _LOCAL.until = min(before, time.monotonic() + seconds)

    def extend(more: float) -> None:
        _LOCAL.until += more

    try:
        yield extend
    finally:
        _LOCAL.until = before


def is_over() -> bool:
    """Whether this thread's deadline has passed."""
    return time.monotonic() > getattr(_LOCAL, "until", math.inf)


def _check_time() -> None:
    if is_over():
        raise TimeoutError("it took too long in all")


class _Socket(socket.socket):
    def recv_into(self, *args: Any, **options: Any) -> int:
        _check_time()
        return super().recv_into(*args, **options)


class _TlsSocket(ssl.SSLSocket):
    def recv_into(self, *args: Any, **options: Any) -> int:
        _check_time()
        return super().recv_into(*args, **options)


class _Checked(HTTPConnection):
    """Resolves its host by the rules, once, and connects to what they allow."""

    rules: HostRules

    def _new_conn(self) -> socket.socket:
        places = self.rules.addresses(self.host, self.port)
        failure: OSError = OSError("the name has no address")
        for place in places[:_MAX_ADDRESSES]:
            _check_time()
            sock = _Socket(socket.AF_INET6 if ":" in place else socket.AF_INET, socket.SOCK_STREAM)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                if isinstance(self.timeout, int | float):
                    sock.settimeout(self.timeout)
                sock.connect((place, self.port))
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"{self.host} takes no connection in time") from failure
        raise NewConnectionError(self, failure.strerror or str(failure)) from failure


class _CheckedTls(_Checked, HTTPSConnection):
    pass


class Pools(urllib3.PoolManager):
    """Pools of such connections, for one set of rules."""

    def __init__(self, rules: HostRules, **options: Any) -> None:
        super().__init__(ssl_context=_tls(), **options)
        self._rules = rules

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> urllib3.HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        checked = type("_Connection", (_CheckedTls if scheme == "https" else _Checked,), {"rules": self._rules})
        pool.ConnectionCls = checked
        return pool


@functools.cache
def _tls() -> ssl.SSLContext:
    """The system's certificates (or $SSL_CERT_FILE) and certifi's, for slim machines have none."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_default_certs()
    context.load_verify_locations(certifi.where())
    context.sslsocket_class = _TlsSocket
    return context


def session(rules: HostRules, user_agent: str) -> requests.Session:
    """A requests session through the gate, for a service at an address that the user typed."""
    import requests
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
            self.poolmanager = Pools(rules, num_pools=connections, maxsize=maxsize, block=block, **options)

    made = requests.Session()
    made.trust_env = False  # no proxies, no ~/.netrc
    made.headers["User-Agent"] = user_agent
    for scheme in ("http://", "https://"):
        made.mount(scheme, Adapter())
    return made
