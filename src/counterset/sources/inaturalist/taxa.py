"""Class lists' taxa against the service: they exist, are active, and are what the list says."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from counterset.classes import ClassSpec, ListedTaxon
from counterset.errors import SourceError
from counterset.sources.inaturalist.client import ApiClient

logger = logging.getLogger(__name__)

MAX_IDS = 30
"""The service takes no more taxon ids in one request."""


def check_have_taxa(specs: Iterable[ClassSpec]) -> None:
    """See that each class names a taxon to ask for.

    Raises:
        SourceError: one does not.
    """
    for spec in specs:
        if not spec.listed_taxa():
            raise SourceError(
                f"class {spec.class_id!r} has neither taxon_ids nor a scientific_name; add one to the class list"
            )


class TaxonResolver:
    """Gives each class its active taxon ids."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._known: dict[int, dict[str, Any]] = {}

    def resolve(self, specs: Iterable[ClassSpec]) -> dict[str, tuple[int, ...]]:
        """Active taxon ids by class.

        Raises:
            SourceError: an id is unknown or inactive without a successor, or names
                another taxon than the class list says; a name is not found.
        """
        specs = tuple(specs)
        check_have_taxa(specs)
        listed = {spec.class_id: spec.listed_taxa() for spec in specs}
        self._fetch({taxon.taxon_id for taxa in listed.values() for taxon in taxa if taxon.taxon_id is not None})
        answer = {}
        for spec in specs:
            ids: list[int] = []
            for taxon in listed[spec.class_id]:
                ids += self._by_name(spec, taxon) if taxon.taxon_id is None else self._by_id(spec, taxon)
            answer[spec.class_id] = tuple(dict.fromkeys(ids))
        return answer

    def _by_id(self, spec: ClassSpec, taxon: ListedTaxon) -> list[int]:
        assert taxon.taxon_id is not None
        row = self._known.get(taxon.taxon_id)
        if row is None:
            raise SourceError(
                f"class {spec.class_id!r}: the service knows no taxon {taxon.taxon_id}; look up "
                f"{taxon.name or spec.name!r} and put its id into the class list"
            )
        current = self._current(spec, row)
        if taxon.name and not any(_is(other, taxon) for other in (row, *current)):
            raise SourceError(
                f"class {spec.class_id!r}: taxon {taxon.taxon_id} is the {row.get('rank')} {row.get('name')}, not the "
                f"{taxon.rank} {taxon.name}; fix taxon_ids or scientific_name in the class list"
            )
        return [int(other["id"]) for other in current]

    def _current(self, spec: ClassSpec, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The active taxa that an inactive one went to, or the taxon itself."""
        seen, waiting, current = {row["id"]}, [row], []
        while waiting:
            taxon = waiting.pop(0)
            if taxon.get("is_active") is not False:
                current.append(taxon)
                continue
            successors = [i for i in taxon.get("current_synonymous_taxon_ids") or [] if i not in seen]
            self._fetch(successors)
            seen.update(successors)
            waiting += [self._known[i] for i in successors if i in self._known]
        if not current:
            raise SourceError(
                f"class {spec.class_id!r}: taxon {row['id']} ({row.get('name')}) is inactive and has no successor; "
                "look up the name in use and put its id into the class list"
            )
        if current != [row]:
            names = ", ".join(f"{taxon['name']} ({taxon['id']})" for taxon in current)
            logger.warning("class %s: taxon %s %s is now %s", spec.class_id, row["id"], row.get("name"), names)
        return current

    def _by_name(self, spec: ClassSpec, taxon: ListedTaxon) -> list[int]:
        query: dict[str, str | int] = {"q": taxon.name, "is_active": "true", "per_page": 200}
        if taxon.rank:
            query["rank"] = taxon.rank
        rows = [row for row in self._client.get("/taxa", query)["results"] if _is(row, taxon)]
        if len(rows) != 1:
            count = "none" if not rows else f"{len(rows)} ({', '.join(str(row['id']) for row in rows)})"
            raise SourceError(
                f"class {spec.class_id!r}: the service has {count} active {taxon.rank or 'taxon'} named "
                f"{taxon.name!r}; put the right id into taxon_ids of the class list"
            )
        self._known[rows[0]["id"]] = rows[0]
        return [int(rows[0]["id"])]

    def _fetch(self, taxon_ids: Iterable[int]) -> None:
        wanted = sorted(set(taxon_ids) - set(self._known))
        for start in range(0, len(wanted), MAX_IDS):
            batch = wanted[start : start + MAX_IDS]
            answer = self._client.get(f"/taxa/{','.join(map(str, batch))}")
            self._known.update({row["id"]: row for row in answer["results"] if isinstance(row.get("id"), int)})


def _is(row: dict[str, Any], taxon: ListedTaxon) -> bool:
    return row.get("name") == taxon.name and (not taxon.rank or row.get("rank") == taxon.rank)
