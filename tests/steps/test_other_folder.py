"""A build with everything in local files: the same bytes in any folder, and no folder's name in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

import counterset
from counterset.demo.world.observations import demo_catalog
from counterset.manifests import manifest_path
from counterset.models.open_clip_encoder import DEMO_WEIGHTS

from . import whole_build

CONFIG = """
name = "mine"
workspace = "work"
releases = "out"
[classes]
list = "lists/classes.csv"
only = ["ice_bear", "lion"]
[source]
kind = "folder"
path = "photos of mine"
photos_per_class = 1000
[models]
annotator = "local-dir:models/names"
selectors = ["local-dir:models/ours"]
[annotate]
vocabulary = "lists/words.csv"
[evaluate]
label_space = "lists/labels.txt"
[select]
min_photos = 2
min_units = 2
num_permutations = 200
[publish]
thumbnails_per_group = 2
with_images = true
"""


def fill(home: Path) -> None:
    """All files of the build, below `home`."""
    catalog, truth = demo_catalog(25, 5)
    rows = [row for row in truth.to_pylist() if row["class_id"] in ("ice_bear", "lion") and row["fault"] is None]
    for row in rows:
        path = home / "photos of mine" / row["class_id"] / f"a photo {row['photo_id']}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(catalog.original_bytes(row["photo_id"]))
    broken = home / "photos of mine" / "lion"
    (broken / "cut short.jpg").write_bytes(path.read_bytes()[:400])
    (home / "other photos").mkdir()
    shutil.copy(path, home / "other photos" / "x y.jpg")
    (broken / "a link.jpg").symlink_to(home / "other photos" / "x y.jpg")
    for name, model in (("names", "annotator"), ("ours", "selector")):
        shutil.copytree(DEMO_WEIGHTS / model, home / "models" / name)
    lists = home / "lists"
    lists.mkdir()
    shutil.copy(manifest_path("classes/demo.csv"), lists / "classes.csv")
    shutil.copy(manifest_path("backgrounds/demo.csv"), lists / "words.csv")
    (lists / "labels.txt").write_text("ice bear\nlion\nostrich\nzebra\n")
    (home / "build.toml").write_text(CONFIG)


def test_the_folder_changes_no_byte_and_is_not_named(tmp_path: Path) -> None:
    sums = []
    for name in ("alices-home-xyz", "bob/deeper-home"):
        home = tmp_path / name
        home.mkdir(parents=True)
        fill(home)
        whole_build.build(home / "build.toml")
        release = home / "out" / "mine" / "1.0.0"
        sums.append((release / "SHA256SUMS").read_text())
        for path in (path for path in release.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
            for trace in (str(tmp_path), name, "alices-home", "deeper-home", "photos of mine"):
                assert trace.encode() not in content, (path, trace)
    assert sums[0] == sums[1]
    loaded = counterset.load(release)
    assert {row["detail"] for row in loaded.rejects.to_pylist() if row["stage"] == "crawl"}
    photo = loaded.all_photos.to_pylist()[0]
    assert photo["url"].startswith(f"{photo['class_id']}/a photo ")
    fetched = counterset.load(release, mirrors=(f"{home}/photos of mine/{{path}}",), cache=tmp_path / "cache")
    assert fetched.photo(photo["photo_id"])

    assert whole_build.build(home / "build.toml") == (release, False)
