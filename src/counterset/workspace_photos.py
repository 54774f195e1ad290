"""Photos' bytes in a workspace, by photo id."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from counterset.schemas import IMAGES
from counterset.tables import RowGroups, read_table
from counterset.workspace import Workspace


class WorkspacePhotos:
    """Bytes by photo id, read a row group at a time; the last ones stay in memory.

    It may be asked by several threads.

    Args:
        workspace: where the photos lie.
        pool_key: of its image files.
        shard_of: photo_id -> the shard that holds its bytes; only these photos are known.
        max_bytes: of row groups kept in memory.
    """

    def __init__(self, workspace: Workspace, pool_key: str, shard_of: Mapping[str, str], max_bytes: int) -> None:
        self._shard_of = shard_of
        paths = {name: workspace.file("images", pool_key, name) for name in sorted(set(shard_of.values()))}
        self._files = {name: RowGroups(path, IMAGES) for name, path in paths.items()}
        self._group_of: dict[str, int] = {}
        for name, path in paths.items():
            photo_ids = read_table(path, IMAGES, ["photo_id"])["photo_id"].to_pylist()
            rows = ((row, photo_id) for row, photo_id in enumerate(photo_ids) if shard_of.get(photo_id) == name)
            self._group_of |= {photo_id: self._files[name].group_of(row) for row, photo_id in rows}
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, int], dict[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, photo_id: str) -> bytes | None:
        """A photo's bytes as downloaded; None where it is not known or was not downloaded.

        Raises:
            WorkspaceError: its file is damaged.
        """
        if photo_id not in self._group_of:
            return None
        place = self._shard_of[photo_id], self._group_of[photo_id]
        with self._lock:  # of two that want the same row group, one reads it
            if place not in self._kept:
                table = self._files[place[0]].read(place[1])
                self._kept[place] = dict(zip(table["photo_id"].to_pylist(), table["image"].to_pylist(), strict=True))
                self._forget()
            self._kept.move_to_end(place)
            return self._kept[place][photo_id]

    def _forget(self) -> None:
        sizes = {place: self._files[place[0]].sizes_bytes[place[1]] for place in self._kept}
        while len(self._kept) > 1 and sum(sizes.values()) > self._max_bytes:
            place, _ = self._kept.popitem(last=False)
            del sizes[place]
