"""The rows as CSV."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv

from counterset.release.exporting import Exported, Photos, check_any, new_folder, without_photos
from counterset.release.schemas import SPLITS
from counterset.spreadsheet import safe_table


def export(release: Photos, folder: str | Path) -> Exported:
    """`common.csv` and `counter.csv`: the rows, photos by URL. Texts that a spreadsheet would take for a formula
    stand behind an apostrophe."""
    count = 0
    with new_folder(folder) as target:
        for split in SPLITS:
            table = without_photos(getattr(release, split))
            pyarrow.csv.write_csv(safe_table(table), target / f"{split}.csv")
            count += table.num_rows
        check_any(count, release, {})
    return Exported(Path(folder), count, {})
