"""Image towers in int8 by OpenVINO (the extra `counterset[openvino]`).

NNCF rounds the weights to 8 bits; OpenVINO rounds activations as they come, each group of
a token's numbers by its own range. So no range is measured beforehand, and a photo's
features do not depend on the photos beside it.
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
from counterset.models.precision import native_half

GROUP = "128"
"""Activations that share a range: the larger, the faster and the coarser."""


class OpenVinoTower:
    """8-bit pixels and a tower whose matrix products are of 8-bit integers.

    Attributes:
        precision: int8.
        is_serial: OpenVINO has threads of its own.
        pixels: decodes photos.
    """

    precision = "int8"
    is_serial = True

    def __init__(self, model: Any) -> None:
        openvino, nncf = _import()
        self.pixels = PixelDecoder(PreprocessCfg(**model.visual.preprocess_cfg))
        self.decode = self.pixels.decode
        example = torch.zeros(2, 3, *self.pixels.size)
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracing warns of every size that becomes a constant
            traced = openvino.convert_model(
                _Features(model).eval(), example_input=example, input=[(-1, *example.shape[1:])]
            )
            traced = nncf.compress_weights(traced, mode=nncf.CompressWeightsMode.INT8_SYM)
        properties = {
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
            "INFERENCE_PRECISION_HINT": "bf16" if native_half() is torch.bfloat16 else "f32",  # of the rest
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = openvino.Core().compile_model(traced, "CPU", properties)

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
