"""A shard of which no photo can be used, as a rebuild's small ones may be, does not stop a build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ..flows.small_build import SMALL_SETTINGS
from . import whole_build

CONFIG = (
    """
name = "empty"
workspace = "workspace"
releases = "releases"
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
kind = "folder"
path = "photos"
[download]
shard_size = 1
"""
    + SMALL_SETTINGS
)


def test_a_build_goes_on_over_an_empty_shard(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0)
    for class_id in ("ice_bear", "lion"):
        folder = tmp_path / "photos" / class_id
        folder.mkdir(parents=True)
        for number in range(3):
            Image.fromarray(pixels.integers(0, 255, (120, 120, 3), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "photos" / "lion" / "1.png").write_bytes(b"not a photo")
    (tmp_path / "my.toml").write_text(CONFIG)
    release, _ = whole_build.build(tmp_path / "my.toml")
    assert len(pq.read_table(release / "all_photos.parquet")) == 5
    [reject] = pq.read_table(release / "rejects.parquet").to_pylist()
    assert reject["reason"] == "undecodable"
