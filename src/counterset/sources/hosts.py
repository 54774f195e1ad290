"""Which hosts a source's photos may come from; how hosts are judged is the gate's (`fetching.addresses`)."""

from __future__ import annotations

from counterset.config import SourceConfig
from counterset.fetching.addresses import HostRules, is_loopback, is_private

__all__ = ["HostRules", "is_loopback", "is_private", "photo_hosts"]


def photo_hosts(config: SourceConfig) -> tuple[str, ...]:
    """What `HostRules` allows: the config's own, and for a source that builds its URLs itself any public host."""
    return config.allowed_hosts if config.kind == "url_list" else ("*", *config.allowed_hosts)
