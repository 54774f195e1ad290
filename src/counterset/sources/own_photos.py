"""What the sources of a researcher's own photos share: matching of class names, licences, and rows of candidates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from counterset.classes import ClassSpec
from counterset.config import SourceConfig
from counterset.errors import SourceError
from counterset.schemas import RejectReason
from counterset.sources import Crawl
from counterset.sources.selection import Item, choose, crawl_of

CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-sa|-nd)?)|publicdomain/(zero|mark))\b")
NAMED = re.compile(r"cc[ _-]?(by(?:[ _-]nc)?(?:[ _-](?:sa|nd))?)\b")


def label_of(text: str) -> str:
    """A class's name as it is compared: `Red-Fox`, `red fox` and `red_fox` are one."""
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()


def labels_of(spec: ClassSpec) -> set[str]:
    """The names that stand for a class: its id and its name."""
    return {label_of(spec.class_id), label_of(spec.name)}


def check_distinct(specs: Sequence[ClassSpec], labels: set[str], where: str) -> None:
    """See that no label of the photos' owner stands for two classes.

    Raises:
        SourceError: one does.
    """
    for label in sorted(labels):
        named = [spec.class_id for spec in specs if label in labels_of(spec)]
        if len(named) > 1:
            raise SourceError(
                f"{label!r} in {where} stands for the classes {' and '.join(map(repr, named))}; "
                "give each class an id and a name that no other has, or label its photos with its class_id"
            )


def license_code(text: str | None) -> str | None:
    """A licence's code from its code, its name or its Creative Commons URL; None = not a known one."""
    text = (text or "").strip().lower()
    match = CREATIVE_COMMONS.search(text)
    if match:
        return {"zero": "cc0", "mark": "pd"}.get(match[2], f"cc-{match[1]}")
    if re.match(r"cc[ _-]?0\b", text) or text == "public domain dedication":
        return "cc0"
    if text in ("pd", "public domain"):
        return "pd"
    match = NAMED.match(text)
    return "cc-" + re.sub(r"[ _]", "-", match[1]) if match else None


def candidate(
    spec: ClassSpec,
    photo_id: str,
    url: str,
    source: str,
    *,
    license_code: str | None = None,
    attribution: str | None = None,
    observation_id: str | None = None,
    observer_id: str | None = None,
    observed_on: date | None = None,
    taxon_name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
) -> dict[str, object]:
    """One row of the candidates table. Without an observer, each photo is an observer of its own."""
    return {
        "photo_id": photo_id,
        "class_id": spec.class_id,
        "source": source,
        "url": url,
        "license": license_code,
        "attribution": attribution,
        "observation_id": observation_id or photo_id,
        "observer_id": observer_id or photo_id,
        "observed_on": observed_on,
        "taxon_id": None,
        "taxon_name": taxon_name,
        "quality_grade": None,
        "title": title,
        "description": description,
        "tags": list(tags),
    }


def chosen(
    spec: ClassSpec,
    candidates: Sequence[dict[str, object]],
    rejects: dict[str, tuple[RejectReason, str]],
    config: SourceConfig,
    seed: int,
) -> Crawl:
    """Choose among acceptable rows; `latest` is by the day of observation."""
    rows = {str(row["photo_id"]): row for row in candidates}
    items = []
    for photo_id, row in rows.items():
        day = row["observed_on"]
        recency = day.toordinal() if isinstance(day, date) else 0
        observer, known_day = str(row["observer_id"]), day if isinstance(day, date) else None
        items.append(Item(photo_id, str(row["observation_id"]), 0, observer, known_day, recency))
    choice = choose(items, config, seed)
    turned_away = {key: value for key, value in rejects.items() if key not in rows} | choice.rejects
    return crawl_of(spec, [rows[photo_id] for photo_id in choice.photo_ids], turned_away)
