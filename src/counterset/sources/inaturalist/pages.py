"""The pages of a crawl on disk, so that a killed crawl resumes after the last page that it wrote."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from counterset.errors import WorkspaceError
from counterset.sources.inaturalist.observations import Offer, photo_id_of
from counterset.sources.inaturalist.schemas import OFFERS
from counterset.tables import read_table, table_of, write_bytes, write_table

PAGE_NAME = re.compile(r"page-(\d+)\.parquet")


@dataclass(frozen=True)
class Window:
    """One run over ids: all that matched between two bounds, or changed since a day.

    Attributes:
        upper: ids below this, frozen when the run began.
        started: UTC time at which it began, ISO 8601.
        since: only observations changed since this UTC day; "" = all.
        is_done: the run came to its end.
        look: number of the look at the source that it belongs to; 0 = of none.
    """

    upper: int
    started: str
    since: str = ""
    is_done: bool = False
    look: int = 0


class PageStore:
    """The runs of one class and query. A run is a folder of pages; `windows.json` lists the runs.

    Args:
        folder: of this class; another query gets another sub-folder, so that a
            changed config never mixes with old pages.
    """

    def __init__(self, folder: Path, query: dict[str, str]) -> None:
        digest = hashlib.sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()[:12]
        self._folder = folder / digest
        self._index = self._folder / "windows.json"

    def windows(self) -> list[Window]:
        """All runs so far, oldest first.

        Raises:
            WorkspaceError: the list of runs is damaged.
        """
        if not self._index.exists():
            return []
        try:
            return [Window(**row) for row in json.loads(self._index.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError) as error:
            raise WorkspaceError(f"{self._index} is damaged; delete its folder and run again") from error

    def save(self, windows: Sequence[Window]) -> None:
        """Replace the list of runs."""
        write_bytes(json.dumps([asdict(window) for window in windows], indent=1).encode(), self._index)

    def last_ids(self, run: int) -> list[int]:
        """The last observation id of each page of a run, in the order of numbers."""
        folder = self._run(run)
        names = (PAGE_NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
        return sorted(int(name[1]) for name in names if name)

    def write(self, run: int, last_id: int, offers: Sequence[Offer]) -> None:
        """Keep one page under the id of its last observation."""
        write_table(table_of(OFFERS, list(offers)), OFFERS, self._run(run) / f"page-{last_id:015d}.parquet")

    def __iter__(self) -> Iterator[Offer]:
        """All photos known, page by page; of an observation the last run that tells of it counts."""
        num_runs = len(self.windows())
        last_run: dict[int, int] = {}
        for run in range(1, num_runs):
            for page in self._pages(run, ["observation_id", "uuid", "position"]):
                last_run.update(dict.fromkeys(page["observation_id"].to_pylist(), run))
        for run in range(num_runs):
            for page in self._pages(run):
                yield from (row for row in page.to_pylist() if last_run.get(row["observation_id"], 0) == run)

    def _pages(self, run: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        for last_id in self.last_ids(run):
            yield read_table(self._run(run) / f"page-{last_id:015d}.parquet", OFFERS, columns)

    def _run(self, run: int) -> Path:
        return self._folder / f"run-{run:04d}"


class Without:
    """All photos known but some, by photo id; gone through as often as wanted."""

    def __init__(self, store: PageStore, gone: Collection[str]) -> None:
        self._store = store
        self._gone = gone

    def __iter__(self) -> Iterator[Offer]:
        return (offer for offer in self._store if photo_id_of(offer) not in self._gone)
