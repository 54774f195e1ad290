"""Without a prefix: `MODEL/TAG` as open_clip lists it, or `ARCHITECTURE@CHECKPOINT`."""

from counterset.models.image_text import ImageTextModel as open_model

__all__ = ["open_model"]
