"""The examples run as they stand, one after the other as a newcomer would: on the release of the demo build, and on its
photos as a folder of one's own."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import counterset

from .conftest import DemoBuild, Sandbox

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
EXTRAS = EXAMPLES / "counterset-extras"


def run(folder: Path, *command: object, site: Path | None = None, is_refused: bool = False) -> str:
    """What a script or command prints, called in `folder` without a network; or how it is refused."""
    environment = Sandbox(folder.parent / "sandbox").environment  # the demo's own is asked who it called
    paths = [environment["PYTHONPATH"], *([str(site)] if site else []), *(entry for entry in sys.path if entry)]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == (2 if is_refused else 0), done.stdout + done.stderr
    return done.stderr if is_refused else done.stdout


@pytest.fixture(scope="module")
def extras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package, as an installer would leave it."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((EXTRAS / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXTRAS / "counterset_extras", site / "counterset_extras")
    metadata = site / f"counterset_extras-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, things in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in things.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return site


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, prefect_server: dict[str, str]) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in prefect_server.items():
            patch.setenv(name, value)
        yield tmp_path_factory.mktemp("newcomer")


@pytest.fixture(scope="module")
def photos(demo_build: DemoBuild, folder: Path) -> Path:
    """Photos of one's own, which the first example writes."""
    printed = run(folder, EXAMPLES / "load_release.py", demo_build.release, "--export", "photos")
    release = counterset.load(demo_build.release)
    confirmed = [row for row in release.pairs.to_pylist() if row["verdict"] == "confirmed"]
    assert confirmed
    for row in confirmed:
        assert f"{row['class_id']}: {row['common']} {row['accuracy_common']:.1%}" in printed
    assert f"{release.common.num_rows} photos on common backgrounds" in printed
    assert f"{release.common.num_rows + release.counter.num_rows} photos in photos; 0 could not" in printed
    return folder / "photos"


@pytest.fixture(scope="module")
def own_release(photos: Path) -> Path:
    """What the second example builds of them, with the demo's small models in place of downloaded ones."""
    two = photos.parent / "two"
    for name in sorted(path.name for path in photos.iterdir())[:2]:
        shutil.copytree(photos / name, two / name)
    printed = run(
        photos.parent,
        *(EXAMPLES / "own_photos.py", "two", "--annotator", "demo:annotator", "--selector", "demo:selector"),
        *("--vocabulary", "demo"),
    )
    assert "report.html" in printed
    return photos.parent / "own-photos" / "releases" / "own-photos"


def test_photos_of_ones_own(own_release: Path, photos: Path) -> None:
    release = counterset.load(own_release)
    with (own_release.parents[1] / "classes.csv").open(newline="") as file:
        assert [row["class_id"] for row in csv.DictReader(file)] == list(release.class_names)
    offered = sum(1 for path in (photos.parent / "two").rglob("*") if path.is_file())
    assert release.all_photos.num_rows + len(set(release.rejects["photo_id"].to_pylist())) == offered
    assert release.all_photos.num_rows > 0.9 * offered


def test_a_model_of_ones_own_and_a_metric(demo_build: DemoBuild, folder: Path, extras: Path) -> None:
    printed = run(folder, EXAMPLES / "own_model.py", demo_build.release, site=extras)
    [line] = [line for line in printed.splitlines() if line.startswith("mean-colour: common ")]
    [metrics] = (folder / "evaluations").rglob("metrics.parquet")
    [row] = pq.read_table(metrics).to_pylist()
    assert f"drop {row['drop']:.1%} " in line
    assert row["drop"] > 0, "a model of backgrounds alone is worse on counter ones"
    assert row["median_counter_low"] <= row["median_counter"] <= row["median_counter_high"], "from the package"


def test_an_audit(demo_build: DemoBuild, folder: Path, own_release: Path) -> None:
    """Against a training set that holds the photos of two of the classes themselves."""
    workspace = own_release.parents[1] / "workspace"
    shards = [
        path
        for path in (workspace / "embeddings").rglob("*.parquet")
        if set(pq.read_table(path)["model"].unique().to_pylist()) == {"demo:annotator"}
    ]
    (folder / "training").mkdir()
    for number, shard in enumerate(shards):
        shutil.copy(shard, folder / "training" / f"{number}.parquet")
    printed = run(folder, EXAMPLES / "audit_training_set.py", demo_build.release, "training")
    known = counterset.load(own_release).all_photos.num_rows
    near, _, total = printed.splitlines()[0].partition(" of ")
    assert known <= int(near) < int(total.split()[0])
    assert "demo:selector, matched: drop " in printed


def test_a_package_of_ones_own(demo_build: DemoBuild, folder: Path, own_release: Path, extras: Path) -> None:
    counterset_ = ("-m", "counterset.cli")
    run(folder, *counterset_, "export", demo_build.release, "jsonl", "lines", site=extras)
    rows = [json.loads(line) for line in (folder / "lines" / "photos.jsonl").read_text().splitlines()]
    release = counterset.load(demo_build.release)
    assert [row["photo_id"] for row in rows if row["split"] == "counter"] == release.counter["photo_id"].to_pylist()
    (folder / "flat").mkdir()
    for path in (folder / "two").rglob("*.jpg"):
        class_id = path.relative_to(folder / "two").parts[0]
        shutil.copy(path, folder / "flat" / f"{class_id}-{path.name}")
    (folder / "flat" / "notes.txt").write_text("of no class")
    text = (folder / "own-photos" / "build.toml").read_text()
    for old, new in (
        ("own-photos", "flat-photos"),
        ('kind = "folder"', 'kind = "file_names"'),
        (f"path = '{folder / 'two'}'", f"path = '{folder / 'flat'}'"),
        ("[annotate]\n", '[annotate]\nmethod = "weighted"\n'),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "own-photos" / "flat.toml").write_text(text)
    run(folder, *counterset_, "build", folder / "own-photos" / "flat.toml", site=extras)
    same, flat = counterset.load(own_release), counterset.load(own_release.parent / "flat-photos")
    assert sorted(flat.all_photos["sha256"].to_pylist()) == sorted(same.all_photos["sha256"].to_pylist())
    assert flat.metadata["config"]["annotate"]["method"] == "weighted"
    refused = run(folder, *counterset_, "build", folder / "own-photos" / "flat.toml", is_refused=True)
    assert "unknown source.kind 'file_names'" in refused, "without the package"


def test_every_example_is_run_here_and_listed() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    here, readme = Path(__file__).read_text(), (EXAMPLES / "README.md").read_text()
    assert scripts and all(f'"{name}"' in here and f"({name})" in readme for name in scripts)
    groups = tomllib.loads((EXTRAS / "pyproject.toml").read_text())["project"]["entry-points"]
    modules = {place.split(":")[0].rpartition(".")[2] for things in groups.values() for place in things.values()}
    assert modules == {path.stem for path in (EXTRAS / "counterset_extras").glob("*.py")} - {"__init__"}
