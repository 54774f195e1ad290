"""The next build does what reviewers say of a class as a whole, and its release cites them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import counterset
from counterset.demo.world.observations import demo_catalog
from counterset.load import Release
from counterset.review import log
from counterset.review.log import Decision
from counterset.workspace import Workspace

from ..flows.small_build import SMALL_SETTINGS
from . import whole_build

CONFIG = (
    """
name = "looked-at"
workspace = "work"
releases = "releases"
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
kind = "folder"
path = "photos"
photos_per_class = 1000
"""
    + SMALL_SETTINGS
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with photos and a config that was built once."""
    home = tmp_path
    catalog, truth = demo_catalog(25, 5)
    for row in truth.to_pylist():
        if row["class_id"] in ("ice_bear", "lion") and row["fault"] is None:
            path = home / "photos" / row["class_id"] / f"{row['photo_id']}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(catalog.original_bytes(row["photo_id"]))
    (home / "build.toml").write_text(CONFIG)
    whole_build.build(home / "build.toml")
    return home


def release(home: Path, version: str) -> Release:
    return counterset.load(home / "releases" / "looked-at" / version)


def test_decisions_wait_for_the_whole_class_and_then_count(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = release(home, "1.0.0")
    rows = first.all_photos.select(["photo_id", "class_id", "group"]).to_pylist()
    lions = [row for row in rows if row["class_id"] == "lion"]
    rejected, renamed, *others = lions
    workspace = Workspace(home / "work")
    log.append(
        workspace,
        [
            Decision("lion", rejected["photo_id"], "reject", "ada", shown_name=rejected["group"], reason="label_noise"),
            Decision("lion", renamed["photo_id"], "other", "ada", shown_name=renamed["group"], said_name="water"),
        ],
    )

    assert not whole_build.build(home / "build.toml")[1]
    assert "decisions on lion wait until every photo of the class has one" in caplog.text
    assert not (home / "releases/looked-at/2.0.0").exists()

    log.append(
        workspace,
        [
            Decision("lion", row["photo_id"], "right" if row["group"] else "none", "bea", shown_name=row["group"])
            for row in others
        ],
    )
    whole_build.build(home / "build.toml")
    second = release(home, "2.0.0")
    by_id = {row["photo_id"]: row for row in second.all_photos.to_pylist()}
    assert rejected["photo_id"] not in by_id
    assert by_id[renamed["photo_id"]]["group"] == "water"
    assert all(by_id[row["photo_id"]]["group"] == row["group"] for row in others)
    assert all(by_id[row["photo_id"]]["group"] == row["group"] for row in rows if row["class_id"] == "ice_bear")

    [row] = [row for row in second.rejects.to_pylist() if row["stage"] == "review"]
    assert (row["photo_id"], row["reason"]) == (rejected["photo_id"], "label_noise")
    assert row["detail"] == "ada: it does not show the class"
    offered = {row["photo_id"] for row in first.all_photos.to_pylist()} | set(first.rejects["photo_id"].to_pylist())
    kept = set(by_id) | set(second.rejects["photo_id"].to_pylist())
    assert kept == offered  # nothing vanishes without a row

    assert second.metadata["review"]["reviewers"] == {"ada": 2, "bea": len(others)}
    assert second.metadata["review"]["classes"] == ["lion"]
    assert "review" not in first.metadata
    card = (second.path / "README.md").read_text()
    assert f"ada (2), bea ({len(others)})" in card and "not from people" not in card
    croissant = json.loads((second.path / "croissant.json").read_text())
    assert croissant["rai:dataAnnotationPlatform"] == ["counterset review"]
    assert croissant["rai:annotationsPerItem"] == f"1 of each of {len(lions)} photos"

    assert not whole_build.build(home / "build.toml")[1]  # decisions that were applied make nothing anew
