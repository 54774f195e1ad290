"""The embedded demo: its server, its config, and what is true of its world."""

from __future__ import annotations

import contextlib
import json
import socket
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from counterset.config import Config, parse_config
from counterset.demo.server_process import ServerProcess
from counterset.manifests import config_path
from counterset.schemas import PAIRS, Verdict
from counterset.tables import read_table

TRUTH = Path(__file__).resolve().parent / "weights" / "truth.json"


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


def true_accuracies(model: str = "selector") -> dict[str, dict[str, float]]:
    """class_id -> background -> a demo model's accuracy on fresh photos of this world (see `demo.train`)."""
    accuracies: dict[str, dict[str, float]] = json.loads(TRUTH.read_text(encoding="utf-8"))["accuracy"][model]
    return accuracies


def truth_rows(pairs_path: str | Path) -> list[dict[str, Any]]:
    """One row a class: the pair found, its true drop, and the largest true drop of the class.

    Keys: class_id, verdict, common, counter, drop, drop_low, drop_high (all as in the
    pairs table), true_drop (of that pair), largest_drop, largest_pair, is_covered (the
    interval holds true_drop). Drops are fractions.
    """
    truth = true_accuracies()
    rows = []
    for pair in read_table(pairs_path, PAIRS).to_pylist():
        by_background = truth[pair["class_id"]]
        best, worst = (
            max(by_background, key=by_background.__getitem__),
            min(by_background, key=by_background.__getitem__),
        )
        row = {
            name: pair[name] for name in ("class_id", "verdict", "common", "counter", "drop", "drop_low", "drop_high")
        }
        row["largest_drop"] = by_background[best] - by_background[worst]
        row["largest_pair"] = f"{best} > {worst}"
        row["true_drop"] = row["is_covered"] = None
        if pair["common"] in by_background and pair["counter"] in by_background:
            row["true_drop"] = by_background[pair["common"]] - by_background[pair["counter"]]
            if pair["drop"] is not None:
                row["is_covered"] = pair["drop_low"] <= row["true_drop"] <= pair["drop_high"]
        rows.append(row)
    return rows


def truth_summary(rows: list[dict[str, Any]]) -> str:
    """What the demo's build got right and wrong, in one line."""
    large = [row for row in rows if row["largest_drop"] >= 0.15]
    found = [row for row in large if row["true_drop"] is not None and row["largest_drop"] - row["true_drop"] <= 0.05]
    confirmed = [row for row in rows if row["verdict"] == Verdict.CONFIRMED]
    false = [row["class_id"] for row in confirmed if row["true_drop"] is None or row["true_drop"] <= 0]
    stated = [row["is_covered"] for row in rows if row["is_covered"] is not None]
    return (
        f"{len(found)} of {len(large)} classes with a true drop of 15 points or more have a pair within 5 points of "
        f"the largest; {len(confirmed)} classes confirmed, {len(false)} of them wrongly; "
        f"{sum(stated)} of {len(stated)} intervals hold the true drop"
    )
