"""A list of URLs as a source: Parquet, CSV or JSONL with url and class, such as a LAION subset or GBIF media."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from counterset.classes import ClassSpec
from counterset.config import SourceConfig
from counterset.errors import ConfigError, SourceError
from counterset.schemas import RejectReason
from counterset.sources import Crawl
from counterset.sources.hosts import HostRules
from counterset.sources.own_photos import candidate, check_distinct, chosen, labels_of, license_code

READERS = {
    ".parquet": "read_parquet(?)",
    ".csv": "read_csv(?, all_varchar = true, header = true)",
    ".tsv": "read_csv(?, all_varchar = true, header = true, delim = '\t')",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
}
COLUMNS: dict[str, tuple[str, ...]] = {
    "url": ("url", "image_url", "identifier"),
    "class": ("class", "class_id", "label"),
    "license": ("license", "licence"),
    "attribution": ("attribution", "rightsholder", "creator"),
    "observation_id": ("observation_id", "gbifid"),
    "observer_id": ("observer_id", "recordedby", "creator"),
    "observed_on": ("observed_on", "eventdate", "created"),
    "taxon_name": ("taxon_name", "species", "scientificname"),
    "title": ("title", "caption", "text"),
    "description": ("description",),
    "tags": ("tags",),
}
"""What a column may be called, whatever the case; the first that is there counts."""

MAX_TEXT_CHARS = 20_000


class UrlListSource:
    """Photos of a list, by its columns `url` and `class`; other known columns fill in the rest.

    Columns that have no place of their own are carried in `description`, as
    `name: value` lines. A photo's id is the hash of its URL. Where the list has a
    licence column, photos without an accepted licence are turned away; where it has
    none, all are taken with an unknown licence.

    Photos come only from hosts that `source.allowed_hosts` names (`*` = any public one).

    Raises:
        ConfigError: no path, or a file of another kind.
    """

    name = "url_list"

    def __init__(self, config: SourceConfig, seed: int = 0, *, rules: HostRules | None = None) -> None:
        suffixes = [suffix for suffix in Path(config.path).suffixes if suffix != ".gz"]
        if not config.path or "://" in config.path or not suffixes or suffixes[-1].lower() not in READERS:
            raise ConfigError(
                f"source.kind = 'url_list' needs source.path, a local file ({', '.join(READERS)}) with the columns url "
                f"and class (got {config.path!r})"
            )
        self._config = config
        self._seed = seed
        self._reader = READERS[suffixes[-1].lower()]
        self._rules = rules or HostRules((), config.allowed_hosts)

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Read the list's columns and find every class in it.

        Raises:
            SourceError: the file cannot be read, lacks a column, has no row of a class, or rows of two.
        """
        self._columns  # noqa: B018
        found = {row[0] for row in self._rows(f"SELECT DISTINCT {self._label} FROM {self._reader}")}
        for spec in specs:
            if not labels_of(spec) & found:
                raise SourceError(
                    f"class {spec.class_id!r} has no row in {self._config.path}; its column "
                    f"{self._columns['class']!r} must say {spec.class_id!r} or {spec.name!r}"
                )
        check_distinct(specs, found - {None}, self._config.path)

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The photos of one class.

        Raises:
            SourceError: as `check`.
        """
        rows: dict[str, dict[str, object]] = {}
        rejects: dict[str, tuple[RejectReason, str]] = {}
        query = f"SELECT * FROM {self._reader} WHERE list_contains(?, {self._label})"
        for values in self._rows(query, sorted(labels_of(spec))):
            row = dict(zip(self._names, values, strict=True))
            url = _text(self._take(row, "url")) or ""
            photo_id = f"{self.name}-{hashlib.sha256(url.encode()).hexdigest()[:24]}"
            refusal = self._refusal(row, url)
            if refusal is not None:
                rejects.setdefault(photo_id, refusal)
            else:  # a URL that is listed twice is one photo
                rows.setdefault(photo_id, self._candidate(spec, photo_id, url, row))
        return chosen(spec, list(rows.values()), rejects, self._config, self._seed)

    def _refusal(self, row: Mapping[str, Any], url: str) -> tuple[RejectReason, str] | None:
        reason = self._rules.refusal(url)
        if reason:
            return RejectReason.URL_REFUSED, f"{url[:200]}: {reason}"
        if "license" in self._columns:
            given = _text(self._take(row, "license"))
            if license_code(given) not in self._config.licenses:
                return RejectReason.LICENSE, given or "no licence"
        return None

    def _candidate(self, spec: ClassSpec, photo_id: str, url: str, row: Mapping[str, Any]) -> dict[str, object]:
        known = set(self._columns.values())
        rest = [
            f"{name}: {text}"
            for name, text in ((name, _text(row[name])) for name in self._names if name not in known)
            if text
        ]
        own = _text(self._take(row, "description"))
        description = "\n".join([*([own] if own else []), *rest])[:MAX_TEXT_CHARS]
        return candidate(
            spec,
            photo_id,
            url,
            self.name,
            license_code=license_code(_text(self._take(row, "license"))),
            attribution=_text(self._take(row, "attribution")),
            observation_id=_text(self._take(row, "observation_id")),
            observer_id=_text(self._take(row, "observer_id")),
            observed_on=_day(self._take(row, "observed_on")),
            taxon_name=_text(self._take(row, "taxon_name")),
            title=_text(self._take(row, "title")),
            description=description or None,
            tags=_tags(self._take(row, "tags")),
        )

    def _take(self, row: Mapping[str, Any], field: str) -> Any:
        column = self._columns.get(field)
        return row[column] if column is not None else None

    @cached_property
    def _names(self) -> list[str]:
        try:
            with duckdb.connect() as connection:
                described = connection.execute(f"DESCRIBE SELECT * FROM {self._reader}", [self._config.path]).fetchall()
        except duckdb.Error as error:
            raise SourceError(f"cannot read {self._config.path}: {str(error)[:300]}; mend source.path") from error
        return [str(row[0]) for row in described]

    @cached_property
    def _columns(self) -> dict[str, str]:
        """The list's column for each field it has."""
        by_name = {name.lower(): name for name in reversed(self._names)}
        found = {}
        for field, aliases in COLUMNS.items():
            column = next((by_name[alias] for alias in aliases if alias in by_name), None)
            if column is not None:
                found[field] = column
        for field in ("url", "class"):
            if field not in found:
                raise SourceError(f"{self._config.path} has no column {field!r}; it has {', '.join(self._names)}")
        return found

    @cached_property
    def _label(self) -> str:
        """SQL for the class of a row, as `own_photos.label_of` compares it."""
        column = '"' + self._columns["class"].replace('"', '""') + '"'
        return rf"lower(trim(regexp_replace({column}::VARCHAR, '[\s_-]+', ' ', 'g')))"

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with duckdb.connect() as connection:
                return connection.execute(query, [self._config.path, *values]).fetchall()
        except duckdb.Error as error:
            raise SourceError(f"cannot read {self._config.path}: {str(error)[:300]}; mend the file") from error


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = str(value).encode("utf-8", "replace").decode().replace("\0", "").strip()[:MAX_TEXT_CHARS]
    return text or None


def _tags(value: object) -> list[str]:
    """A list's parts, a text's parts between commas, semicolons or bars; anything else is one tag."""
    parts = (
        re.split(r"[,;|]", value) if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    )
    return [text for text in map(_text, parts) if text]


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(str(value)[:10]) if value is not None else None
    except ValueError:
        return None
