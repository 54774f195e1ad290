"""An export layout, `counterset export RELEASE jsonl FOLDER`: one JSON object per photo."""

from __future__ import annotations

import json
from pathlib import Path

from counterset.load import Release
from counterset.release.exporting import Exported, new_folder


def export(release: Release, folder: str | Path) -> Exported:
    """`photos.jsonl`: where each photo is, its class, and on which side of the pair it stands."""
    lines = []
    for split, table in (("common", release.common), ("counter", release.counter)):
        for row in table.select(["photo_id", "url", "sha256", "class_id", "background"]).to_pylist():
            lines.append(json.dumps({**row, "split": split}))
    with new_folder(folder) as target:  # it appears whole, or not at all
        (target / "photos.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Exported(Path(folder), len(lines), missing={})
