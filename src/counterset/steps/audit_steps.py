"""The last steps of an audit: the search by an index, and the published folder. No Prefect here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from counterset.errors import ReleaseError
from counterset.load import Release
from counterset.release.checksums import SUMS
from counterset.similarity.approximate import search_ivfpq
from counterset.similarity.audit import NEAR_DUPLICATE, NUM_BANDS, audit_release
from counterset.similarity.embedding_sets import EmbeddingSet
from counterset.similarity.report import render_audit
from counterset.similarity.results import Folder, publish_folder
from counterset.similarity.schemas import BANDS, BASE_SHARDS, GROUPS, NEAREST, OWN_DUPLICATES
from counterset.steps.pruning_steps import shards_table
from counterset.steps.similarity_steps import Queries, Source, describe_shard, merge_nearest, only, read_queries
from counterset.storage import Place
from counterset.tables import TableRef, sha256_of, write_bytes, write_table
from counterset.version import __version__


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


class Nearest(NamedTuple):
    """Each of Q queries with its nearest vector of the base.

    Attributes:
        ids: (Q,) of the vectors.
        similarity: (Q,) to them.
        search: how they were searched for.
    """

    ids: list[str]
    similarity: Any
    search: dict[str, Any]


def nearest_by_index(work: Place, base: EmbeddingSet, queries: Queries, options: AuditOptions) -> Nearest:
    """By an IVF-PQ index over the base, re-ranked exactly."""
    searched = search_ivfpq(base, queries.vectors, seed=options.seed)
    ids: list[str] = [""] * len(queries.ids)
    position, offset = searched.nearest.position[:, 0], 0
    for shard in base.shards:
        describe_shard(work, only(base, shard), "base")
        own = base.ids(shard)
        for index in ((position >= offset) & (position < offset + len(own))).nonzero()[0]:
            ids[index] = own[int(position[index]) - offset].as_py()
        offset += len(own)
    search = {"kind": "ivfpq", "recall": searched.recall, "recall_sample": searched.num_sampled}
    return Nearest(ids, searched.nearest.similarity[:, 0], search)


def finish_audit(
    work: Place, source: Source, base: EmbeddingSet, asked: TableRef, options: AuditOptions, home: Place
) -> Folder:
    """The audit's tables and page, as a versioned folder below `home`; `asked` are the queries of the release."""
    assert source.release is not None
    queries = read_queries(asked.path, base.embedding_dim)
    if options.index == "exact":
        nearest = Nearest(*merge_nearest(work, base, asked), {"kind": "exact"})
    else:
        nearest = nearest_by_index(work, base, queries, options)
    return publish_audit(work, source.release, base, asked, queries, nearest, options, home)


def publish_audit(
    work: Place,
    release: Release,
    base: EmbeddingSet,
    asked: TableRef,
    queries: Queries,
    nearest: Nearest,
    options: AuditOptions,
    home: Place,
) -> Folder:
    """The audit's tables and page, as a versioned folder below `home`."""
    audit = audit_release(
        release,
        queries.ids,
        queries.vectors,
        nearest.ids,
        nearest.similarity,
        threshold=options.threshold,
        num_bands=options.bands,
        seed=options.seed,
    )
    search = nearest.search
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
        "num_photos": audit.nearest.num_rows,
        "num_missing": audit.num_missing,
        "num_unpredicted": dict(audit.num_unpredicted),
        "num_base": base.num_rows,
        "num_near_duplicates": sum(audit.nearest["is_near_duplicate"].to_pylist()),
        "num_own_duplicates": audit.own_duplicates.num_rows,
        "num_across_halves": sum(audit.own_duplicates["is_across_halves"].to_pylist()),
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
        write_table(audit.nearest, NEAREST, folder / "nearest.parquet")
        write_table(audit.groups, GROUPS, folder / "groups.parquet")
        write_table(audit.bands, BANDS, folder / "bands.parquet")
        write_table(audit.own_duplicates, OWN_DUPLICATES, folder / "own_duplicates.parquet")
        write_table(shards_table(work, [("base", base)]), BASE_SHARDS, folder / "base_shards.parquet")
        write_bytes(
            render_audit(audit, release, metadata, photo_bytes).encode("utf-8", "replace"), folder / "audit.html"
        )

    return publish_folder(
        home, "audit", metadata, write, rows="nearest.parquet", columns="photo_id, nearest_id, similarity"
    )
