"""Make the packaged demo release anew: the generated world at 300 photos per class, with a few of its photos.

python data_manifests/releases/generate.py
"""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from counterset_flows.build import build

from counterset.demo.start import Demo
from counterset.machine.orphans import leave_none
from counterset.release.publish import card, writer
from counterset.release.publish.files import write_tables
from counterset.release.schemas import SPLITS
from counterset.steps.label_steps import import_truth

PHOTOS_PER_CLASS = 300
NUM_BUNDLED = 2
"""Photos of each class and split that the release holds, so that the package stays small."""
HOME = Path(__file__).resolve().parent


def write_with_few_photos(tables: dict[str, pa.Table], *args: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """What `write_tables` writes, with the first photos of each class and split only."""
    *others, photo_bytes = args if len(args) == 3 else (*args, None)
    bundled: set[str] = set()
    for split in SPLITS:
        by_class: dict[str, list[str]] = {}
        for row in tables[split].select(["class_id", "photo_id"]).to_pylist() if split in tables else []:
            by_class.setdefault(row["class_id"], []).append(row["photo_id"])
        bundled.update(photo_id for photo_ids in by_class.values() for photo_id in photo_ids[:NUM_BUNDLED])
    return write_tables(
        tables, *others, lambda photo_id: photo_bytes(photo_id) if photo_id in bundled else None, **options
    )


def not_bundled(*_: Any) -> str:
    """What the card says of photos that are not inside."""
    return f"To keep the package small, only {NUM_BUNDLED} photos of each class and split are inside."


if __name__ == "__main__":
    leave_none()
    demo = Demo(PHOTOS_PER_CLASS)
    with (
        tempfile.TemporaryDirectory() as folder,
        demo.server() as server,
        patch.object(writer, "write_tables", write_with_few_photos),
        patch.object(card, "not_bundled", not_bundled),
    ):
        config = demo.config(Path(folder), server.url)
        import_truth(config.workspace, demo.write_labels(Path(folder)))
        result = build(config)
        target = HOME / "counterset-demo" / result.release.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(result.release, target)
    runpy.run_path(
        str(HOME.parents[1] / "docs/worked_example.py"), run_name="__main__"
    )  # its numbers are this release's
