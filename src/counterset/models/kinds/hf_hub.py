"""`hf-hub:REPOSITORY`: an open_clip model of the hub."""

from counterset.models.image_text import ImageTextModel as open_model

__all__ = ["open_model"]
