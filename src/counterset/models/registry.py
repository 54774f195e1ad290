"""The paper's models as data, and whether their weights are on this machine.

`data_manifests/models/registry.csv` names the 28 CLIP and 15 ImageNet models of arXiv 2403.11497
so that `counterset evaluate` knows them, with the `backbone` and `pretrain_dataset` under which the
published figures list them. The published table names no checkpoint of an ImageNet model; torchvision
has all fifteen, each trained on ImageNet-1K alone, so its first weights are taken, by timm's name
where timm carries them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import open_clip
import timm
import torch
import torchvision
from huggingface_hub.constants import HF_HUB_CACHE

from counterset.manifests import manifest_path
from counterset.models.lineage import pretraining_data
from counterset.models.open_clip_encoder import WEIGHT_SUFFIXES
from counterset.models.timm_classifier import classifier_data, is_classifier

BYTES_PER_PARAMETER = 4
"""Checkpoints come as float32; some as float16, at half the size."""


@dataclass(frozen=True)
class RegisteredModel:
    """One model of the paper.

    Attributes:
        name: what `counterset evaluate --model` takes.
        family: CLIP or ImageNet.
        backbone, pretrain_dataset: as in the published figures.
        parameters: numbers in its weights.
        alternative: timm's nearest model where timm does not carry these weights; "" = none.
        note: what to know before it is compared with the paper.
    """

    name: str
    family: str
    backbone: str
    pretrain_dataset: str
    parameters: int
    alternative: str
    note: str

    @property
    def size_bytes(self) -> int:
        """Bytes of its weights as float32."""
        return self.parameters * BYTES_PER_PARAMETER

    @property
    def trained_on(self) -> frozenset[str]:
        """The data sets it was trained on, as far as known."""
        return trained_on(self.name)

    @property
    def cached(self) -> Path | None:
        """Its weights on this machine, or None."""
        return cached_weights(self.name)


def load_registry() -> tuple[RegisteredModel, ...]:
    """The paper's models, in the order of the published figures."""
    with manifest_path("models/registry.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            RegisteredModel(**(row | {"parameters": int(row["parameters"])}))  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        )


def trained_on(name: str) -> frozenset[str]:
    """The data sets that any model was trained on, as far as known; empty = unknown."""
    return classifier_data(name) if is_classifier(name) else pretraining_data(name)


def cached_weights(name: str) -> Path | None:
    """The weights of an open_clip tag, timm or torchvision name on this machine, or None."""
    kind, _, model_name = name.partition(":")
    if kind == "torchvision":
        architecture, _, tag = model_name.partition(".")
        url = torchvision.models.get_model_weights(architecture)[tag or "IMAGENET1K_V1"].url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        return path if path.is_file() else None
    if kind == "timm":
        found = timm.get_pretrained_cfg(model_name)
        repository = found.hf_hub_id if found else None
    else:
        config = open_clip.get_pretrained_cfg(*name.split("/", 1))
        repository = str(config.get("hf_hub", "")).rpartition("/")[0]
    return _in_hub_cache(repository) if repository else None


def _in_hub_cache(repository: str) -> Path | None:
    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    found = sorted(path for path in folder.glob("*/*") if path.suffix in WEIGHT_SUFFIXES and path.is_file())
    return found[0] if found else None
