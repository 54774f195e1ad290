"""`demo:NAME`: a model that comes with the package, for the demo's world."""

from __future__ import annotations

from counterset.models.fixed_classes import FixedClassModel
from counterset.models.image_text import ImageTextModel
from counterset.models.precision import Backend
from counterset.models.timm_classifier import is_classifier


def open_model(name: str, backend: Backend) -> ImageTextModel | FixedClassModel:
    """The demo's classifier, or one of its image-text models."""
    return FixedClassModel(name, backend) if is_classifier(name) else ImageTextModel(name, backend)
