"""`torchvision:ARCHITECTURE[.WEIGHTS]`: an ImageNet classifier of torchvision."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision

from counterset.models.fixed_classes import FixedClassModel


class TorchvisionModel(FixedClassModel):
    """A classifier with weights of torchvision."""

    @property
    def trained_on(self) -> frozenset[str]:
        """ImageNet-1K, but for weights that began with Instagram's photos (SWAG)."""
        return frozenset() if "SWAG" in self.name else frozenset({"ImageNet-1K"})

    @property
    def cached(self) -> Path | None:
        """The file of its weights, if it is there."""
        architecture, _, tag = self.name.removeprefix("torchvision:").partition(".")
        url = torchvision.models.get_model_weights(architecture)[tag or "IMAGENET1K_V1"].url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        return path if path.is_file() else None


open_model = TorchvisionModel
