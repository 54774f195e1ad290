"""Audits and prunings whose embeddings, work and results are on S3 give the bytes that folders give."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counterset_flows import audit, prune
from counterset_flows.pool import Pool, limits_of
from counterset_flows.similarity_tasks import Run

from counterset.errors import EmbeddingsError, ReleaseError
from counterset.load import load
from counterset.release.publish.writer import publish
from counterset.similarity import embedding_sets
from counterset.similarity.embedding_sets import open_embeddings, read_all
from counterset.similarity.results import Folder, check_home
from counterset.steps.audit_steps import AuditOptions
from counterset.steps.pruning_steps import PruneOptions
from counterset.steps.similarity_steps import Source
from counterset.steps.stored_vectors import is_workspace
from counterset.storage import ObjectPath, Place, files_below, name_below, place
from counterset.tables import sha256_of

from ..release.build_inputs import build_config, build_inputs, with_tables
from ..s3_server import BUCKET, s3_server
from ..similarity.shard_files import unit, write_clip_retrieval, write_npy, write_parquet

DIM, ROWS = 16, 200


class Here(Pool):
    """Does what it is given at once, without Prefect."""

    def submit(self, task: Any, stage: str, **parameters: Any) -> Any:
        return task.fn(**parameters)

    def outcome(self, future: Any) -> Any:
        return future

    def run(self, task: Any, calls: Any) -> Iterator[Any]:
        return (task.fn(**parameters) for parameters in calls)


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectPath]:
    with s3_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        bucket = place(f"s3://{BUCKET}/near")
        assert isinstance(bucket, ObjectPath)
        yield bucket


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that `Run.whole` was given, in order."""
    steps: list[str] = []
    pool = Here(None, limits_of(1, 1), 1)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def on_demand(runner: str, progress: Any) -> Iterator[Callable[[], Pool]]:
        yield lambda: pool

    def whole(run: Run, step: Any, **parameters: Any) -> Any:
        steps.append(step.name)
        return step.fn(**parameters)

    for module in (audit, prune):
        monkeypatch.setattr(module, "on_demand", on_demand)
    monkeypatch.setattr(Run, "whole", whole)
    return steps


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory, s3: ObjectPath) -> tuple[Path, ObjectPath]:
    """Embeddings in every layout, in a folder and the same below an address."""
    folder = tmp_path_factory.mktemp("sets")
    generator = np.random.default_rng(0)
    vectors = unit(generator.standard_normal((3 * ROWS, DIM)))
    vectors[ROWS : ROWS + 20] = unit(vectors[:20] + 0.02)  # in another shard
    queries = unit(vectors[50:90] + 0.01 * generator.standard_normal((40, DIM)))
    reference = unit(generator.standard_normal((100, DIM)))
    for number in range(3):
        ids = [f"image-{number * ROWS + row}" for row in range(ROWS)]
        write_npy(folder / "base" / f"{number}.npy", ids, vectors[number * ROWS :][:ROWS])
    write_clip_retrieval(folder / "reference", 0, [f"r-{row}" for row in range(100)], reference)
    write_parquet(folder / "queries" / "q.parquet", [f"q-{row:02d}" for row in range(40)], queries)
    for path in files_below(folder):
        assert isinstance(path, Path)
        (s3 / "sets" / name_below(folder, path)).upload(path)
    return folder, s3 / "sets"


def pruned(folder: Place, output: Place) -> Folder:
    base = open_embeddings(folder / "base", "toy")
    reference = open_embeddings(folder / "reference", "toy", normalise=True)
    options = PruneOptions(keep=400, max_similarity=0.98, clusters=12)
    return prune.prune.fn(base, [Source(None, folder / "queries")], reference, output, "p", options)


def everything(folder: Place) -> dict[str, bytes]:
    return {name_below(folder, path): path.read_bytes() for path in files_below(folder)}


