"""Which web addresses may be fetched: one reading of a URL, one rule for its host.

What the user typed (an endpoint, a mirror, a release's address) is trusted as typed and may be private. What
a source, a release or a redirect names must be public, unless the user named its host.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

Resolver = Callable[[str], tuple[str, ...]]

LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".home.arpa", ".lan")
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|\d+)\Z")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC = tuple(map(ipaddress.IPv6Network, ("2001::/32", "3fff::/20")))
"""Teredo (its address holds another one, behind a relay) and documentation."""
_SAFE = "".join(map(chr, range(33, 127)))


class AddressRefused(Exception):
    """An address may not be fetched; the text says why, without what may be secret in it."""


class Address(NamedTuple):
    """A web address in its one normal form.

    Attributes:
        scheme: http or https.
        host: in lower case, as ASCII; an IP address in its usual notation, IPv6 without brackets.
        port: always given.
        target: path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """`host:port`, for people and as a key."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port == _PORTS[self.scheme] else f':{self.port}'}{self.target}"


def clean(url: str) -> str:
    """A listed URL as it was meant: without blanks around it, and with `&amp;` read as HTML means it."""
    return url.strip().replace("&amp;", "&")


def shown(url: str) -> str:
    """A URL for messages and logs: without user name, password, query and fragment, which may be secrets."""
    scheme, found, rest = url.partition("://")
    if not found:
        scheme, rest = "", url
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    text = f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path}"
    return text + ("?..." if len(place) < len(rest) else "")


def key_with_user(settings: object, key: str = "") -> str:
    """The first key of a parsed config whose address has a user name or password; "" = none. A webhook may have."""
    if isinstance(settings, str):
        is_secret = re.match(r"\s*[a-z][a-z0-9+.-]*://[^/?#]*@", settings, re.IGNORECASE)
        return key if is_secret and not key.startswith("notify.") else ""
    if not isinstance(settings, dict | list | tuple):
        return ""
    parts = settings.items() if isinstance(settings, dict) else enumerate(settings)
    return next(filter(None, (key_with_user(part, f"{key}.{name}".lstrip(".")) for name, part in parts)), "")


def parse(url: str) -> Address:
    """Read a URL as every part of this program reads it.

    Raises:
        AddressRefused: it is no http(s) URL, carries a user name, or its host cannot be read in one way only.
    """
    if any(ord(letter) <= 32 or letter in "\\\x7f" for letter in url):
        raise AddressRefused("the URL has blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressRefused("the URL cannot be read") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise AddressRefused(f"the scheme {parts.scheme or 'is missing and'!r} is not http or https")
    if "@" in parts.netloc:
        raise AddressRefused("the URL carries a user name")
    if not host:
        raise AddressRefused("the URL has no host")
    if port == 0:
        raise AddressRefused("port 0 is no port")
    path = quote(parts.path, safe=_SAFE) or "/"
    target = path + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Address(scheme, canonical_host(host), port or _PORTS[scheme], target)


def canonical_host(host: str) -> str:
    """A host in its one normal form.

    Raises:
        AddressRefused: it is percent-encoded, or no name and no address.
    """
    host = host.strip("[]") if ":" in host else host
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise AddressRefused("the URL's host cannot be read") from None
    if "%" in host:
        raise AddressRefused("the URL's host is percent-encoded")
    if not host.isascii():
        import idna

        try:  # full-width digits and ideographic full stops become what they stand for
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise AddressRefused("the URL's host cannot be read") from None
    host = host.lower().removesuffix(".")
    if not _HOST.match(host):
        raise AddressRefused("the URL's host cannot be read")
    if _NUMBER.match(host.rpartition(".")[2]):  # 127.1, 0x7f000001 and 2130706433 are addresses too
        try:
            return str(ipaddress.IPv4Address(socket.inet_aton(host)))
        except OSError:
            raise AddressRefused("the URL's host is neither a name nor an address") from None
    return host


def redirected(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        AddressRefused: its Location cannot be read.
    """
    try:
        # A header's bytes come as Latin-1; encoded as they were, UTF-8 stays UTF-8.
        return urljoin(url, quote(clean(location).encode("latin-1"), safe=_SAFE))
    except ValueError:
        raise AddressRefused("the address cannot be read") from None


