"""A build reads each model's weights once, whichever of its steps ask for it, and holds no more than it says."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from counterset.config import parse_config
from counterset.errors import UserError
from counterset.load import load
from counterset.models import held, open_clip_encoder, timm_classifier
from counterset.models.door import open_model
from counterset.models.open_clip_encoder import DEMO_WEIGHTS
from counterset.steps.keys import Build

from ..conftest import Sandbox
from .small_build import SMALL_SETTINGS

CONFIG = """
name = "models"
workspace = "workspace"
releases = "releases"
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
kind = "folder"
path = "photos"
[download]
shard_size = 8
""" + SMALL_SETTINGS.replace("[annotate]", 'evaluators = ["demo:medium", "demo:plain"]\n[annotate]')


def test_each_model_is_read_once(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0)
    for class_id in ("ice_bear", "lion"):
        folder = tmp_path / "photos" / class_id
        folder.mkdir(parents=True)
        for number in range(12):
            Image.fromarray(pixels.integers(0, 255, (120, 120, 3), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "my.toml").write_text(CONFIG)
    read: list[str] = []
    most = 0

    def counted(create: Callable[[str], Any], name: str) -> Any:
        nonlocal most
        read.append(name)
        most = max(most, held.num_held())
        return create(name)

    for module, function in ((open_clip_encoder, "_create"), (timm_classifier, "_timm")):
        monkeypatch.setattr(module, function, functools.partial(counted, getattr(module, function)))
    held.let_go()
    run = replace(sandbox, folder=tmp_path).here("build", "my.toml")
    assert run.returncode == 0, run.stderr
    assert sorted(read) == ["demo:annotator", "demo:medium", "demo:selector", f"local-dir:{DEMO_WEIGHTS / 'plain'}"]
    assert most == 4
    release = load(tmp_path / "releases" / "models" / "1.0.0")
    made = {model["name"]: model for model in release.metadata["models"]}
    assert made["demo:plain"]["family"] == "classifier" and made["demo:medium"]["family"] == "CLIP"
    assert made["demo:plain"]["weights_sha256"] == open_model("demo:plain").weights_sha256
    predictions = pq.read_table(release.path / "predictions.parquet")
    assert pc.value_counts(predictions["model"]).to_pylist() == [
        {"values": name, "counts": 24} for name in ("demo:medium", "demo:plain", "demo:selector")
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"demo:annotator"', '"timm:resnet50"', "'timm:resnet50' knows fixed classes only and can be an evaluator"),
        ('["demo:selector"]', '["torchvision:alexnet"]', "'torchvision:alexnet' knows fixed classes only and can"),
        ('label_space = "classes"', 'label_space = "labels.txt"', "the label 'yak' of the label space"),
        ('"demo:medium"', '"tim:resnet50"', "no kind of model begins with 'tim' as 'tim:resnet50' does"),
    ],
)
def test_what_a_model_cannot_do_is_said_before_anything_is_fetched(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("ice bear\nlion\nyak\n")
    assert old in CONFIG
    with pytest.raises(UserError, match=said) as told:
        Build(parse_config(tomllib.loads(CONFIG.replace(old, new)), base=tmp_path, origin="a test"))
    assert "\n" not in str(told.value)
