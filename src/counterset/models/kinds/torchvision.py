"""`torchvision:ARCHITECTURE[.WEIGHTS]`: an ImageNet classifier of torchvision."""

from counterset.models.fixed_classes import FixedClassModel as open_model

__all__ = ["open_model"]
