"""Image towers in int8 by OpenVINO (the extra `counterset[openvino]`).

Weights and activations are quantised after training by NNCF, with ranges measured on
generated images, which takes some seconds at each load.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import warnings
from typing import Any

import torch
from open_clip.transform import PreprocessCfg
from torch import nn

from counterset.errors import ModelError
from counterset.models.decoding import PixelDecoder
from counterset.models.precision import native_half, probes

NUM_CALIBRATION = 32
CALIBRATION_SEED = 1
"""The images that ranges are measured on: drawn as the probes are, but others."""


class OpenVinoTower:
    """8-bit pixels and a tower whose matrix products are of 8-bit integers.

    Attributes:
        precision: int8.
        pixels: decodes photos.
    """

    precision = "int8"

    def __init__(self, model: Any) -> None:
        openvino, nncf = _import()
        self.pixels = PixelDecoder(PreprocessCfg(**model.visual.preprocess_cfg))
        self.decode = self.pixels.decode
        # (32, 3, H, W)
        images = torch.from_numpy(probes(self.pixels.size, NUM_CALIBRATION, CALIBRATION_SEED))
        inputs = self.pixels.normalise(images, torch.float32)
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracing warns of every size that becomes a constant
            traced = openvino.convert_model(
                _Features(model).eval(), example_input=inputs[:2], input=[(-1, 3, *self.pixels.size)]
            )
            rows = nncf.Dataset([inputs[index : index + 1].numpy() for index in range(NUM_CALIBRATION)])
            quantised = nncf.quantize(traced, rows, model_type=nncf.ModelType.TRANSFORMER, subset_size=NUM_CALIBRATION)
        rest = "bf16" if native_half() is torch.bfloat16 else "f32"
        self._compiled = openvino.Core().compile_model(
            quantised, "CPU", {"INFERENCE_PRECISION_HINT": rest, "PERFORMANCE_HINT": "LATENCY"}
        )

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) of decoded photos -> (B, D) features in float32, of any length."""
        inputs = self.pixels.normalise(pixels, torch.float32)
        return torch.from_numpy(self._compiled(inputs.numpy())[0].copy()).float()


class _Features(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._model.encode_image(pixels)
        return features


def check_installed() -> None:
    """See that the extra is there, without loading it.

    Raises:
        ModelError: it is not.
    """
    if any(importlib.util.find_spec(package) is None for package in ("openvino", "nncf")):
        raise ModelError(
            "models.backend = 'openvino' needs OpenVINO and NNCF; pip install 'counterset[openvino]', "
            "or set models.backend = 'torch'"
        )


def _import() -> tuple[Any, Any]:
    """OpenVINO and NNCF, kept from reporting their use over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    os.environ.setdefault("NNCF_CI", "1")
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    return openvino, nncf
