"""What a build of the demo starts from: the server of its world, and its config."""

from __future__ import annotations

import contextlib
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from counterset.config import Config, parse_config
from counterset.demo.serve import ServerProcess
from counterset.demo.world import WorldName
from counterset.demo.world.observations import demo_boxes, demo_catalog
from counterset.manifests import config_path
from counterset.tables import write_bytes

BOXES_FILE = "animals.csv"
QUICK_GIVES_UP = (
    "quick: fewer photos of each class, groups from 3 photos and 3 photographers on each half, and no evaluators, so "
    "intervals are wide and drops below some 40 points stay unconfirmed; `counterset demo` finds those too"
)


@dataclass(frozen=True)
class Demo:
    """One demo: which world, and how much of it.

    Attributes:
        photos_per_class: None = as the config has it.
        seed: of the world.
        world: which of `WORLDS`.
        is_quick: by the quick config, `demo_quick.toml`, instead of `demo.toml`.
    """

    photos_per_class: int | None = None
    seed: int = 0
    world: WorldName = "showcase"
    is_quick: bool = False

    def settings(self) -> dict[str, Any]:
        """The packaged config's settings, with what is asked for here; the source's address is still to come."""
        path = config_path("demo_quick.toml" if self.is_quick else "demo.toml")
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        if self.photos_per_class is not None:
            settings["source"]["photos_per_class"] = self.photos_per_class
        settings["seed"] = self.seed
        if self.world == "causes":
            settings["annotate"]["animals"] = BOXES_FILE
        for part in (self.world if self.world != "showcase" else "", str(self.seed or "")):
            if part:  # ids repeat from world to world
                settings["workspace"] += f"-{part}"
                settings["name"] += f"-{part}"
        return settings

    def server(self, folder: Path | None = None) -> ServerProcess:
        """The look-alike server of the world, as a process of its own; use it in a `with` block.

        Args:
            folder: where the demo works. Its server takes the port that it had there before, for a source at another
                address is another source.
        """
        wanted = self.settings()["source"]["photos_per_class"]
        kept = folder / f".port-{self.world}-{wanted}-{self.seed}" if folder else None
        port = _free_port(kept.read_text(encoding="ascii")) if kept and kept.is_file() else 0
        options = {"photos-per-class": wanted, "seed": self.seed, "world": self.world, "port": port}
        server = ServerProcess(*(text for name, value in options.items() for text in (f"--{name}", str(value))))
        if kept:
            with contextlib.suppress(OSError):  # the build says so, in its own words
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(f"{urlsplit(server.url).port}\n", encoding="ascii")
        return server

    def write_labels(self, folder: Path) -> Path:
        """A CSV file of what every photo of the world shows, as a reviewer would write it who never errs."""
        _, truth = demo_catalog(self.settings()["source"]["photos_per_class"], self.seed, self.world)
        rows = zip(*(truth[name].to_pylist() for name in ("photo_id", "class_id", "background")), strict=True)
        lines = [f"inaturalist-{photo_id},{class_id},{background},1" for photo_id, class_id, background in rows]
        path = folder / "true-names.csv"
        write_bytes("\n".join(["photo_id,class_id,background,probability", *lines, ""]).encode(), path)
        return path

    def write_boxes(self, folder: Path) -> Path:
        """The CSV file of where the animals are that the config of a world of causes names."""
        boxes = demo_boxes(self.settings()["source"]["photos_per_class"], self.seed, self.world)
        lines = [",".join(boxes.column_names)]
        for photo_id, *box in zip(*(column.to_pylist() for column in boxes.columns), strict=True):
            lines.append(",".join([f"inaturalist-{photo_id}", *(f"{number:.4f}" for number in box)]))
        path = folder / BOXES_FILE
        write_bytes("\n".join([*lines, ""]).encode(), path)
        return path

    def config(self, folder: Path, url: str) -> Config:
        """Its config, working in `folder`, with the look-alike at `url`."""
        settings = self.settings()
        settings["source"] |= {"api_url": f"{url}/v1", "photo_url": url}
        return parse_config(settings, base=folder, origin="the demo's config")


def _free_port(text: str) -> int:
    """The port, or 0 (any) where it is taken or is none."""
    try:
        with socket.create_server(("127.0.0.1", int(text))):
            return int(text)
    except (OSError, ValueError, OverflowError):
        return 0
