"""The audit flow: how near a release is to a training set.

    photos -> embeddings -> [nearest] by shard of the base -> tables and page -> <output>/<name>/<version>

Only missing shards become tasks, so a killed audit resumes, and one against a base that has
grown does what is new.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from counterset.errors import ReleaseError
from counterset.load import Release
from counterset.release.checksums import SUMS
from counterset.similarity.approximate import search_ivfpq
from counterset.similarity.audit import NEAR_DUPLICATE, NUM_BANDS, Audit, audit_release
from counterset.similarity.embedding_sets import EmbeddingSet
from counterset.similarity.report import render_audit
from counterset.similarity.results import Folder, publish_folder
from counterset.similarity.schemas import BANDS, BASE_SHARDS, GROUPS, NEAREST, OWN_DUPLICATES
from counterset.steps import similarity_steps
from counterset.steps.progress import Progress
from counterset.steps.pruning_steps import shards_table
from counterset.steps.similarity_steps import Queries, locked, only, read_queries
from counterset.tables import TableRef, sha256_of, write_bytes, write_table
from counterset.version import __version__
from counterset_flows.pool import Pool, started
from counterset_flows.similarity_tasks import Source, find_nearest, gather_queries


@dataclass(frozen=True)
class AuditOptions:
    """How an audit is made.

    Attributes:
        threshold: similarity above which two images are near duplicates.
        bands: bands of similarity.
        index: exact, or ivfpq (approximate, re-ranked exactly, recall stated).
        seed: of the bootstrap, and of the index's samples.
    """

    threshold: float = NEAR_DUPLICATE
    bands: int = NUM_BANDS
    index: str = "exact"
    seed: int = 0


@flow(name="counterset-audit", validate_parameters=False)
def audit(
    source: Source,
    base: EmbeddingSet,
    output: Path,
    name: str,
    options: AuditOptions,
    runner: str = "threads",
    progress: Progress | None = None,
) -> Folder:
    """Audit one release against a base.

    Args:
        source: the release, with or without embeddings.
        base: the training set.
        output: results lie in `<output>/<name>/<version>`, unfinished work in `<output>/.work`.
        name: of the audit.
        options: how.
        runner: one of `counterset.runners.RUNNERS`.
        progress: told what is done; None = nobody looks.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    assert source.release is not None
    work = output / ".work"
    with locked(work), started(runner, progress) as pool:
        asked = gather_queries(pool, work, [source], base, None)
        queries = read_queries(asked.path, base.embedding_dim)
        nearest_ids, similarity, search = _nearest(pool, work, base, asked, queries, options)
        found = audit_release(
            source.release,
            queries.ids,
            queries.vectors,
            nearest_ids,
            similarity,
            threshold=options.threshold,
            num_bands=options.bands,
            seed=options.seed,
        )
        return _publish(work, source.release, base, asked, found, options, search, output / name)


def _nearest(
    pool: Pool, work: Path, base: EmbeddingSet, asked: TableRef, queries: Queries, options: AuditOptions
) -> tuple[list[str], Any, dict[str, Any]]:
    if options.index == "exact":
        return (*find_nearest(pool, work, base, "base", asked), {"kind": "exact"})
    pool.progress.begin("index", 1)
    found = search_ivfpq(base, queries.vectors, seed=options.seed)
    ids: list[str] = [""] * len(queries.ids)
    position, offset = found.nearest.position[:, 0], 0
    for shard in base.shards:
        similarity_steps.describe_shard(work, only(base, shard), "base")
        own = base.ids(shard)
        for index in ((position >= offset) & (position < offset + len(own))).nonzero()[0]:
            ids[index] = own[int(position[index]) - offset].as_py()
        offset += len(own)
    pool.progress.advance("index", 1)
    search = {"kind": "ivfpq", "recall": found.recall, "recall_sample": found.num_sampled}
    return ids, found.nearest.similarity[:, 0], search


def _publish(
    work: Path,
    release: Release,
    base: EmbeddingSet,
    asked: TableRef,
    found: Audit,
    options: AuditOptions,
    search: dict[str, Any],
    home: Path,
) -> Folder:
    said = "every vector compared, exact"
    if search["kind"] != "exact":
        said = (
            f"by an IVF-PQ index, re-ranked exactly; recall {search['recall']:.1%} of {search['recall_sample']} queries"
        )
    metadata = {
        "release": f"{release.name} {release.version}",
        "release_sha256sums": sha256_of(release.path / SUMS),
        "base": base.path.name,
        "model": base.model,
        "num_photos": found.nearest.num_rows,
        "num_missing": found.num_missing,
        "num_unpredicted": dict(found.num_unpredicted),
        "num_base": base.num_rows,
        "num_near_duplicates": sum(found.nearest["is_near_duplicate"].to_pylist()),
        "num_own_duplicates": found.own_duplicates.num_rows,
        "num_across_halves": sum(found.own_duplicates["is_across_halves"].to_pylist()),
        "queries_sha256": asked.sha256,
        "is_normalised_here": base.is_normalised_here,
        "options": asdict(options),
        "threshold": options.threshold,
        "search": said,
        "search_details": search,
        "counterset_version": __version__,
    }

    def photo_bytes(photo_id: str) -> bytes | None:
        try:
            return release.photo(photo_id)
        except ReleaseError:
            return None

    def write(folder: Path) -> None:
        write_table(found.nearest, NEAREST, folder / "nearest.parquet")
        write_table(found.groups, GROUPS, folder / "groups.parquet")
        write_table(found.bands, BANDS, folder / "bands.parquet")
        write_table(found.own_duplicates, OWN_DUPLICATES, folder / "own_duplicates.parquet")
        write_table(shards_table(work, [("base", base)]), BASE_SHARDS, folder / "base_shards.parquet")
        write_bytes(
            render_audit(found, release, metadata, photo_bytes).encode("utf-8", "replace"), folder / "audit.html"
        )

    return publish_folder(
        home, "audit", metadata, write, rows="nearest.parquet", columns="photo_id, nearest_id, similarity"
    )
