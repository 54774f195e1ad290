"""CounterAnimal's published layout, which torchvision's ImageFolder reads."""

from __future__ import annotations

from pathlib import Path

from counterset.release.exporting import Exported, Notes, Photos, check_any, new_folder, rows_with_photos, safe_name
from counterset.release.schemas import SPLITS


def export(release: Photos, folder: str | Path) -> Exported:
    """`<class_id>/common-<background>/<photo_id>.jpg` and `counter-`: CounterAnimal's published layout,
    which torchvision's ImageFolder reads."""
    notes, count = Notes(), 0
    with new_folder(folder) as target:
        for split in SPLITS:
            for row, content, suffix in rows_with_photos(release, split, notes):
                place = target / safe_name(row["class_id"]) / f"{split}-{safe_name(row['background'])}"
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{safe_name(row['photo_id'])}.{suffix}").write_bytes(content)
                count += 1
        check_any(count, release, notes.missing)
    return notes.exported(folder, count)
