"""What a release keeps of photos that were withdrawn: numbers, by which figures of earlier versions stay bounded.

Of each pair that is still the same it says how many photos were withdrawn from a side and half. Of the version before a
takedown it says, by model, the drop that was published and between which values that would lie for whoever has only
the photos that are left. No right answer of a withdrawn photo is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.parquet_sql import spilling
from counterset.photo_rows import Rows
from counterset.release.publish.summary import score_half
from counterset.release.publish.text import points
from counterset.release.schemas import SPLITS
from counterset.release.versions.changelog import markdown_text
from counterset.release.versions.diff import Stored, stored_tables
from counterset.release.versions.last import LastRelease
from counterset.schemas import RejectReason
from counterset.statistics.bounds import drop_bounds

_WITHDRAWN = f"""
    SELECT a.class_id, a.split, a.half, count(*) AS num_photos
    FROM all_photos a JOIN removed USING (photo_id)
    WHERE a.split IS NOT NULL AND removed.reason = '{RejectReason.WITHDRAWN}'
    GROUP BY ALL"""

_ANSWERS = """
    SELECT p.model, a.class_id, a.split, count(*) AS num_photos, count_if(p.is_correct) AS num_right,
           count(r.photo_id) AS num_removed, count_if(p.is_correct AND r.photo_id IS NULL) AS num_right_left
    FROM predictions p JOIN all_photos a USING (photo_id)
    JOIN pairs q ON q.class_id = a.class_id AND NOT coalesce(q.is_uneven, false) AND coalesce(q.naming, '') != 'failed'
    LEFT JOIN removed r USING (photo_id)
    WHERE a.split IS NOT NULL AND $half IN ('all', a.half)
    GROUP BY ALL ORDER BY ALL"""


def takedowns(last: LastRelease, removed: Rows, pairs: pa.Table) -> dict[str, Any] | None:
    """What release.json keeps of photos that were withdrawn up to now; None = none ever was.

    A photo that came back stays counted, which makes bounds wider and no less true.

    Args:
        last: the release before.
        removed: the photos that it has and the new one does not (`ReleaseDiff.photos`).
        pairs: the new release's.
    """
    kept = last.metadata.get("takedowns") or {"withdrawn": [], "bounds": []}
    withdrawn = Counter({(row["class_id"], row["split"], row["half"]): row["num_photos"] for row in kept["withdrawn"]})
    bounds = list(kept["bounds"])
    if any(map(len, removed.where("reason", RejectReason.WITHDRAWN.value).read(["photo_id"]))):
        tables = stored_tables(last)
        with spilling() as connection:
            connection.register("pairs", last.table("pairs"))
            removed.give(connection, "removed", ["photo_id", "reason"])
            for name in ("all_photos", "predictions"):
                table = tables[name]
                assert isinstance(table, Stored), "a release has both"
                connection.execute(f"CREATE VIEW {name} AS {table.sql}")
            for row in connection.sql(_WITHDRAWN).to_arrow_table().to_pylist():
                withdrawn[row["class_id"], row["split"], row["half"]] += row["num_photos"]
            half = score_half(last.metadata["config"]["select"]["mode"])
            answers = connection.sql(_ANSWERS, params={"half": half}).to_arrow_table()
        bounds += _bounds(answers, last.version)
    if not withdrawn and not bounds:
        return None
    before, after = (
        {row["class_id"]: (row["common"], row["counter"]) for row in table.to_pylist()}
        for table in (last.table("pairs"), pairs)
    )
    return {
        "withdrawn": [
            {"class_id": class_id, "split": split, "half": half, "num_photos": number}
            for (class_id, split, half), number in sorted(withdrawn.items())
            if before.get(class_id) == after.get(class_id)  # of another pair they say nothing
        ],
        "bounds": bounds,
    }


def _bounds(answers: pa.Table, version: str) -> list[dict[str, Any]]:
    """One row per model: its drop as it was published, and what it can be said to be from the photos that are left."""
    columns = {name: np.array(answers[name].to_pylist()) for name in answers.column_names}
    if not answers.num_rows:
        return []
    models, model = np.unique(columns["model"], return_inverse=True)
    classes, number = np.unique(columns["class_id"], return_inverse=True)
    side = np.array([SPLITS.index(split) for split in columns["split"]])

    def cells(name: str) -> npt.NDArray[np.float64]:
        filled = np.zeros((len(classes), 2, len(models)))
        filled[number, side, model] = columns[name]
        return filled

    photos, gone = cells("num_photos"), cells("num_removed")
    rows = []
    for place, name in enumerate(models.tolist()):
        own = slice(place, place + 1)
        everything, unknown = photos[..., place], gone[..., place]
        if not (everything > 0).all(axis=1).any():  # no class has answers on both sides
            continue
        [[drop, _]] = drop_bounds(cells("num_right")[..., own], everything, np.zeros_like(unknown))
        [[low, high]] = drop_bounds(cells("num_right_left")[..., own], everything - unknown, unknown)
        figures = {"drop": float(drop), "lowest": float(low), "highest": float(high)}
        rows.append({"version": version, "model": name, "num_removed": int(unknown.sum()), **figures})
    return rows


def bounds_in_words(metadata: Mapping[str, Any], version: str) -> str:
    """The lines of CHANGELOG.md on what a takedown leaves of the figures of the version before it; "" without one."""
    rows = [row for row in metadata.get("takedowns", {}).get("bounds", ()) if row["version"] == version]
    if not rows:
        return ""
    lines = [
        f"\n### Drops of {version} from the photos that are left, whatever the others showed\n",
        "| model | published | lowest | highest |",
        "|---|---|---|---|",
        *(
            f"| {markdown_text(row['model'])} | {points(row['drop'], True)} | {points(row['lowest'], True)} "
            f"| {points(row['highest'], True)} |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"
