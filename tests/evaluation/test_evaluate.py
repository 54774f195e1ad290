"""Evaluations of a real release by the demo's real models, through Python and the command line."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import ChainMap
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest

import counterset
from counterset.classes import ClassSpec
from counterset.cli import main
from counterset.evaluation.record import METRICS_FILE
from counterset.evaluation.schemas import metrics
from counterset.load import load
from counterset.models.labels import label_space
from counterset.models.open_clip_encoder import DEMO_WEIGHTS, load_encoder
from counterset.models.prompts import label_rows
from counterset.tables import read_table, sha256_of

SETTINGS: dict[str, Any] = {"label_space": "classes", "batch_size": 16, "shard_size": 20}


def test_predictions_are_those_of_a_plain_loop(small: Any, tmp_path: Path) -> None:
    release = small.load()
    found = counterset.evaluate(release, ["demo:medium"], output=tmp_path, **SETTINGS)
    specs = [ClassSpec(row["class_id"], row["name"], row["imagenet_index"]) for row in release.metadata["classes"]]
    space = label_space("classes", specs)
    encoder = load_encoder("demo:medium")
    rows = label_rows(encoder, space, "paper")
    by_id = {row["photo_id"]: row for row in found.predictions.to_pylist()}
    assert len(by_id) == release.common.num_rows + release.counter.num_rows
    right: dict[tuple[str, str], list[bool]] = {}
    for split in ("common", "counter"):
        for photo in getattr(release, split).to_pylist():
            scores = encoder.encode_images([release.photo(photo["photo_id"])], 1)[0] @ rows.T
            predicted = space.labels[int(np.argmax(scores))]
            assert by_id[photo["photo_id"]]["predicted"] == predicted
            right.setdefault((photo["class_id"], split), []).append(predicted == photo["class_name"])
    [row] = found.metrics.to_pylist()
    for split in ("common", "counter"):
        of_classes = [np.mean(values) for (_, side), values in right.items() if side == split]
        assert row[split] == pytest.approx(np.mean(of_classes))
    assert found.record["half"] == "all", "an imported release has no halves"


def test_photos_are_embedded_once_whatever_is_asked_later(small: Any, tmp_path: Path) -> None:
    release = small.load()
    first = counterset.evaluate(release, ["demo:weak", "demo:plain"], output=tmp_path, **SETTINGS)
    total = first.predictions.num_rows // 2
    assert first.num_computed == {"demo:weak": total, "demo:plain": total}
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join([*release.class_names.values(), "horse"]))
    for asked in (
        {"label_space": str(labels)},
        {"templates": "openai80"},
        {"label_space": f"top20:{labels}", "selector": "demo:weak"},
        {"half": "all", "scale": "probit"},
    ):
        found = counterset.evaluate(release, ["demo:weak"], output=tmp_path, **(SETTINGS | asked))
        assert set(found.num_computed.values()) == {0}
    assert sorted(found.metrics["model"].to_pylist()) == ["demo:plain", "demo:weak"], "earlier models stay"
    without = load(small.path, cache=tmp_path / "empty")
    again = counterset.evaluate(without, ["demo:plain"], output=tmp_path, **SETTINGS)
    assert again.predictions.num_rows == 2 * total, "no photo is computed again"
    assert len(list((tmp_path / "small-1.0.0").iterdir())) == 4


def test_the_same_models_give_the_same_bytes_in_any_order(small: Any, tmp_path: Path) -> None:
    release = small.load()
    together = counterset.evaluate(release, ["demo:weak", "demo:medium"], output=tmp_path / "a", **SETTINGS)
    for model in ("demo:medium", "demo:weak"):
        apart = counterset.evaluate(release, [model], output=tmp_path / "b", **SETTINGS)
    for path in together.folder.iterdir():
        assert path.read_bytes() == (apart.folder / path.name).read_bytes(), path.name
    assert read_table(apart.folder / METRICS_FILE, metrics()).num_rows == 2


def test_circular_models_are_flagged(small: Any, tmp_path: Path) -> None:
    release = small.load()
    release.metadata["config"]["models"]["selectors"][:] = ["demo:selector"]
    found = counterset.evaluate(release, ["demo:selector", "demo:weak"], output=tmp_path, **SETTINGS)
    flags = {row["model"]: row["in_sample_reason"] for row in found.metrics.to_pylist()}
    assert flags == {"demo:selector": "is the release's selector", "demo:weak": None}
    folder = tmp_path / "copied"
    folder.mkdir()
    for path in (DEMO_WEIGHTS / "selector").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    copied = counterset.evaluate(release, [str(folder)], output=tmp_path / "other", **SETTINGS)
    assert copied.metrics["in_sample_reason"].to_pylist() == [
        "trained on demo world, seed 47 like the selector demo:selector"
    ]


def test_photos_that_cannot_be_fetched_are_left_out_and_said(small: Any, tmp_path: Path) -> None:
    release = small.load()
    gone = release.common["photo_id"].to_pylist()[-1]
    nowhere = {gone: ("https://127.0.0.1/none.jpg", "0" * 64, 1, b"")}
    release.photos._rows = ChainMap(nowhere, release.photos._rows)  # type: ignore[arg-type]
    found = counterset.evaluate(release, ["demo:weak"], output=tmp_path, **SETTINGS)
    assert list(found.record["missing_photos"]) == [gone]
    [row] = found.metrics.to_pylist()
    # the mean over four classes, in one of which one photo of 14 is unknown
    assert row["num_vanished"] == 1 and row["drop_highest"] - row["drop_lowest"] == pytest.approx(1 / 14 / 4)
    assert row["drop_lowest"] - 0.01 < row["drop"] < row["drop_highest"] + 0.01
    assert gone not in found.predictions["photo_id"].to_pylist()


def test_a_killed_evaluation_resumes_to_the_same_bytes(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed hard at a moment drawn anew each run; the rerun's own count says what it did again."""
    monkeypatch.setenv("COUNTERSET_CACHE", str(small.cache))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = ["evaluate", str(small.path), "--mirror", small.mirror, "--model", "demo:weak"]
    command += ["--label-space", "classes", "--shard-size", "4", "--batch-size", "4", "--output"]
    assert main([*command, str(whole)]) == 0
    [predictions] = whole.rglob("predictions.parquet")
    total = len(pq.read_table(predictions))
    process = subprocess.Popen([sys.executable, "-m", "counterset.cli", *command, str(killed)])
    wanted = random.randint(1, 20)  # shards of 28
    end = time.monotonic() + 120
    while len(list(killed.rglob("photos/*.parquet"))) < wanted and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(random.random() * 0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = [len(pq.read_table(path)) for path in killed.rglob("photos/*.parquet")]
    assert 0 < sum(kept) < total, "it was killed on the way"
    capsys.readouterr()
    assert main([*command, str(killed)]) == 0
    # All shards but the one in work were kept, so the rerun did what was never finished: less than a shard twice.
    assert f"demo:weak {total - sum(kept)} photos" in capsys.readouterr().out
    for path in whole.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (killed / path.relative_to(whole)).read_bytes(), path.name


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    text = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("counterset: ")]
    assert len(text) == 1
    return text[0]


