"""The iNaturalist API's answers over a `Catalog`: pure functions from a query to a status and a JSON body.

Parameters that the real service does not know are ignored here as there, rows that
match through ANY photo's licence come with ALL their photos, and `total_results`
counts the matches of this very request.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter
from datetime import UTC, date, datetime, time
from typing import Any

from counterset.demo.server.catalog import Catalog, Observation, Photo, Taxon
from counterset.demo.server.filters import Query, aware, observation_tests, updated_at

OPEN_HOST = "https://inaturalist-open-data.s3.amazonaws.com"
STATIC_HOST = "https://static.inaturalist.org"
SITE = "https://www.inaturalist.org"
MAX_PER_PAGE = 200
MAX_RESULT_WINDOW = 10_000
OPEN_LICENSES = frozenset({"cc0", "pd", "cc-by", "cc-by-nc", "cc-by-sa", "cc-by-nd", "cc-by-nc-sa", "cc-by-nc-nd"})

Answer = tuple[int, dict[str, Any]]


def error(status: int, message: str) -> Answer:
    """An error in the shape of v1."""
    return status, {"error": message, "status": status}


class Api:
    """Answers `/v1` routes from a catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self.taxa = {taxon.taxon_id: taxon for taxon in catalog.taxa}
        self.by_id = {row.observation_id: row for row in catalog.observations}
        self.by_uuid = {row.uuid: row for row in catalog.observations}
        self.observation_counts: Counter[int] = Counter()
        for row in catalog.observations:
            self.observation_counts.update(self._lineage(row))
        self._matches: dict[tuple[tuple[str, str], ...], list[Observation]] = {}
        self._photo_host = catalog.photo_host
        self.old_host = False
        """True = photo URLs have the one host of before 2021, with its time-stamp suffix."""

    def remove(self, observation_id: int) -> None:
        """Delete an observation, as its owner may at any moment."""
        row = self.by_id.pop(observation_id, None)
        if row is not None:
            del self.by_uuid[row.uuid]
            self._matches.clear()

    def answer(self, route: str, query: Query) -> Answer:
        """Status and body of `/v1<route>`."""
        parts = route.strip("/").split("/")
        match parts:
            case ["observations"]:
                return self.observations(query)
            case ["observations", "species_counts"]:
                return self.species_counts(query)
            case ["observations", "deleted"]:
                return error(401, "Unauthorized")
            case ["observations", ids]:
                return self.observations_by_id(ids)
            case ["taxa"]:
                return self.taxa_search(query)
            case ["taxa", "autocomplete"]:
                return self.autocomplete(query)
            case ["taxa", ids]:
                return self.taxa_by_id(ids)
        return 404, {}

    def observations(self, query: Query) -> Answer:
        """`GET /observations`."""
        per_page = page_size(query, 30, MAX_PER_PAGE)
        page = max(whole(query.get("page"), 1), 1)
        if page * per_page > MAX_RESULT_WINDOW:
            return error(
                403,
                "Result window is too large, page x size must be less than or equal to [10000]. "
                "Please narrow your search, or use a sliding window approach with id_above or id_below params.",
            )
        refused = self._refused(query)
        if refused is not None:
            return refused
        rows = self._matching(query)
        low = bisect_right(rows, whole(query.get("id_above"), -1), key=_id) if query.get("id_above") else 0
        high = bisect_left(rows, whole(query.get("id_below"), 0), key=_id) if query.get("id_below") else len(rows)
        rows = rows[low : max(low, high)]
        order_by = query.get("order_by", "created_at")
        is_ascending = query.get("order") == "asc"
        if order_by == "id":
            ordered = rows if is_ascending else rows[::-1]
        else:
            key = _observed if order_by == "observed_on" else updated_at if order_by == "updated_at" else _created
            ordered = sorted(rows, key=key, reverse=not is_ascending)
        found = ordered[(page - 1) * per_page : page * per_page]
        results = [{"id": row.observation_id} if query.get("only_id") == "true" else self.record(row) for row in found]
        total = len(results) if query.get("no_total_hits") == "true" else len(rows)
        return 200, {"total_results": total, "page": page, "per_page": per_page, "results": results}

    def observations_by_id(self, ids: str) -> Answer:
        """`GET /observations/{ids}`: unknown ids are just missing."""
        wanted = ids.split(",")
        if len(wanted) > MAX_PER_PAGE:
            return error(422, "Too many IDs")
        rows = [self.by_uuid.get(part) or self.by_id.get(whole(part, -1)) for part in wanted]
        results = [self.record(row) for row in rows if row is not None]
        return 200, {"total_results": len(results), "page": 1, "per_page": 30, "results": results}

    def species_counts(self, query: Query) -> Answer:
        """`GET /observations/species_counts`."""
        refused = self._refused(query)
        if refused is not None:
            return refused
        counts = Counter(row.taxon_id for row in self._matching(query) if row.taxon_id in self.taxa)
        per_page = page_size(query, 500, 500)
        results = [
            {"count": count, "taxon": self.taxon_record(self.taxa[taxon_id])}
            for taxon_id, count in counts.most_common(per_page)
            if taxon_id is not None
        ]
        return 200, {"total_results": len(counts), "page": 1, "per_page": per_page, "results": results}

    def taxa_search(self, query: Query) -> Answer:
        """`GET /taxa`: sorted by observations, not by how well the name fits."""
        words = query.get("q", "").lower()
        if len(words) > 1000:
            return error(422, "Unprocessable Entity")
        per_page = page_size(query, 30, 500)
        page = max(whole(query.get("page"), 1), 1)
        active = query.get("is_active", "true")
        found = [
            taxon
            for taxon in self.taxa.values()
            if _name_fits(taxon, words)
            and (active not in ("true", "false") or taxon.is_active == (active == "true"))
            and ("rank" not in query or taxon.rank in query["rank"].split(","))
            and ("id" not in query or str(taxon.taxon_id) in query["id"].split(","))
            and ("taxon_id" not in query or whole(query["taxon_id"], 0) in taxon.ancestor_ids)
        ]
        found.sort(key=lambda taxon: (-self.observation_counts[taxon.taxon_id], taxon.taxon_id))
        results = [self.taxon_record(taxon) for taxon in found[(page - 1) * per_page : page * per_page]]
        return 200, {"total_results": len(found), "page": page, "per_page": per_page, "results": results}

    def autocomplete(self, query: Query) -> Answer:
        """`GET /taxa/autocomplete`: exact names first, page 1 only, at most 30 rows."""
        words = query.get("q", "").strip().lower()
        per_page = page_size(query, 10, 30)
        found = [taxon for taxon in self.taxa.values() if words and taxon.is_active and _name_fits(taxon, words)]
        found.sort(
            key=lambda taxon: (
                words not in (taxon.name.lower(), taxon.common_name.lower()),
                -self.observation_counts[taxon.taxon_id],
                taxon.taxon_id,
            )
        )
        results = [
            self.taxon_record(taxon)
            | {"matched_term": taxon.name if taxon.name.lower().startswith(words) else taxon.common_name}
            for taxon in found[:per_page]
        ]
        return 200, {"total_results": len(found), "page": 1, "per_page": per_page, "results": results}

    def taxa_by_id(self, ids: str) -> Answer:
        """`GET /taxa/{ids}`: inactive taxa too, with where they went."""
        wanted = [whole(part, -1) for part in ids.split(",")]
        if len(wanted) > 30:
            return error(422, "Too many IDs")
        found = [self.taxa[taxon_id] for taxon_id in wanted if taxon_id in self.taxa]
        results = [
            self.taxon_record(taxon)
            | {"ancestors": [self.taxon_record(self.taxa[i]) for i in taxon.ancestor_ids[:-1] if i in self.taxa]}
            for taxon in found
        ]
        return 200, {"total_results": len(results), "page": 1, "per_page": 30, "results": results}

    def taxon_record(self, taxon: Taxon) -> dict[str, Any]:
        """A taxon as the API gives it."""
        lineage = taxon.ancestor_ids
        return {
            "id": taxon.taxon_id,
            "name": taxon.name,
            "rank": taxon.rank,
            "rank_level": taxon.rank_level,
            "parent_id": lineage[-2] if len(lineage) > 1 else None,
            "ancestor_ids": list(lineage),
            "ancestry": "/".join(str(part) for part in lineage[:-1]),
            "is_active": taxon.is_active,
            "current_synonymous_taxon_ids": list(taxon.synonym_ids) or None,
            "observations_count": self.observation_counts[taxon.taxon_id],
            "preferred_common_name": taxon.common_name or None,
            "extinct": False,
            "default_photo": None,
        }

    def record(self, row: Observation) -> dict[str, Any]:
        """An observation as the API gives it."""
        taxon = self.taxa.get(row.taxon_id) if row.taxon_id is not None else None
        photos = [self.photo_record(photo, row) for photo in row.photos]
        noon = datetime.combine(row.observed_on, time(12), UTC)
        return {
            "id": row.observation_id,
            "uuid": row.uuid,
            "uri": f"{SITE}/observations/{row.observation_id}",
            "quality_grade": row.quality_grade,
            "captive": row.is_captive,
            "created_at": row.created_at.isoformat(),
            "updated_at": updated_at(row).isoformat(),
            "observed_on": row.observed_on.isoformat(),
            "time_observed_at": noon.isoformat(),
            "license_code": row.license_code,
            "geoprivacy": None,
            "taxon_geoprivacy": None,
            "obscured": False,
            "location": _location(row.uuid),
            "place_guess": "somewhere",
            "species_guess": (taxon.common_name or taxon.name) if taxon else None,
            "description": row.description,
            "tags": list(row.tags),
            "taxon": self.taxon_record(taxon) if taxon else None,
            "community_taxon_id": row.taxon_id,
            "user": {
                "id": row.user_id,
                "login": row.user_login,
                "name": row.user_name,
                "spam": False,
                "suspended": False,
            },
            "annotations": [
                {
                    "controlled_attribute_id": attribute,
                    "controlled_value_id": value,
                    "concatenated_attr_val": f"{attribute}|{value}",
                    "vote_score": 0,
                    "user_id": row.user_id,
                    "votes": [],
                }
                for attribute, value in row.annotations
            ],
            "quality_metrics": [],
            "flags": [],
            "photos": photos,
            "observation_photos": [
                {"id": photo["id"], "position": position, "photo_id": photo["id"], "photo": photo}
                for position, photo in enumerate(photos)
            ],
            "sounds": [],
            "identifications": [],
        }

    def photo_record(self, photo: Photo, row: Observation) -> dict[str, Any]:
        """A photo as the API gives it, with its host in the URL."""
        flags = [{"flag": "copyright infringement", "resolved": False}] if "copyright" in photo.placeholder else []
        return {
            "id": photo.photo_id,
            "license_code": photo.license_code,
            "original_dimensions": {"width": photo.width, "height": photo.height},
            "url": self._photo_url(photo),
            "attribution": attribution(photo.license_code, row.user_name or row.user_login),
            "flags": flags,
            "moderator_actions": [],
            "hidden": photo.is_hidden,
        }

    def _photo_url(self, photo: Photo) -> str:
        if photo.placeholder:
            return f"{SITE}/{photo.placeholder}"
        path = f"photos/{photo.photo_id}/square.{photo.extension}"
        if self._photo_host:
            return f"{self._photo_host}/{path}"
        if self.old_host:
            return f"{STATIC_HOST}/{path}?1536150664"
        is_open = photo.license_code in OPEN_LICENSES and not photo.is_hidden
        return f"{OPEN_HOST if is_open else STATIC_HOST}/{path}"

    def _refused(self, query: Query) -> Answer | None:
        for key, known in (("taxon_id", self.taxa), ("place_id", {})):
            value = query.get(key, "")
            if value and not all(part.isdigit() for part in value.split(",")):
                return error(422, f"Invalid {key}: {value}")
            if value and "," not in value and int(value) not in known:
                return error(422, f"Unknown {key} {value}")
        return None

    def _matching(self, query: Query) -> list[Observation]:
        """The rows that match, by id; paging and order are not part of the match."""
        paging = {"id_above", "id_below", "page", "per_page", "order_by", "order", "only_id"}
        key = tuple(sorted((name, value) for name, value in query.items() if name not in paging))
        if key not in self._matches:
            tests = list(observation_tests(query, self.taxa))
            rows = [row for row in self.by_id.values() if all(test(row) for test in tests)]
            self._matches[key] = sorted(rows, key=_id)
        return self._matches[key]

    def _lineage(self, row: Observation) -> tuple[int, ...]:
        taxon = self.taxa.get(row.taxon_id) if row.taxon_id is not None else None
        return taxon.ancestor_ids if taxon else ()


