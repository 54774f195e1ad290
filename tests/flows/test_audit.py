"""Audits and prunings by the command line: equal to brute force, killed and resumed to the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.load import load
from counterset.models.open_clip_encoder import load_encoder
from counterset.release.publish.writer import publish
from counterset.similarity.audit import audit_release
from counterset.similarity.report import render_audit
from counterset.similarity.schemas import BANDS, KEPT, NEAREST, OWN_DUPLICATES, REMOVED
from counterset.tables import read_table

from ..release.build_inputs import build_config, build_inputs, with_tables
from ..similarity.shard_files import brute, unit, write_npy, write_parquet
from ..similarity.test_deduplicate import oracle
from .killing import MARK, alive, is_gone, wait_for

NUM_SHARDS, ROWS, DIM, KEEP, LIMIT = 12, 300, 32, 1_500, 0.9


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in shards with planted near, far and doubled images, queries and a reference set."""
    folder = tmp_path_factory.mktemp("prune")
    generator = np.random.default_rng(0)
    queries = unit(generator.standard_normal((40, DIM)))
    base = unit(generator.standard_normal((NUM_SHARDS * ROWS, DIM)))
    base[100:140] = unit(queries + 0.05 * generator.standard_normal((40, DIM)))  # too near
    base[5 * ROWS - 3 : 5 * ROWS + 3] = base[:1]  # equal, across the border of two shards
    base[7 * ROWS : 7 * ROWS + 50] = unit(base[2 * ROWS : 2 * ROWS + 50] + 0.02 * generator.standard_normal((50, DIM)))
    base[300] = queries[7]
    for shard in range(NUM_SHARDS):
        ids = [f"image-{shard * ROWS + row}" for row in range(ROWS)]
        write_parquet(folder / "base" / f"{shard:02d}.parquet", ids, base[shard * ROWS :][:ROWS])
    write_parquet(folder / "queries" / "q.parquet", [f"q-{number:02d}" for number in range(40)], queries)
    reference = unit(np.concatenate([generator.standard_normal((480, DIM)), queries[:20] + 0.3]))
    for start in (0, 250):
        ids = [f"reference-{start + row}" for row in range(250)]
        write_npy(folder / "reference" / f"{start:03d}.npy", ids, reference[start : start + 250])
    return folder


ARGUMENTS = (
    *("prune", "--base", "base", "--queries", "queries", "--reference", "reference", "--model", "toy"),
    *("--keep", str(KEEP), "--max-similarity", str(LIMIT)),
)


@pytest.fixture(scope="module")
def pruned(world: Path, sandbox: Any) -> Path:
    """One undisturbed pruning."""
    run = replace(sandbox, folder=world).here(*ARGUMENTS)
    assert run.returncode == 0, run.stderr
    assert "removed" in run.stdout
    return world / "pruned" / "base" / "1.0.0"


def rows_of(folder: Path, schema: Any) -> dict[str, dict[str, Any]]:
    tables = [read_table(path, schema) for path in sorted(folder.glob("*.parquet"))]
    return {row["id"]: row for row in pa.concat_tables(tables).to_pylist()}


def stored(folder: Path, pattern: str) -> np.ndarray:
    """Vectors as they are read: scaled to length 1."""
    if pattern.endswith("npy"):
        return unit(np.concatenate([np.load(path) for path in sorted(folder.glob(pattern))]))
    tables = [pq.read_table(path, columns=["embedding"]) for path in sorted(folder.glob(pattern))]
    return unit(np.array(pa.concat_tables(tables)["embedding"].to_pylist(), np.float32))


