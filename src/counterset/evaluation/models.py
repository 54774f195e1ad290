"""What an evaluation keeps of a model: the folder of its vectors, and its labels' vectors in there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from counterset.evaluation.vectors import Floats32, VectorStore
from counterset.models.door import Model, identity, open_model, reads_texts
from counterset.models.labels import LabelSpace
from counterset.models.prompts import label_rows, mean_text_features, prompts
from counterset.workspace import digest

PROMPTS_PER_SHARD = 2_560
"""Texts that are encoded between two files."""


def full_name(name: str) -> str:
    """The name that a model has in tables: a folder is an open_clip model in it."""
    return f"local-dir:{name}" if Path(name).is_dir() and ":" not in name else name


def opened(name: str) -> Model:
    """The model of a name, or of the folder that it names; its weights are on this machine afterwards.

    Raises:
        ModelError: no such model, or its weights could not be fetched or do not fit.
    """
    model: Model = open_model(full_name(name))
    folder_of(model)
    return model


def folder_of(model: Model) -> str:
    """The name of the folder of its vectors: another model, other weights, another folder."""
    name, vectors = model.name, identity(model)
    if reads_texts(model):
        vectors = digest(vectors, model.texts_id)
    if name.startswith("local-dir:"):
        name = f"local-{Path(name).name}"
    elif "@" in name or "local-dir:" in name:
        name = f"{name.partition('@')[0].partition('local-dir:')[0]}-{Path(name).name}"
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")
    return f"{readable}-{digest(readable, vectors)[:12]}"


def kept_label_rows(model: Model, space: LabelSpace, templates: str, folder: Path) -> Floats32:
    """(C, D) rows, one per label: a photo's score for a label is the product of their vectors.

    The means of the text features of each label's prompts are kept in `folder`.
    """
    if not reads_texts(model):
        return label_rows(model, space, templates)
    sets = {_key(prompts(templates, label)): prompts(templates, label) for label in space.labels}
    size = max(1, PROMPTS_PER_SHARD // max(len(texts) for texts in sets.values()))
    store = VectorStore(folder, size)
    store.fill(sets, lambda keys: mean_text_features(model, [sets[key] for key in keys]))
    return store.read([_key(prompts(templates, label)) for label in space.labels])


def _key(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
