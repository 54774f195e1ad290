"""The table that models keep."""

from __future__ import annotations

import pyarrow as pa

from counterset.schemas import FLOAT32, STRING, Column, TableSchema


def kept_texts(embedding_dim: int) -> TableSchema:
    """The texts that were encoded under a model with `embedding_dim` dimensions."""
    return TableSchema(
        "kept_texts",
        "one text under one model",
        ("text",),
        (
            Column("text", STRING, "a prompt, as the model is given it"),
            Column("embedding", pa.list_(FLOAT32, embedding_dim), "its unit-length features"),
        ),
    )
