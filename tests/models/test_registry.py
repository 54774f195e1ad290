"""Every name of the registry is one that the installed libraries know, and every published model is named."""

from __future__ import annotations

import csv
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import torchvision
from scipy.stats import spearmanr

from counterset.cli import main
from counterset.manifests import manifest_path
from counterset.models import image_text
from counterset.models.door import cached_weights, trained_on
from counterset.models.registry import load_registry

MODELS = load_registry()


def test_it_names_the_published_models_in_their_order() -> None:
    with manifest_path("published/models_1v1000.csv").open(encoding="utf-8", newline="") as file:
        published = [(row["family"], row["backbone"], row["pretrain_dataset"]) for row in csv.DictReader(file)]
    assert [(model.family, model.backbone, model.pretrain_dataset) for model in MODELS] == published
    assert len({model.name for model in MODELS}) == len(published) == 43


def test_the_libraries_know_every_name() -> None:
    tags, known = set(open_clip.list_pretrained()), set(timm.list_pretrained())
    for model in MODELS:
        kind, _, name = model.name.partition(":")
        if model.family == "CLIP":
            assert tuple(model.name.split("/")) in tags, model.name
            trained_so = open_clip.get_pretrained_cfg(*model.name.split("/")).get("quick_gelu", False)
            runs_so = open_clip.get_model_config(model.name.split("/")[0]).get("quick_gelu", False)
            assert (trained_so != runs_so) == bool(model.note), f"{model.name}: another activation in training is noted"
        elif kind == "timm":
            assert name in known and timm.get_pretrained_cfg(name).num_classes == 1000
        else:
            assert "IMAGENET1K_V1" in torchvision.models.get_model_weights(name).__members__
            assert not model.alternative or model.alternative.removeprefix("timm:") in known


@pytest.mark.parametrize("name", ["RN50-quickgelu/openai", "timm:resnet18.tv_in1k", "torchvision:alexnet"])
def test_sizes_are_those_of_the_models(name: str) -> None:
    [model] = [model for model in MODELS if model.name == name]
    kind, _, short = name.rpartition(":")
    with torch.device("meta"):
        if not kind:
            built = open_clip.CLIP(**{k: v for k, v in open_clip.get_model_config(name.split("/")[0]).items()})
        else:
            built = timm.create_model(short) if kind == "timm" else torchvision.models.get_model(short)
    assert sum(parameter.numel() for parameter in built.parameters()) == model.parameters
    assert model.size_bytes == 4 * model.parameters


def test_torchvisions_first_weights_are_as_accurate_as_the_published_models() -> None:
    with manifest_path("published/models_1v1000.csv").open(encoding="utf-8", newline="") as file:
        published = {(row["family"], row["backbone"]): float(row["common_accuracy"]) for row in csv.DictReader(file)}
    models = [model for model in MODELS if model.family == "ImageNet"]
    weights = [
        torchvision.models.get_model_weights(model.name.partition(":")[2].partition(".")[0])["IMAGENET1K_V1"]
        for model in models
    ]
    stated = [one.meta["_metrics"]["ImageNet-1K"]["acc@1"] for one in weights]
    assert spearmanr(stated, [published["ImageNet", model.backbone] for model in models]).statistic > 0.99


def test_lineage_is_known_of_every_model() -> None:
    for model in MODELS:
        assert model.trained_on, model.name
    assert trained_on("timm:vit_base_patch16_224.augreg_in21k_ft_in1k") == {"ImageNet-21K", "ImageNet-1K"}
    assert "LAION-2B" in trained_on("timm:vit_base_patch32_clip_224.laion2b_ft_in1k")
    assert trained_on("timm:resnet50") == {"ImageNet-1K"}
    assert trained_on("demo:plain") == {"demo world, seed 89"}
    assert trained_on("ViT-B-32-256/datacomp_s34b_b86k") == {"DataComp-12.8B"}
    assert trained_on("timm:resnet50@mine.pt") == frozenset()


def test_cached_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_text, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    names = ("ViT-B-32/laion400m_e31", "timm:resnet18.tv_in1k", "torchvision:alexnet")
    assert [cached_weights(name) for name in names] == [None] * 3
    for place in (
        "hub/models--timm--vit_base_patch32_clip_224.laion400m_e31/snapshots/abc/open_clip_model.safetensors",
        "hub/models--timm--resnet18.tv_in1k/snapshots/abc/model.safetensors",
        "torch/checkpoints/alexnet-owt-7be5be79.pth",
    ):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(b"x")
    assert all(cached_weights(name) for name in names)


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--family", "ImageNet"]) == 0
    out = capsys.readouterr().out
    assert "timm:vgg19.tv_in1k" in out and "openai" not in out and "of 15 are on this machine" in out