def test_kept_and_removed_are_brute_force(world: Path, pruned: Path) -> None:
    base, queries = stored(world / "base", "*.parquet"), stored(world / "queries", "*.parquet")
    reference = stored(world / "reference", "*.npy")
    thresholds = brute(queries, reference).max(axis=1)
    to_queries = brute(base, queries)
    excess = to_queries.astype(np.float64) - thresholds
    [centroids_file] = (world / "pruned" / ".work" / "centroids").glob("*/all.parquet")
    centroids = np.array(pq.read_table(centroids_file)["embedding"].to_pylist(), np.float32)
    to_centroids = brute(base, centroids)
    cluster = to_centroids.argmax(axis=1)
    duplicates: dict[int, tuple[int, float]] = {}
    for number in range(len(centroids)):
        members = np.flatnonzero(cluster == number)
        for one, (other, similarity) in oracle(base[members], to_centroids[members, number], LIMIT).items():
            duplicates[int(members[one])] = (int(members[other]), similarity)
    expected = {index: ("duplicate", f"image-{other}", value) for index, (other, value) in duplicates.items()}
    for index in np.flatnonzero((excess > 0).any(axis=1)):
        query = int(excess[index].argmax())
        expected.setdefault(int(index), ("near", f"q-{query:02d}", float(to_queries[index, query])))
    left = np.array([index for index in range(len(base)) if index not in expected])
    ids = np.array([f"image-{index}" for index in left])
    order = left[np.lexsort((ids, -to_queries[left].max(axis=1)))]
    for index in order[KEEP:]:
        query = int(to_queries[index].argmax())
        expected[int(index)] = ("far", f"q-{query:02d}", float(to_queries[index, query]))

    removed = rows_of(pruned / "removed", REMOVED)
    found = {
        int(key.removeprefix("image-")): (row["reason"], row["duplicate_of"] or row["query_id"], row["similarity"])
        for key, row in removed.items()
    }
    assert found == expected
    assert rows_of(pruned / "kept", KEPT).keys() == {f"image-{index}" for index in order[:KEEP]}
    reasons = [reason for reason, _, _ in expected.values()]
    assert reasons.count("duplicate") >= 40 and reasons.count("near") >= 100 and reasons.count("far") >= 100
    assert any(one // ROWS != other // ROWS for one, (other, _) in duplicates.items()), "none across shards"
    # What was planted is found for what it is; a query's own copy lies on no limit.
    assert found[300][0] == "near" or found[300][0] == "duplicate"
    assert sum(found[index][0] in ("near", "duplicate") for index in range(100, 140)) == 40
    counts = json.loads((pruned / "pruning.json").read_text())["counts"]
    assert counts == {"kept": KEEP} | {reason: reasons.count(reason) for reason in ("duplicate", "near", "far")}


def test_a_killed_pruning_resumes_to_the_same_bytes(world: Path, pruned: Path, sandbox: Any, tmp_path: Path) -> None:
    for name in ("base", "queries", "reference"):
        shutil.copytree(world / name, tmp_path / name)
    box = replace(sandbox, folder=tmp_path)
    work = tmp_path / "pruned" / ".work"
    for mark, pattern in (("assigning", "clusters/*/*.parquet"), ("pruning", "near/*/*.parquet")):
        run = subprocess.Popen(
            [sys.executable, "-m", "counterset.cli", *ARGUMENTS],
            cwd=tmp_path,
            env=box.environment | {MARK: mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_for(lambda pattern=pattern: any(work.glob(pattern)), 300), f"it never came to {mark}"  # type: ignore[misc]
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert wait_for(lambda mark=mark: is_gone(mark), 20), alive(mark)  # type: ignore[misc]
        assert not list((tmp_path / "pruned").glob("base/[0-9]*")), "it was finished before it was killed"
    again = box.counterset(*ARGUMENTS, "--runner", "processes")  # a runner changes no byte either
    assert again.returncode == 0, again.stderr
    assert "leaked" not in again.stderr  # as in tests/test_demo_build.py
    folder = tmp_path / "pruned" / "base" / "1.0.0"
    assert (folder / "SHA256SUMS").read_bytes() == (pruned / "SHA256SUMS").read_bytes()
    assert not list(work.glob("clusters/*/*")), "the sorted copy was left behind"


def test_names_of_folders_are_no_patterns(world: Path, pruned: Path, sandbox: Any) -> None:
    box = replace(sandbox, folder=world)
    arguments = (*ARGUMENTS, "--output", "o[1]")
    run = box.here(*arguments)
    assert run.returncode == 0, run.stderr
    home = world / "o[1]" / "base"
    assert (home / "1.0.0" / "SHA256SUMS").read_bytes() == (pruned / "SHA256SUMS").read_bytes()
    run = box.here(*arguments, "--keep", str(KEEP - 1))
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in home.glob("[0-9]*")) == ["1.0.0", "2.0.0"]
    (home / "2.0.0" / "pruning.json").write_text("{")
    run = box.here(*arguments, "--keep", "5")
    assert run.returncode == 2 and "is damaged" in run.stderr and "far" not in run.stderr, run.stderr


@pytest.mark.parametrize("output", ["file", "file/below", "base/00.parquet"])
def test_an_output_that_cannot_be_written_is_said_first(world: Path, sandbox: Any, output: str) -> None:
    (world / "file").touch()
    run = replace(sandbox, folder=world).here(*ARGUMENTS, "--output", output)
    assert run.returncode == 2 and "cannot be written" in run.stderr and run.stderr.count("\n") == 1, run.stderr


def test_ids_that_come_twice_are_said_first(tmp_path: Path, sandbox: Any) -> None:
    vectors = unit(np.random.default_rng(3).standard_normal((6, DIM)))
    for number in range(2):
        write_parquet(tmp_path / "base" / f"{number}.parquet", ["a", f"b{number}", f"c{number}"], vectors[:3])
    write_parquet(tmp_path / "queries" / "q.parquet", ["q"], vectors[5:])
    run = replace(sandbox, folder=tmp_path).here("prune", "--base", "base", "--queries", "queries", "--keep", "2")
    assert run.returncode == 2 and "has the id 'a' twice" in run.stderr, run.stderr
    assert not list(tmp_path.glob("pruned/.work/far/*"))


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release that brings the photos of its pairs with it; the others cannot be fetched."""
    inputs = build_inputs(num_classes=4, photos_per_class=90)
    config = build_config(with_images=True).model_copy(update={"releases": str(tmp_path_factory.mktemp("releases"))})
    return publish(with_tables(inputs, config=config)).path


def test_an_audit_embeds_photos_and_finds_the_planted_copies(bundled: Path, sandbox: Any, tmp_path: Path) -> None:
    release = load(bundled)
    box = replace(sandbox, folder=tmp_path)
    photo_ids = sorted(release.table("common")["photo_id"].to_pylist())[:40]
    planted = load_encoder("demo:annotator").encode_images([release.photo(name) for name in photo_ids], 64)
    other = unit(np.random.default_rng(0).standard_normal((500, planted.shape[1])))
    for number, (ids, vectors) in enumerate(((photo_ids, planted), ([f"other-{n}" for n in range(500)], other))):
        write_parquet(tmp_path / "laion" / f"{number}.parquet", ids, vectors, model="demo:annotator", id_column="uid")
    arguments = ("audit", str(bundled), "--against", "laion", "--threshold", "0.9999", "--name", "a")
    run = box.here(*arguments)
    assert run.returncode == 0, run.stderr
    folder = tmp_path / "audits" / "a" / "1.0.0"
    said = json.loads((folder / "audit.json").read_text())
    nearest = {row["photo_id"]: row for row in read_table(folder / "nearest.parquet", NEAREST).to_pylist()}
    in_pairs = release.table("common").num_rows + release.table("counter").num_rows
    assert len(nearest) == in_pairs and said["num_missing"] == release.all_photos.num_rows - in_pairs
    for name in photo_ids:
        assert nearest[name]["nearest_id"] == name and nearest[name]["is_near_duplicate"]
        assert nearest[name]["similarity"] > 0.9999
    bands = read_table(folder / "bands.parquet", BANDS).to_pylist()
    assert {row["model"] for row in bands} == set(release.predictions["model"].to_pylist())
    assert {"all", "matched", "1"} <= {row["band"] for row in bands}
    page = (folder / "audit.html").read_text()
    assert "http-equiv" in page and "<script" not in page and "data:image/jpeg" in page
    assert "secret description" not in page
    pairs = read_table(folder / "own_duplicates.parquet", OWN_DUPLICATES).to_pylist()
    assert all(row["photo_id"] < row["other_id"] and row["similarity"] > 0.9999 for row in pairs)

    grown = [f"new-{number}" for number in range(10)]
    write_parquet(tmp_path / "laion" / "2.parquet", grown, other[:10], model="demo:annotator", id_column="uid")
    more = box.here(*arguments)
    assert more.returncode == 0 and (folder.parent / "1.0.1").is_dir(), more.stdout + more.stderr
    assert f"{len(photo_ids) + 500} reused" in more.stderr, "shards that were searched before are searched again"
    again = box.here(*arguments)
    assert again.returncode == 0 and "nothing to do" in again.stdout


def test_what_an_audit_shows_is_escaped(bundled: Path) -> None:
    release = load(bundled)
    ids = sorted(release.table("common")["photo_id"].to_pylist())[:20]
    vectors = unit(np.random.default_rng(0).standard_normal((20, 8)))
    vectors[1] = vectors[0]
    names = ["<img src=x onerror=alert(1)>"] * 20
    found = audit_release(release, ids, vectors, names, np.full(20, 0.99, np.float32), threshold=0.95)
    metadata = {
        **{"release": "<b>r</b>", "base": "<script>", "model": "m", "search": "exact", "threshold": 0.95},
        **{"num_photos": 20, "num_base": 5, "num_missing": 0, "counterset_version": "0"},
    }
    page = render_audit(found, release, metadata, lambda photo_id: None)
    assert "<img src=x" not in page and "&lt;img src=x" in page and "<script>" not in page and "<b>r" not in page
    [pair] = found.own_duplicates.to_pylist()
    assert (pair["photo_id"], pair["other_id"]) == (ids[0], ids[1])
    halves = dict(zip(*(release.all_photos[name].to_pylist() for name in ("photo_id", "half")), strict=True))
    assert pair["is_across_halves"] == (halves[ids[0]] != halves[ids[1]])