@pytest.mark.parametrize("name", ["base", "reference", "queries"])
def test_every_layout_is_read_alike(sets: tuple[Path, ObjectPath], name: str) -> None:
    local, remote = (open_embeddings(folder / name, "toy", normalise=True) for folder in sets)
    for here, there in zip(local.shards, remote.shards, strict=True):
        assert here.identity == there.identity
    (ids, vectors), (other_ids, others) = read_all(local), read_all(remote)
    assert ids == other_ids and np.array_equal(vectors, others)
    assert str(remote.shards[0].vectors).startswith("s3://")


def test_a_pruning_on_s3_has_the_same_bytes(
    sets: tuple[Path, ObjectPath],
    s3: ObjectPath,
    ran: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUNTERSET_CACHE", str(tmp_path / "cache"))
    local, remote = pruned(sets[0], tmp_path / "out"), pruned(sets[1], s3 / "out")
    assert ran == ["check ids", "queries", "limits", "publish pruning"] * 2, "none of them needs this machine"
    assert local.is_new and remote.is_new and remote.path == s3 / "out" / "p" / "1.0.0"
    assert everything(remote.path) == everything(local.path)
    assert b'"duplicate": 20' in everything(local.path)["pruning.json"]
    assert not list((s3 / "out" / ".work" / "clusters").walk()), "the sorted copy was left behind"
    assert not (s3 / "out" / ".work" / ".lease").exists()
    read: list[Any] = []
    monkeypatch.setattr(embedding_sets, "sha256_of", lambda path: read.append(path) or sha256_of(path))
    again = pruned(sets[1], s3 / "out")
    assert [path.name for path in read] == ["q.parquet"], "what is compared with is digested once, however large"
    assert not again.is_new and again.path == remote.path
    check_home(s3 / "out" / "p", "pruning")
    kept = next(path for path in files_below(remote.path) if "kept" in str(path))
    kept.write_bytes(b"PAR1")
    with pytest.raises(ReleaseError, match=r"the last result s3://.*1\.0\.0 is damaged"):
        check_home(s3 / "out" / "p", "pruning")


def test_an_audit_on_s3_has_the_same_bytes(s3: ObjectPath, ran: list[str], tmp_path: Path) -> None:
    config = build_config().model_copy(update={"releases": str(tmp_path / "releases")})
    released = publish(with_tables(build_inputs(num_classes=2, photos_per_class=60), config=config)).path
    release = load(released)
    ids = sorted(release.all_photos["photo_id"].to_pylist())
    vectors = unit(np.random.default_rng(1).standard_normal((len(ids) + 50, DIM)))
    write_parquet(tmp_path / "own" / "0.parquet", ids, vectors[50:])
    write_parquet(tmp_path / "base" / "0.parquet", [f"b-{row}" for row in range(50)], vectors[:50])
    for name in ("own", "base"):
        (s3 / "audit" / name / "0.parquet").upload(tmp_path / name / "0.parquet")

    def audited(folder: Place) -> Folder:
        base = open_embeddings(folder / "base", "toy")
        return audit.audit.fn(Source(release, folder / "own"), base, folder / "out", "a", AuditOptions())

    local, remote = audited(tmp_path), audited(s3 / "audit")
    assert ran == ["queries", "publish audit"] * 2
    assert everything(remote.path) == everything(local.path) and "audit.html" in everything(local.path)


def test_what_is_not_there_is_said_in_one_sentence(s3: ObjectPath) -> None:
    with pytest.raises(EmbeddingsError, match=r"s3://.*/nothing is no folder"):
        open_embeddings(s3 / "nothing")
    (s3 / "odd" / "0.npy").write_bytes(b"no array")
    (s3 / "odd" / "0.parquet").write_bytes(b"PAR1")
    with pytest.raises(EmbeddingsError, match="cannot be read"):
        open_embeddings(s3 / "odd", "toy")
    assert not is_workspace(s3 / "odd")
