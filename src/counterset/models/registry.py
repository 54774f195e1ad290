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

from counterset.manifests import manifest_path
from counterset.models.door import cached_weights, trained_on

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
