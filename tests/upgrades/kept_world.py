"""What the first edition's builds met, as a catalogue: today's generated world draws other photos."""

from __future__ import annotations

import io
import re
import uuid
from datetime import UTC, datetime, time
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from counterset.demo.server.catalog import Catalog, Observation, Photo
from counterset.demo.world.classes import demo_taxa

from .make_fixtures import KEPT

NAMED = re.compile(r"(?:\(c\) )?(.*), (?:some|no) rights reserved.*")


def rows(pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted((KEPT / "workspace").glob(pattern)) for row in pq.read_table(path).to_pylist()]


@cache
def kept_catalog() -> Catalog:
    """The photos that were offered and kept, at the real hosts; one that could not be downloaded is gone."""
    images = {row["photo_id"]: row["image"] for row in rows("images/*/*.parquet")}
    observations = []
    for row in rows("shards/*/*.parquet"):
        number, content = int(row["photo_id"].removeprefix("inaturalist-")), images.get(row["photo_id"])
        width, height = Image.open(io.BytesIO(content)).size if content else (320, 240)
        name = NAMED.fullmatch(row["attribution"])
        extension, gone_status = Path(row["url"]).suffix.removeprefix("."), 0 if content else 404
        observations.append(
            Observation(
                observation_id=int(row["observation_id"]),
                uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, row["observation_id"])),
                taxon_id=row["taxon_id"],
                user_id=int(row["observer_id"]),
                user_login=f"demo_observer_{row['observer_id']}",
                user_name=name[1] if name else "",
                observed_on=row["observed_on"],
                created_at=datetime.combine(row["observed_on"], time(17), UTC),
                photos=(Photo(number, row["license"], width, height, extension, gone_status=gone_status),),
                quality_grade=row["quality_grade"],
                description=row["description"],
                tags=tuple(row["tags"]),
            )
        )
    files = {int(photo_id.removeprefix("inaturalist-")): content for photo_id, content in images.items()}
    observations.sort(key=lambda observation: observation.observation_id)
    return Catalog(demo_taxa(), tuple(observations), lambda number: bytes(files[number]))
