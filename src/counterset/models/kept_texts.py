"""Texts' features in a folder: each text is computed once under a model, whatever label space, templates or vocabulary
it comes from.

A file holds some texts and never changes, so several processes and machines can share a folder without a lock. Two that
miss the same text both compute it, to the same bits. A model whose bits depend on what is computed beside a text keeps
nothing here (`counterset.models.text_tower.are_independent`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.errors import SchemaError, WorkspaceError
from counterset.models.door import TextModel
from counterset.models.precision import Features
from counterset.models.schemas import kept_texts
from counterset.schemas import TableSchema
from counterset.storage import Place
from counterset.tables import feature_matrix, read_table, table_of, write_table
from counterset.workspace import digest

TEXTS_PER_FILE = 10_000
"""Computed between two files: what a killed build computes again at most."""

logger = logging.getLogger(__name__)
_lock = threading.Lock()
"""Of all threads one at a time computes and writes; it uses all processors."""


class KeptTexts:
    """A text encoder that looks into a folder first.

    Args:
        model: computes what is missing; its weights are not read if nothing is.
        folder: of this model's texts alone, to be named by its `texts_id`.
    """

    def __init__(self, model: TextModel, folder: Place) -> None:
        self._model, self._folder = model, folder

    @property
    def texts_are_independent(self) -> bool:
        """Whether a text has the same bits whichever texts it is encoded with: only of such models are texts here."""
        return bool(self._paths()) or bool(getattr(self._model, "texts_are_independent", False))

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length features, in order, as the model gives them.

        Raises:
            WorkspaceError: the folder cannot be written.
        """
        different = pa.array(sorted(set(texts)), pa.string())
        with _lock:
            features, is_kept = self._read(different)
            missing = different.filter(pa.array(~is_kept)).to_pylist()
            if missing and not self.texts_are_independent:
                return self._model.encode_texts(texts)
            for start in range(0, len(missing), TEXTS_PER_FILE):
                chunk = missing[start : start + TEXTS_PER_FILE]
                computed = self._model.encode_texts(chunk)
                self._write(chunk, computed)
                features[np.flatnonzero(~is_kept)[start : start + len(chunk)]] = computed
        rows = pc.index_in(pa.array(texts, pa.string()), different)
        return np.asarray(features[rows.to_numpy()], np.float32)

    def _read(self, different: pa.Array) -> tuple[Features, np.ndarray]:
        """(U, D) features of the texts that are kept, and (U,) which are; a damaged file is as if it were not there."""
        schema = self._schema
        features = np.zeros((len(different), self._model.embedding_dim), np.float32)
        is_kept = np.zeros(len(different), np.bool_)
        for path in self._paths():
            try:
                known = read_table(path, schema, ["text"])["text"].combine_chunks()
                rows = pc.fill_null(pc.index_in(different, known), -1).to_numpy()
                wanted = np.flatnonzero((rows >= 0) & ~is_kept)
                if len(wanted):
                    features[wanted] = feature_matrix(read_table(path, schema, ["embedding"]))[rows[wanted]]
                    is_kept[wanted] = True
            except (SchemaError, WorkspaceError) as error:
                logger.warning("%s; its texts are computed again", error)
        return features, is_kept

    def _paths(self) -> list[Place]:
        return sorted(self._folder.glob("*.parquet"), key=str)

    def _write(self, texts: list[str], features: Features) -> None:
        # (N, D) -> N lists of D
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
        table = table_of(self._schema, {"text": texts, "embedding": column})
        write_table(table, self._schema, self._folder / f"{digest(texts)}.parquet")

    @property
    def _schema(self) -> TableSchema:
        return kept_texts(self._model.embedding_dim)
