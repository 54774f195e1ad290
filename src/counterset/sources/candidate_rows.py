"""What the sources of a researcher's own photos share: matching of class names, licences, and rows of candidates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from counterset.classes import ClassSpec, normal_name
from counterset.config import SourceConfig
from counterset.errors import SourceError
from counterset.licenses import license_code, needs_credit
from counterset.schemas import RejectReason
from counterset.sources import Crawl
from counterset.sources.selection import Item, choose, crawl_of

Refusal = tuple[RejectReason, str]

NO_OBSERVERS = (
    "nothing says who took which photo, so each photo counts as a photographer of its own; where one person took many, "
    "intervals are too narrow and too much is confirmed: a list with a column observer_id says who took which"
)


def labels_of(spec: ClassSpec) -> set[str]:
    """The names that stand for a class: its id and its name."""
    return {normal_name(spec.class_id), normal_name(spec.name)}


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


def license_refusal(text: str | None, credit: str | None, licenses: Collection[str]) -> Refusal | None:
    """Why a photo under a licence, as its owner wrote it, is turned away; None = it is not."""
    code = license_code(text)
    if code not in licenses:
        return RejectReason.LICENSE, text or "no licence"
    if needs_credit(code) and not credit:
        return RejectReason.UNCREDITED, f"{code} asks for a credit line, and there is none"
    return None


def free_id(wanted: str, taken: Collection[str]) -> str:
    """`wanted`, or with a number where it is taken: every photo turned away is a row of its own."""
    number, photo_id = 2, wanted
    while photo_id in taken:
        number, photo_id = number + 1, f"{wanted} ({number})"
    return photo_id


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
    hour: int | None = None,
    taxon_name: str | None = None,
    life_stage: str | None = None,
    sex: str | None = None,
    title: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    place: str | None = None,
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
        "place": place,
        "observed_on": observed_on,
        "hour": hour,
        "taxon_id": None,
        "taxon_name": taxon_name,
        "life_stage": life_stage,
        "sex": sex,
        "quality_grade": None,
        "title": title,
        "description": description,
        "tags": list(tags),
    }


def chosen(
    spec: ClassSpec,
    candidates: Sequence[dict[str, object]],
    rejects: dict[str, Refusal],
    config: SourceConfig,
    seed: int,
) -> Crawl:
    """Choose among acceptable rows, each of an id that no other and no reject has; `latest` is by the day."""
    rows = {str(row["photo_id"]): row for row in candidates}
    items = []
    for photo_id, row in rows.items():
        day = row["observed_on"]
        recency = day.toordinal() if isinstance(day, date) else 0
        observer, known_day = str(row["observer_id"]), day if isinstance(day, date) else None
        items.append(Item(photo_id, str(row["observation_id"]), 0, observer, known_day, recency))
    choice = choose(items, config, seed)
    return crawl_of(spec, [rows[photo_id] for photo_id in choice.photo_ids], rejects | choice.rejects)
