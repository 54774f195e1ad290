"""`local-dir:FOLDER`: an open_clip model in a folder."""

from counterset.models.image_text import ImageTextModel as open_model

__all__ = ["open_model"]
