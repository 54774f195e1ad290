"""What a build of the demo starts from: the server of its world, and its config."""

from __future__ import annotations

import contextlib
import socket
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from counterset.config import Config, parse_config
from counterset.demo.serve import ServerProcess
from counterset.manifests import config_path


def demo_server(photos_per_class: int | None = None, seed: int = 0, folder: Path | None = None) -> ServerProcess:
    """The look-alike server of the demo's world, as a process of its own; use it in a `with` block.

    Args:
        photos_per_class: None = as the demo's config has it.
        seed: of the world.
        folder: where the demo works. Its server takes the port that it had there before, for a source at another
            address is another source.
    """
    wanted = _settings()["source"]["photos_per_class"] if photos_per_class is None else photos_per_class
    kept = folder / f".port-{wanted}-{seed}" if folder else None
    port = _free_port(kept.read_text(encoding="ascii")) if kept and kept.is_file() else 0
    server = ServerProcess("--photos-per-class", str(wanted), "--seed", str(seed), "--port", str(port))
    if kept:
        with contextlib.suppress(OSError):  # the build says so, in its own words
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(f"{urlsplit(server.url).port}\n", encoding="ascii")
    return server


def _free_port(text: str) -> int:
    """The port, or 0 (any) where it is taken or is none."""
    try:
        with socket.create_server(("127.0.0.1", int(text))):
            return int(text)
    except (OSError, ValueError, OverflowError):
        return 0


def demo_config(folder: Path, url: str, photos_per_class: int | None = None, seed: int = 0) -> Config:
    """The demo's config, working in `folder`, with the look-alike at `url`."""
    settings = _settings()
    settings["seed"] = seed
    if seed:  # ids repeat from world to world
        settings["workspace"] += f"-{seed}"
        settings["name"] += f"-{seed}"
    settings["source"] |= {"api_url": f"{url}/v1", "photo_url": url}
    if photos_per_class is not None:
        settings["source"]["photos_per_class"] = photos_per_class
    return parse_config(settings, base=folder, origin="the demo's config")


def _settings() -> dict[str, Any]:
    return tomllib.loads(config_path("demo.toml").read_text(encoding="utf-8"))