@pytest.fixture
def evaluate(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COUNTERSET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def call(*arguments: str, with_mirror: bool = True) -> int:
        mirror = ["--mirror", small.mirror] if with_mirror else []
        return main(["evaluate", str(small.path), *mirror, "--output", str(tmp_path / "out"), *arguments])

    return call


def test_a_model_that_is_not_there(evaluate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--model", "ViT-B-32/no_such") == 2
    assert "open_clip knows no pretrained model 'ViT-B-32/no_such'" in one_sentence(capsys)
    assert evaluate("--model", "timm:no_such_net") == 2
    assert "'timm:no_such_net' cannot be loaded: Unknown model" in one_sentence(capsys)
    for model in ("RN50-quickgelu/openai", "timm:vgg19.tv_in1k", "hf-hub:nobody/nothing"):
        assert evaluate("--model", model, "--label-space", "imagenet1k") == 2
        expected = f"the model '{model}' cannot be loaded: its weights are not on this machine and the hub cannot be"
        assert expected in one_sentence(capsys)


def test_a_label_space_without_the_class(evaluate: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("lion\nArctic fox\n")
    assert evaluate("--model", "demo:weak", "--label-space", str(labels)) == 2
    assert "has no label in the label space" in one_sentence(capsys)


def test_a_label_that_a_classifier_does_not_know(evaluate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--model", "demo:plain", "--label-space", "imagenet1k") == 2
    assert "'demo:plain' knows fixed classes only, the 8 of its own, and the label 'tench'" in one_sentence(capsys)


def test_a_release_without_photos(evaluate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--model", "demo:weak", "--label-space", "classes", with_mirror=False) == 2
    text = one_sentence(capsys)
    assert "small 1.0.0 holds no photos and they cannot be fetched" in text and "give --mirror" in text


def test_a_checkpoint_of_the_wrong_shape(evaluate: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    config = json.loads((DEMO_WEIGHTS / "weak" / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 32
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    weights = DEMO_WEIGHTS / "weak" / "open_clip_model.safetensors"
    (folder / weights.name).write_bytes(weights.read_bytes())
    for model in (f"local-dir:{folder}", f"timm:resnet18@{weights}"):
        assert evaluate("--model", model, "--label-space", "classes") == 2
        assert f"the model '{model}' cannot be loaded" in one_sentence(capsys)


def test_a_checkpoint_of_an_open_clip_architecture(small: Any, tmp_path: Path) -> None:
    config = json.loads((DEMO_WEIGHTS / "weak" / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "counterset-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    model = f"counterset-tiny@{DEMO_WEIGHTS / 'weak' / 'open_clip_model.safetensors'}"
    found = counterset.evaluate(small.load(), [model], output=tmp_path, **SETTINGS)
    [row] = found.metrics.to_pylist()
    assert row["common"] > 0.5 and row["family"] == "CLIP"
    assert found.record["models"][model]["weights_sha256"] == sha256_of(model.partition("@")[2])


def test_wrong_words(evaluate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--model", "demo:weak", "--label-space", "classes", "--half", "confirm") == 2
    assert "has no half 'confirm'" in one_sentence(capsys)
    assert evaluate("--model", "demo:weak", "--label-space", "classes", "--verdict", "confirmed") == 2
    assert "has no pairs that are confirmed" in one_sentence(capsys)


@pytest.mark.parametrize("option", ["--batch-size", "--shard-size"])
@pytest.mark.parametrize("size", ["0", "-1"])
def test_sizes_below_one(evaluate: Any, option: str, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--model", "demo:weak", option, size) == 2
    assert "must be at least 1" in one_sentence(capsys)
