"""`timm:NAME`, `timm:ARCHITECTURE@CHECKPOINT`, `timm:local-dir:FOLDER`: a classifier of timm."""

from counterset.models.fixed_classes import FixedClassModel as open_model

__all__ = ["open_model"]
