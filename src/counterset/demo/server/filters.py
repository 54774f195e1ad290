"""What the query parameters of `GET /observations` mean, as tests of one observation.

Parameters that the service does not know are ignored, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

from counterset.demo.server.catalog import Observation, Taxon

Query = dict[str, str]
Test = Callable[[Observation], bool]
DayOf = Callable[[Observation], date]


def observation_tests(query: Query, taxa: dict[int, Taxon]) -> Iterator[Test]:
    """One test for each parameter that filters; an observation matches if it passes all."""
    yield from _of_taxa(query, taxa)
    yield from _of_photos(query)
    yield from _of_annotations(query)
    yield from _of_days(query)
    simple: dict[str, Callable[[Observation], str]] = {
        "quality_grade": lambda row: row.quality_grade,
        "id": lambda row: str(row.observation_id),
        "uuid": lambda row: row.uuid.lower(),
        "user_id": lambda row: str(row.user_id),
        "license": lambda row: row.license_code or "",
    }
    for name, value_of in simple.items():
        if _values(query, name):
            yield _among(value_of, _values(query, name), is_wanted=True)
    for name, barred in (("id", "not_id"), ("uuid", "not_id"), ("user_id", "not_user_id")):
        if _values(query, barred):
            yield _among(simple[name], _values(query, barred), is_wanted=False)
    if query.get("captive") in ("true", "false"):
        captive = query["captive"] == "true"
        yield lambda row: row.is_captive == captive
    if query.get("verifiable") in ("true", "false"):
        verifiable = query["verifiable"] == "true"
        yield lambda row: (row.quality_grade != "casual") == verifiable


def moment_of(text: str | None) -> datetime | None:
    """An ISO date or time, UTC unless it says otherwise; None = unparsable, which the service ignores."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return aware(moment)


def aware(moment: datetime) -> datetime:
    """The moment, in UTC where it has no zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def updated_at(row: Observation) -> datetime:
    """When the observation was changed last."""
    return aware(row.updated_at or row.created_at)


def _of_taxa(query: Query, taxa: dict[int, Taxon]) -> Iterator[Test]:
    def lineage(row: Observation) -> tuple[int, ...]:
        taxon = taxa.get(row.taxon_id) if row.taxon_id is not None else None
        return taxon.ancestor_ids if taxon else ()

    def rank(row: Observation) -> str:
        return taxa[row.taxon_id].rank if row.taxon_id in taxa else ""

    wanted, unwanted, exact = (
        {int(part) for part in _values(query, name) if part.isdigit()}
        for name in ("taxon_id", "without_taxon_id", "exact_taxon_id")
    )
    if wanted:
        yield lambda row: not wanted.isdisjoint(lineage(row))
    if unwanted:
        yield lambda row: unwanted.isdisjoint(lineage(row))
    if exact:
        yield lambda row: row.taxon_id in exact
    if _values(query, "rank"):
        yield _among(rank, _values(query, "rank"), is_wanted=True)


def _of_photos(query: Query) -> Iterator[Test]:
    licenses = _values(query, "photo_license")
    if licenses:  # at least one photo: the others of the observation come along
        yield lambda row: any(photo.license_code in licenses for photo in row.photos)
    if query.get("photo_licensed") in ("true", "false"):
        licensed = query["photo_licensed"] == "true"
        yield lambda row: any(photo.license_code for photo in row.photos) == licensed
    if query.get("photos") in ("true", "false"):
        present = query["photos"] == "true"
        yield lambda row: any("copyright" not in photo.placeholder for photo in row.photos) == present


def _of_annotations(query: Query) -> Iterator[Test]:
    def numbers(name: str) -> set[int]:
        return {int(part) for part in _values(query, name) if part.isdigit()}

    def values_of(row: Observation, attributes: set[int]) -> set[int]:
        return {value for attribute, value in row.annotations if attribute in attributes}

    terms, values, without = numbers("term_id"), numbers("term_value_id"), numbers("without_term_value_id")
    if terms:
        yield lambda row: bool(values_of(row, terms) & values if values else values_of(row, terms))
        if without:
            yield lambda row: without.isdisjoint(values_of(row, terms))
    loose = numbers("term_id_or_unknown")
    if loose and without:
        yield lambda row: without.isdisjoint(values_of(row, loose))
    barred = numbers("without_term_id")
    if barred:
        yield lambda row: not values_of(row, barred)


def _of_days(query: Query) -> Iterator[Test]:
    days: dict[str, DayOf] = {"d": lambda row: row.observed_on, "created_d": lambda row: row.created_at.date()}
    for name, day_of in days.items():
        for suffix, is_lower in (("1", True), ("2", False)):
            moment = moment_of(query.get(name + suffix))
            if moment is not None:
                yield _bound(day_of, moment.date(), is_lower)
    created_on = moment_of(query.get("created_on"))
    if created_on is not None:
        yield lambda row: row.created_at.date() == created_on.date()
    since = moment_of(query.get("updated_since"))
    if since is not None:
        yield lambda row: updated_at(row) >= since
    for part in ("year", "month", "day"):
        if _values(query, part):
            yield _among(_part_of_day(part), _values(query, part), is_wanted=True)


def _values(query: Query, name: str) -> set[str]:
    return {part.strip().lower() for part in query.get(name, "").split(",") if part.strip()} - {"any"}


def _among(value_of: Callable[[Observation], str], values: set[str], *, is_wanted: bool) -> Test:
    return lambda row: (value_of(row) in values) == is_wanted


def _part_of_day(part: str) -> Callable[[Observation], str]:
    return lambda row: str(getattr(row.observed_on, part))


def _bound(day_of: DayOf, day: date, is_lower: bool) -> Test:
    return lambda row: day_of(row) >= day if is_lower else day_of(row) <= day
