"""What an image costs a model, from its architecture alone: nothing is fetched."""

from __future__ import annotations

from typing import NamedTuple


class Operations(NamedTuple):
    """Of one image: multiply-adds as two operations each, and the numbers of its vector."""

    giga_operations: float
    embedding_dim: int


def operations_of(model: str) -> Operations | None:
    """Of an open_clip model with a plain vision transformer, `ViT-B-32/laion400m_e31`; None for any other.

    A layer of width w over t tokens multiplies 12 t w^2 + 2 t^2 w times (projections, attention, MLP of 4 w).
    """
    import open_clip

    architecture = model.partition("/")[0]
    if model.startswith(("local-dir:", "hf-hub:", "timm:", "torchvision:", "demo:")):
        return None
    config = open_clip.get_model_config(architecture)
    vision = (config or {}).get("vision_cfg", {})
    layers, width, patch = vision.get("layers"), vision.get("width"), vision.get("patch_size")
    if not isinstance(layers, int) or not width or not patch:
        return None
    tokens = (int(vision.get("image_size", 224)) // patch) ** 2 + 1
    ratio = float(vision.get("mlp_ratio", 4.0))
    multiplications = layers * ((4 + 2 * ratio) * tokens * width**2 + 2 * tokens**2 * width)
    return Operations(2 * multiplications / 1e9, int(config["embed_dim"]))
