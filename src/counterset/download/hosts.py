"""Whose fault it is that a photo did not come: its own, or its host's."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple
from urllib.parse import urlsplit

from counterset.errors import SourceUnavailable
from counterset.fetching.addresses import netloc
from counterset.schemas import RejectReason

FEW_PHOTOS = 10
"""Fewer failures than this are held against the photos, not against their host."""


class Failure(NamedTuple):
    """Why a photo did not come; the fields are those of `fetching.gate.FetchFailed`."""

    reason: RejectReason
    detail: str
    netloc: str = ""
    is_silent: bool = False
    may_pass: bool = False
    wait_s: float = 0.0

    def blames(self, host: str) -> bool:
        """Whether it speaks of this host rather than of the photo or of where that redirects to."""
        is_hosts = self.may_pass or self.reason in (RejectReason.TIMEOUT, RejectReason.SERVER_ERROR)
        return is_hosts and self.netloc == host


def check_hosts(
    remote: dict[str, str],
    images: dict[str, bytes],
    failures: dict[str, Failure],
    is_retry: bool,
    *,
    is_mirror: bool = False,
) -> None:
    """Tell hosts that are away from photos that are bad.

    A host is judged by many photos that the list has of it, never by where a photo redirects to; a mirror,
    which the user named, by any number.

    Raises:
        SourceUnavailable: a host went away, or hosts that fail are why most photos did not come.
    """
    away = went_away(remote, failures)
    if away:
        raise SourceUnavailable(
            f"{urlsplit(remote[away[0]]).hostname} went away in the middle: {len(away)} of {len(remote)} photos of a "
            f"shard are missing ({failures[away[0]].detail}); run again when it is back, and what came is kept"
        )
    if is_retry:
        return
    hosts = {name: netloc(url) for name, url in remote.items()}
    total = Counter(hosts.values())
    blamed = sorted(name for name, host in hosts.items() if name in failures and failures[name].blames(host))
    failed = Counter(hosts[name] for name in blamed)
    failing = [host for host, count in failed.items() if count >= FEW_PHOTOS and count > total[host] / 2]
    if sum(failed[host] for host in failing) > len(remote) / 2 or (is_mirror and 0 < len(blamed) == len(remote)):
        some = "none" if not images else f"only {len(images)}"
        raise SourceUnavailable(
            f"{some} of {len(remote)} photos could be downloaded ({failures[blamed[0]].detail}); "
            "check the network and run again"
        )


def went_away(remote: dict[str, str], failures: dict[str, Failure]) -> list[str]:
    """Photos of hosts that cannot be reached though they answered for others: not the photos' fault.

    A few photos prove nothing of a host, unless they are much of the list.
    """
    silent: dict[str, list[str]] = {}
    hosts = {name: netloc(url) for name, url in remote.items()}
    total = Counter(hosts.values())
    for name in sorted(failures.keys() & remote.keys()):
        if failures[name].is_silent and failures[name].blames(hosts[name]):
            silent.setdefault(hosts[name], []).append(name)
    return [
        name
        for host, names in silent.items()
        if len(names) < total[host] and len(names) >= min(FEW_PHOTOS, max(2, len(remote) / 4))
        for name in names
    ]
