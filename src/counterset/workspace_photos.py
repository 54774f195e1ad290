"""Photos' bytes in a workspace, by photo id."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable

from counterset.schemas import IMAGES
from counterset.tables import RowGroups
from counterset.workspace import Workspace


class WorkspacePhotos:
    """Bytes by photo id, read a row group at a time; the last ones stay in memory.

    It may be asked by several threads.

    Args:
        workspace: where the photos lie.
        pool_key: of its image files.
        shard_of: the shard that holds a photo's bytes; None = the photo is not known.
        max_bytes: of row groups kept in memory.
    """

    def __init__(
        self, workspace: Workspace, pool_key: str, shard_of: Callable[[str], str | None], max_bytes: int
    ) -> None:
        self._path = functools.partial(workspace.file, "images", pool_key)
        self._shard_of = shard_of
        self._files: dict[str, RowGroups] = {}
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, int], dict[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, photo_id: str) -> bytes | None:
        """A photo's bytes as downloaded; None where it is not known or was not downloaded.

        Raises:
            WorkspaceError: its file is damaged.
        """
        shard = self._shard_of(photo_id)
        if shard is None:
            return None
        with self._lock:  # of two that want the same row group, one reads it
            if shard not in self._files:
                self._files[shard] = RowGroups(self._path(shard), IMAGES)
            place = shard, self._files[shard].group_with(photo_id)
            if place not in self._kept:
                table = self._files[shard].read(place[1])
                self._kept[place] = dict(zip(table["photo_id"].to_pylist(), table["image"].to_pylist(), strict=True))
                self._forget()
            self._kept.move_to_end(place)
            return self._kept[place].get(photo_id)

    def _forget(self) -> None:
        sizes = {place: self._files[place[0]].sizes_bytes[place[1]] for place in self._kept}
        while len(self._kept) > 1 and sum(sizes.values()) > self._max_bytes:
            place, _ = self._kept.popitem(last=False)
            del sizes[place]
