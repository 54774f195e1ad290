"""A release's split as a torch dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from torch.utils.data import Dataset

from counterset.errors import PictureError
from counterset.pictures import rgb


class PhotoDataset(Dataset[tuple[Any, int]]):
    """`(image, label)` by position, in the split's order (class_id, photo_id)."""

    def __init__(
        self,
        rows: pa.Table,
        labels: Mapping[str, int],
        photo_bytes: Callable[[str], bytes],
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.photo_ids: list[str] = rows["photo_id"].to_pylist()
        self.targets: list[int] = [labels[class_id] for class_id in rows["class_id"].to_pylist()]
        self._photo_bytes = photo_bytes
        self._transform = transform

    def __len__(self) -> int:
        return len(self.photo_ids)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        photo_id = self.photo_ids[position]
        try:
            image = rgb(self._photo_bytes(photo_id))
        except PictureError as error:
            raise PictureError(error.reason, f"photo {photo_id} cannot be read: {error}; leave it out") from error
        return (self._transform(image) if self._transform else image), self.targets[position]
