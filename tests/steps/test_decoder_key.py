"""What is made from pixels is made anew when the reading of a file changes; what was downloaded stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from counterset.config import parse_config
from counterset.evaluation.evaluate import _Run
from counterset.evaluation.vectors import VectorStore
from counterset.models.door import open_model
from counterset.steps import keys as context
from counterset.steps.keys import Build

from ..flows.small_build import SMALL_BUILD


def test_another_reading_of_files_makes_photos_and_features_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tomllib.loads('name = "small"\n' + SMALL_BUILD.format(url="http://127.0.0.1:9"))
    config = parse_config(raw, tmp_path)
    before = Build(config)
    again = Build(config)
    monkeypatch.setattr(context, "DECODER_VERSION", context.DECODER_VERSION + 1)
    after = Build(config)
    model = config.models.annotator
    assert (before.photos_key, before.embed_key(model)) == (again.photos_key, again.embed_key(model))
    assert before.photos_key != after.photos_key
    assert before.embed_key(model) != after.embed_key(model)
    assert before.pool_key == after.pool_key


def test_an_evaluation_keeps_vectors_of_another_reading_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def store() -> VectorStore:
        run = object.__new__(_Run)
        run.output, run.shard_size = tmp_path, 20
        return run._store(open_model("demo:selector"))

    first = store().folder
    assert first.parts[-1] == "photos"
    monkeypatch.setattr("counterset.evaluation.evaluate.DECODER_VERSION", 99)
    assert store().folder != first
