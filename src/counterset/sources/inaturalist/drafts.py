"""Drafts a class list from common names: taxa by search, ImageNet indices by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from counterset.classes import ClassSpec, id_of_name, normal_name
from counterset.errors import ConfigError
from counterset.sources.budget import Budget
from counterset.sources.inaturalist.api import INaturalistSource
from counterset.sources.inaturalist.client import ApiClient, RetryPolicy
from counterset.sources.inaturalist.settings import INaturalistConfig

MAX_SUGGESTIONS = 3
AUTOCOMPLETE_ROWS = 30


class Draft(NamedTuple):
    """One drafted class, and what its author should look at."""

    spec: ClassSpec
    note: str


def draft_classes(
    names: Sequence[str],
    config: INaturalistConfig,
    state: Path,
    imagenet_names: Sequence[str] = (),
    *,
    budget: Budget | None = None,
    retry: RetryPolicy | None = None,
) -> tuple[Draft, ...]:
    """One class per name, in the names' order.

    A taxon is filled in only where its common or scientific name is the very name
    asked for; with several such, the one of most observations. Otherwise the taxon
    is left open and the note suggests some.

    Args:
        names: common names, e.g. "red fox".
        config: of the API (`api_url`, `contact`, limits).
        state: folder of the budget.
        imagenet_names: ImageNet's class names, by index.

    Raises:
        ConfigError: a real host and no contact, or a name that gives no class_id or one twice.
        SourceError, SourceUnavailable: the service refuses or does not answer.
    """
    client = ApiClient(
        config.api_url,
        contact=config.contact,
        budget=budget or INaturalistSource.budget_in(state, config),
        timeout_s=config.timeout_s,
        retry=retry,
    )
    drafts: list[Draft] = []
    for name in names:
        class_id = id_of_name(name)
        if not class_id or any(draft.spec.class_id == class_id for draft in drafts):
            raise ConfigError(f"the name {name!r} gives no class_id of its own; give each class another name")
        query: dict[str, str | int] = {"q": name, "per_page": AUTOCOMPLETE_ROWS}
        rows = [row for row in client.get("/taxa/autocomplete", query)["results"] if row.get("is_active") is not False]
        exact = [row for row in rows if normal_name(name) in _names(row)]
        exact.sort(key=lambda row: (-int(row.get("observations_count") or 0), row["id"]))
        index, index_note = _imagenet_index(name, imagenet_names)
        if exact:
            best = exact[0]
            taxa: tuple[int, ...] = (int(best["id"]),)
            scientific_name, rank = str(best["name"]), str(best["rank"])
            note = f"{_described(best)}"
            if len(exact) > 1:
                note += f"; others of this name: {_listed(exact[1:])}"
        else:
            taxa, scientific_name, rank = (), "", ""
            note = f"no taxon has this name; perhaps {_listed(rows)}" if rows else "no taxon found; fill in taxon_ids"
        spec = ClassSpec(class_id, name, index, taxa, scientific_name, rank)
        drafts.append(Draft(spec, "; ".join(part for part in (note, index_note) if part)))
    return tuple(drafts)


def _names(row: dict[str, Any]) -> set[str]:
    return {normal_name(str(row[key])) for key in ("name", "preferred_common_name", "matched_term") if row.get(key)}


def _imagenet_index(name: str, imagenet_names: Sequence[str]) -> tuple[int | None, str]:
    if not imagenet_names:
        return None, ""
    indices = [index for index, other in enumerate(imagenet_names) if normal_name(other) == normal_name(name)]
    if len(indices) == 1:
        return indices[0], ""
    if indices:
        return None, f"ImageNet has several classes of this name ({', '.join(map(str, indices))})"
    return None, "ImageNet has no class of this name"


def _listed(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(_described(row) for row in rows[:MAX_SUGGESTIONS])


def _described(row: dict[str, Any]) -> str:
    return f"{row.get('preferred_common_name') or row['name']} ({row['rank']} {row['name']}, taxon {row['id']})"
