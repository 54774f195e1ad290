"""Files of embeddings for tests: random unit vectors, and each layout that is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32)
    return vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]


def brute(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N, M) similarities by the definition, one row at a time."""
    wide = right.astype(np.float64)
    return np.stack([(row.astype(np.float64) * wide).sum(axis=1) for row in left]).astype(np.float32)


def write_parquet(
    path: Path, ids: list[str], vectors: np.ndarray, model: str | None = "toy", id_column: str = "photo_id"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    columns = {id_column: ids, "embedding": pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])}
    table = pa.table(columns | ({"model": [model] * len(ids)} if model else {}))
    pq.write_table(table, path, row_group_size=100)


def write_npy(path: Path, ids: list[str], vectors: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)
    pq.write_table(pa.table({"id": ids}), path.with_suffix(".parquet"))


def write_clip_retrieval(folder: Path, shard: int, ids: list[str], vectors: np.ndarray) -> None:
    """The layout of clip-retrieval's inference: half precision, and the metadata in a folder beside."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    np.save(folder / "img_emb" / f"img_emb_{shard}.npy", vectors.astype(np.float16))
    np.save(folder / "text_emb" / f"text_emb_{shard}.npy", vectors.astype(np.float16))
    metadata = pa.table({"image_path": ids, "caption": ["a photo"] * len(ids)})
    pq.write_table(metadata, folder / "metadata" / f"metadata_{shard}.parquet")