def attribution(license_code: str | None, name: str) -> str:
    """The credit line in the service's own forms; cc0 has no name in it."""
    if license_code is None or license_code == "gfdl":
        return f"(c) {name}, all rights reserved"
    if license_code == "cc0":
        return "no rights reserved"
    if license_code == "pd":
        return f"{name}, no known copyright restrictions (public domain)"
    return f"(c) {name}, some rights reserved ({license_code.upper().replace('-', ' ', 1)})"


def whole(text: str | None, default: int) -> int:
    """`text` as a whole number, or the default where it is none."""
    try:
        return int(text or "")
    except ValueError:
        return default


def page_size(query: Query, default: int, limit: int) -> int:
    """`per_page` as the service takes it: clamped, 0 allowed, nonsense = the default."""
    size = whole(query.get("per_page"), default)
    return default if size < 0 else min(size, limit)


def _name_fits(taxon: Taxon, words: str) -> bool:
    """Every word of the query is the beginning of some word of some name."""
    names = f"{taxon.name} {taxon.common_name}".lower().replace("-", " ").split()
    return all(any(name.startswith(word) for name in names) for word in words.replace("-", " ").split())


def _location(uuid: str) -> str:
    digest = hashlib.sha256(uuid.encode()).digest()
    return f"{digest[0] / 255 * 160 - 80:.5f},{digest[1] / 255 * 340 - 170:.5f}"


def _id(row: Observation) -> int:
    return row.observation_id


def _created(row: Observation) -> datetime:
    return aware(row.created_at)


def _observed(row: Observation) -> date:
    return row.observed_on
