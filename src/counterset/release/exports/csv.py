"""The rows as CSV."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow.csv

from counterset.release.exporting import Exported, Photos, check_any, new_folder, parts_without_photos
from counterset.release.schemas import SPLITS
from counterset.spreadsheet import safe_table


def export(release: Photos, folder: str | Path) -> Exported:
    """`common.csv` and `counter.csv`: the rows, photos by URL. Texts that a spreadsheet would take for a formula
    stand behind an apostrophe."""
    count = 0
    with new_folder(folder) as target:
        for split in SPLITS:
            parts = parts_without_photos(release, split)
            first = next(parts)
            with pyarrow.csv.CSVWriter(target / f"{split}.csv", first.schema) as writer:
                for part in itertools.chain((first,), parts):
                    writer.write_table(safe_table(part))
                    count += part.num_rows
        check_any(count, release, {})
    return Exported(Path(folder), count, {})
