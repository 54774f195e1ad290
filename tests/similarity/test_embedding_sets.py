"""Reading sets of embeddings: every layout gives the same vectors; what does not fit is refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.cli import main
from counterset.errors import EmbeddingsError
from counterset.similarity.embedding_sets import check_same, open_embeddings, read_all

from .shard_files import unit, write_clip_retrieval, write_npy, write_parquet

VECTORS = unit(np.random.default_rng(0).standard_normal((250, 16)))
IDS = [f"id-{index:03d}" for index in range(250)]
CUTS = ((0, 100), (100, 101), (101, 250))


def write_list_column(folder: Path) -> None:
    table = pa.table({"key": IDS, "vector": pa.array(VECTORS.astype(np.float64).tolist(), pa.list_(pa.float64()))})
    pq.write_table(table.replace_schema_metadata({"model": "toy"}), folder / "all.parquet")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "parquet": lambda folder: [write_parquet(folder / f"{a}.parquet", IDS[a:b], VECTORS[a:b]) for a, b in CUTS],  # type: ignore[dict-item,return-value]
    "npy": lambda folder: [write_npy(folder / f"{a:03d}.npy", IDS[a:b], VECTORS[a:b]) for a, b in CUTS],  # type: ignore[dict-item,return-value]
    "clip-retrieval": lambda folder: [  # type: ignore[dict-item,return-value]
        write_clip_retrieval(folder, number, IDS[a:b], VECTORS[a:b]) for number, (a, b) in enumerate(CUTS)
    ],
    "list column": write_list_column,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_ids_and_unit_vectors(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    model = None if layout in ("parquet", "list column") else "toy"
    found = open_embeddings(tmp_path, model)
    assert (found.model, found.embedding_dim, found.num_rows) == ("toy", 16, 250)
    ids, vectors = read_all(found)
    assert ids == IDS
    np.testing.assert_allclose(vectors, VECTORS, atol=5e-4 if layout == "clip-retrieval" else 1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    tiles = [tile for shard in found.shards for tile in found.tiles(shard, rows=7)]
    assert sum(map(len, tiles)) == 250 and max(map(len, tiles)) == 7


def test_an_empty_shard_among_others_is_no_matter(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", IDS, VECTORS)
    columns = {"photo_id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns | {"model": pa.array([], pa.string())}), tmp_path / "b.parquet")
    found = open_embeddings(tmp_path)
    assert [shard.num_rows for shard in found.shards] == [250, 0]
    assert len(found.ids(found.shards[1])) == 0 and list(found.tiles(found.shards[1])) == []
    assert read_all(found)[0] == IDS


def test_normalise_accepts_any_length(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", IDS, VECTORS * np.arange(1, 251)[:, None].astype(np.float32))
    _, vectors = read_all(open_embeddings(tmp_path, normalise=True))
    np.testing.assert_allclose(vectors, VECTORS, atol=1e-6)


def longer(folder: Path) -> None:
    write_parquet(folder / "a.parquet", IDS, VECTORS * 3)


def one_longer_later(folder: Path) -> None:
    vectors = VECTORS.copy()
    vectors[200] *= 1.01
    write_parquet(folder / "a.parquet", IDS, vectors)


def not_a_number(folder: Path) -> None:
    vectors = VECTORS.copy()
    vectors[3, 3] = np.nan
    write_parquet(folder / "a.parquet", IDS, vectors)


def two_models(folder: Path) -> None:
    write_parquet(folder / "a.parquet", IDS[:9], VECTORS[:9])
    write_parquet(folder / "b.parquet", IDS[9:], VECTORS[9:], model="other")


def two_dimensions(folder: Path) -> None:
    write_parquet(folder / "a.parquet", IDS[:9], VECTORS[:9])
    write_parquet(folder / "b.parquet", IDS[9:], unit(VECTORS[9:, :8]))


def no_model(folder: Path) -> None:
    write_parquet(folder / "a.parquet", IDS, VECTORS, model=None)


def no_ids(folder: Path) -> None:
    np.save(folder / "a.npy", VECTORS)


def too_few_ids(folder: Path) -> None:
    write_npy(folder / "a.npy", IDS[:-1], VECTORS)


def pickled(folder: Path) -> None:
    np.save(folder / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    pq.write_table(pa.table({"id": ["a"]}), folder / "a.parquet")


def twice(folder: Path) -> None:
    write_parquet(folder / "a.parquet", ["same", "same"], VECTORS[:2])


def damaged(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"PAR1 and no more")


def empty(folder: Path) -> None:
    write_npy(folder / "a.npy", [], VECTORS[:0])


def null_vector(folder: Path) -> None:
    values = [VECTORS[0].tolist(), None]
    pq.write_table(
        pa.table({"id": ["a", "b"], "embedding": pa.array(values, pa.list_(pa.float32())), "model": ["toy"] * 2}),
        folder / "a.parquet",
    )


@pytest.mark.parametrize(
    ("make", "model", "sentence"),
    [
        (longer, None, "row 0 .* has length 3, not 1; normalise the vectors, or pass --normalise"),
        (one_longer_later, None, "row 200 .* has length 1.01, not 1; normalise"),
        (not_a_number, None, "row 3 .* has length nan, not 1; normalise"),
        (two_models, None, "is of the model 'toy' and .* of 'other'; give shards of one model"),
        (two_dimensions, None, "has 16 dimensions and .* has 8; give shards of one model"),
        (no_model, None, "does not say which model made it; state it with --model"),
        (write_list_column, "another", "is of the model 'toy', not 'another'; compare embeddings of one model"),
        (no_ids, "toy", "has no ids: neither"),
        (too_few_ids, "toy", "has 249 ids for 250 vectors; give each one an id"),
        (pickled, "toy", "cannot be read .*; write plain float arrays"),
        (twice, None, "has the id 'same' twice; keep one row of it"),
        (damaged, None, "cannot be read .*; write it again"),
        (empty, "toy", "holds no vectors; give the embeddings of at least one image"),
        (null_vector, None, "has rows without a vector; remove them"),
        (lambda folder: None, None, "holds no .npy or .parquet files; give the embeddings' folder"),
    ],
)
def test_what_does_not_fit_is_refused(
    make: Callable[[Path], None], model: str | None, sentence: str, tmp_path: Path
) -> None:
    make(tmp_path)
    with pytest.raises(EmbeddingsError, match=sentence) as caught:
        read_all(open_embeddings(tmp_path, model))
    assert "\n" not in str(caught.value)


def test_a_shard_is_known_by_its_content(tmp_path: Path) -> None:
    """Names, sizes and times are those of another set in reproducible archives and layers of containers."""
    for name, vectors in (("base", VECTORS), ("reference", VECTORS[::-1]), ("copy", VECTORS)):
        (tmp_path / name).mkdir()
        write_npy(tmp_path / name / "a.npy", IDS, vectors)
        for path in (tmp_path / name).iterdir():
            os.utime(path, (0, 0))
    base, reference, copy = (
        open_embeddings(tmp_path / name, "toy").shards[0].identity for name in ("base", "reference", "copy")
    )
    assert base == copy != reference
    write_npy(tmp_path / "copy" / "a.npy", [*IDS[:-1], "zzz"], VECTORS)
    assert open_embeddings(tmp_path / "copy", "toy").shards[0].identity != base, "ids are content too"


def test_two_sets_of_different_models_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", IDS, VECTORS)
    write_parquet(tmp_path / "b.parquet", IDS, VECTORS, model="other")
    write_parquet(tmp_path / "c.parquet", IDS, unit(VECTORS[:, :8]))
    base, other, narrow = (open_embeddings(tmp_path / f"{name}.parquet") for name in "abc")
    with pytest.raises(EmbeddingsError, match=r"of the model 'toy' and .* 'other'; embed both with one model"):
        check_same(base, other)
    with pytest.raises(EmbeddingsError, match=r"has 16 dimensions and .* has 8; embed both with one model"):
        check_same(base, narrow)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("audit", "counterset-demo", "--against", "long"), "has length 3, not 1"),
        (("audit", "counterset-demo", "--against", "base", "--queries", "other"), "embed both with one model"),
        (("audit", "counterset-demo", "--against", "base", "--queries", "narrow"), "embed both with one model"),
        (("audit", "counterset-demo", "--against", "base", "--threshold", "2"), "give a number between 0 and 1"),
        (("audit", "counterset-demo", "--against", "base", "--bands", "0"), "give a number from 1 to 100"),
        (("audit", "counterset-demo", "--against", "nowhere"), "is no folder, .npy or .parquet file"),
        (("audit", "no-such-release", "--against", "base"), "no-such-release"),
        (("prune", "--base", "base", "--queries", "base"), "give --reference, --keep or --max-similarity"),
        (("prune", "--base", "base", "--queries", "other", "--keep", "3"), "embed both with one model"),
        (("prune", "--base", "base", "--queries", "base", "--reference", "narrow"), "embed both with one model"),
        (("prune", "--base", "base", "--queries", "base", "--reference", "other"), "embed both with one model"),
        (("prune", "--base", "base", "--queries", "base", "--keep", "0"), "give at least 1"),
        (("prune", "--base", "base", "--queries", "base", "--keep", "1", "--model", "x"), "not 'x'"),
    ],
)
def test_the_command_line_refuses_in_one_sentence(
    arguments: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(Path("base/a.parquet"), IDS, VECTORS)
    write_parquet(Path("other/a.parquet"), IDS, VECTORS, model="other")
    write_parquet(Path("narrow/a.parquet"), IDS, unit(VECTORS[:, :8]))
    write_parquet(Path("long/a.parquet"), IDS, VECTORS * 3)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and said.startswith("counterset: ")
    assert not Path("audits").exists() and not Path("pruned").exists()