def is_private(host: str) -> bool:
    """Whether a host is, literally or by its reserved name, not on the public internet."""
    host = host.lower().rstrip(".")
    if any(host == name or (name.startswith(".") and host.endswith(name)) for name in LOCAL_NAMES):
        return True
    if "." not in host and ":" not in host and not host[:1].isdigit():
        return True  # a bare name is one of the local network
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None:  # IPv4-translated, IPv4-compatible and local NAT64 addresses are outside of 2000::/3
            is_tunnel = int(address) >> 32 & 0xFCFFFFFF == 0x00005EFE  # ISATAP
            if is_tunnel or address not in _GLOBAL_UNICAST or any(address in network for network in _NOT_PUBLIC):
                return True
        else:
            address = inner
    return not address.is_global or address.is_multicast or address.is_reserved


def is_loopback(url: str) -> bool:
    """Whether a base URL names this very machine, where manners toward a real service do not apply."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def resolve(host: str) -> tuple[str, ...]:
    """The addresses of a host name, in the system's order; none when it has none."""
    try:
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(row[4][0]) for row in rows))


def netloc(url: str) -> str:
    """`host:port` of a URL that the user typed, to be trusted as typed; "" when it cannot be read."""
    try:
        parts = urlsplit(url)
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "/", "", ""))
        return parse(bare).netloc
    except (AddressRefused, ValueError):
        return ""


def netloc_of_number(url: str) -> str:
    """`host:port` of a URL whose host is an IP address, which no name server can change; else ""."""
    try:
        address = parse(url)
    except AddressRefused:
        return ""
    return address.netloc if _is_ip(address.host) else ""


class HostRules:
    """Tells which URLs may be fetched, and to which addresses their hosts lead.

    Args:
        known: the hosts that the user typed or that the source itself uses.
        allowed: more hosts from the config, as `host` or `host:port`; `*` stands
            for every public host. A private address needs its own entry.
        resolver: gives the addresses of a name.
    """

    def __init__(self, known: Iterable[str], allowed: Iterable[str] = (), resolver: Resolver = resolve) -> None:
        allowed = tuple(allowed)
        self._named = {_normal_name(name) for name in (*known, *allowed) if name not in ("*", "")}
        self._any_public = "*" in allowed
        self._resolver = resolver

    @property
    def allows_any(self) -> bool:
        """Whether there is a host at all that may be fetched from."""
        return bool(self._named) or self._any_public

    def check(self, url: str) -> Address:
        """The URL in its normal form. Names are not resolved yet: `addresses` does that, once, to connect.

        Raises:
            AddressRefused: it may not be fetched.
        """
        address = parse(url)
        self._check_host(address.host, address.port)
        return address

    def refusal(self, url: str) -> str:
        """Why `url` is refused, in words; "" = it may be fetched."""
        try:
            self.check(url)
        except AddressRefused as error:
            return str(error)
        return ""

    def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """The IP addresses to connect to: the name is resolved here and nowhere else, and each one is checked.

        Raises:
            AddressRefused: the host may not be fetched from, or one of its addresses is private.
        """
        host = canonical_host(host)
        is_named = self._check_host(host, port)
        found = self._resolver(host) if not _is_ip(host) else (host,)
        private = next((address for address in found if is_private(address)), "")
        if private and not is_named:
            raise AddressRefused(f"{host} has the private address {private}")
        return found

    def _check_host(self, host: str, port: int) -> bool:
        """Whether the host is named; an error when it is not and need be."""
        if host in self._named or f"{host}:{port}" in self._named:
            return True
        if is_private(host):
            raise AddressRefused(f"{host} is a private address; name it in allowed_hosts to allow it")
        if not self._any_public:
            raise AddressRefused(f"{host} is not a host of this source; name it in allowed_hosts to allow it")
        return False


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _normal_name(name: str) -> str:
    """`host` or `host:port` as the rules compare it; IPv6 without brackets, as in `Address.host`."""
    host, colon, port = name.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.startswith("[")):
        host, port = name, ""
    try:
        return canonical_host(host) + (f":{int(port)}" if port else "")
    except AddressRefused:
        return name.lower()
