"""Writes a catalogue as the four Open Data tables, as the exporter does."""

from __future__ import annotations

import gzip
from pathlib import Path

from counterset.demo.server.api import OPEN_LICENSES
from counterset.demo.server.catalog import Catalog

HEADERS = {
    "taxa": "taxon_id ancestry rank_level rank name active",
    # Not in the order of the documentation, and with the column of late 2024: only names count.
    "observations": "anomaly_score observation_uuid observer_id latitude longitude positional_accuracy taxon_id "
    "quality_grade observed_on",
    "photos": "photo_uuid photo_id observation_uuid observer_id extension license width height position",
    "observers": "observer_id login name",
}


def bulk_rows(catalog: Catalog) -> dict[str, list[list[object]]]:
    """The rows of each table: openly licensed photos alone, and observations that have one."""
    rows: dict[str, list[list[object]]] = {name: [] for name in HEADERS}
    for taxon in catalog.taxa:
        ancestry = "/".join(str(part) for part in taxon.ancestor_ids[:-1])
        active = "true" if taxon.is_active else "false"
        rows["taxa"].append([taxon.taxon_id, ancestry, taxon.rank_level, taxon.rank, taxon.name, active])
    observers = {}
    for row in catalog.observations:
        photos = [
            photo
            for photo in row.photos
            if photo.license_code in OPEN_LICENSES and not photo.is_hidden and not photo.placeholder
        ]
        if not photos:
            continue
        observers[row.user_id] = [row.user_id, row.user_login, row.user_name]
        rows["observations"].append(
            ["", row.uuid, row.user_id, "1.5", "-2.5", "10", row.taxon_id or "", row.quality_grade, row.observed_on]
        )
        for position, photo in enumerate(photos):
            license_code = (photo.license_code or "").upper()
            rows["photos"].append(
                [f"u{photo.photo_id}", photo.photo_id, row.uuid, row.user_id, photo.extension, license_code,
                 photo.width, photo.height, position]
            )  # fmt: skip
    rows["observers"] = [observers[key] for key in sorted(observers)]
    return rows


def write_tables(
    catalog: Catalog, folder: Path, *, is_gzip: bool = True, extra: dict[str, list[str]] | None = None
) -> Path:
    """Write the tables into `folder`; `extra` lines are put in after the first row."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in bulk_rows(catalog).items():
        lines = ["\t".join(HEADERS[name].split()), *("\t".join(map(str, row)) for row in rows)]
        lines[2:2] = (extra or {}).get(name, [])
        content = ("\n".join(lines) + "\n").encode()
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(content, mtime=0) if is_gzip else content)
    return folder
