"""Which URLs a photo may be downloaded from, decided before any download."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

Resolver = Callable[[str], tuple[str, ...]]

LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".home.arpa", ".lan")


def resolve(host: str) -> tuple[str, ...]:
    """The addresses of a host name; none when it has none (the download then says so)."""
    try:
        return tuple({str(row[4][0]) for row in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        return ()


class HostRules:
    """Tells why a URL is refused.

    Args:
        known: the hosts that the source itself uses.
        allowed: more hosts from the config, as `host` or `host:port`; `*` stands
            for every public host. A private address needs its own entry.
        resolver: gives the addresses of a name, so that under `*` a public name of
            a private address is refused as well.
    """

    def __init__(self, known: Iterable[str], allowed: Iterable[str] = (), resolver: Resolver = resolve) -> None:
        self._named = {name.lower().rstrip(".") for name in (*known, *allowed)} - {"*"}
        self._any_public = "*" in set(allowed)
        self._resolver = resolver
        self._addresses: dict[str, tuple[str, ...]] = {}

    def refusal(self, url: str) -> str:
        """Why `url` is refused, in words; "" = it may be downloaded."""
        if any(ord(letter) <= 32 or letter in "\\\x7f" for letter in url):
            return "the URL has blanks, control characters or backslashes"
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return "the URL cannot be read"
        if parts.scheme.lower() not in ("http", "https"):
            return f"the scheme {parts.scheme or 'is missing and'!r} is not http or https"
        if not host:
            return "the URL has no host"
        if "@" in parts.netloc:
            return "the URL carries a user name"
        if host in self._named or (port is not None and f"{host}:{port}" in self._named):
            return ""
        if is_private(host):
            return f"{host} is a private address; name it in source.allowed_hosts to allow it"
        if not self._any_public:
            return f"{host} is not a host of this source; name it in source.allowed_hosts to allow it"
        if host not in self._addresses:
            self._addresses[host] = self._resolver(host)
        private = next((address for address in self._addresses[host] if is_private(address)), "")
        return f"{host} has the private address {private}" if private else ""


def is_private(host: str) -> bool:
    """Whether a host is, literally or by its reserved name, not on the public internet."""
    if any(host == name or (name.startswith(".") and host.endswith(name)) for name in LOCAL_NAMES):
        return True
    if "." not in host and ":" not in host and not host[:1].isdigit():
        return True  # a bare name is one of the local network
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:  # 127.1, 0x7f000001 and 2130706433 are addresses too
            address = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            address = inner
    return not address.is_global or address.is_multicast


def is_loopback(url: str) -> bool:
    """Whether a base URL names this very machine, where manners toward a real service do not apply."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
