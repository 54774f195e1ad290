"""A list of URLs as a source: Parquet, CSV or JSONL with url and class, such as a LAION subset or GBIF media."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from counterset import marks
from counterset.classes import ClassSpec
from counterset.config_sections import LocalPath, SourceConfig
from counterset.csv_rows import BadLine
from counterset.errors import ConfigError, SourceError
from counterset.fetching.addresses import HostRules, clean, is_private, netloc, shown
from counterset.licenses import license_code
from counterset.schemas import RejectReason
from counterset.sources import Crawl, Foresight, Source
from counterset.sources.candidate_rows import (
    NO_OBSERVERS,
    Refusal,
    candidate,
    check_distinct,
    chosen,
    labels_of,
    license_refusal,
)
from counterset.sources.cells import (
    MAX_TEXT_CHARS,
    day_of,
    id_of,
    known_text,
    number_of,
    tags_of,
    text_of,
    time_of,
    word_of,
)
from counterset.sources.class_phrases import ClassPhrases
from counterset.sources.lists import BATCH_ROWS, COORDINATES, ListFile, Row
from counterset.sources.places import place_of
from counterset.sources.settings import LicenseKeys, ObservationKeys, OwnLicenseKeys, PathKeys, PlaceKeys

MAX_HOSTS = 20
"""Hosts that a message names."""


class UrlListConfig(PathKeys, PlaceKeys, OwnLicenseKeys, LicenseKeys, SourceConfig):
    """A list of photo addresses with their classes: `path` is a local file."""

    FORMER = (ObservationKeys,)

    kind: Literal["url_list"] = "url_list"
    match: Annotated[LocalPath, marks.OFFERED] = ""
    """CSV file of phrases by which captions say the classes (`class_id`, `phrases`, `excludes`, several separated by
    |); empty = the list's column `class` says it."""


class UrlListSource(Source):
    """Photos of a list, by its columns `url` and `class`; other known columns fill in the rest.

    Columns that have no place of their own are carried in `description`, as
    `name: value` lines. A photo's id is the hash of its URL. Where the list has a
    licence column, photos without an accepted licence are turned away, and so are those
    whose licence asks for a credit line that is missing; where it has none, all are
    taken with the licence `source.license`, unknown where that is empty.

    Every row of a class is a candidate or a reject. Of a URL that is listed twice the first
    row counts, unless another is refused for its licence: then the photo is. Lines that are
    no rows, and rows without a class, are rejects of the class that one of their cells
    names, else of the first class that `check` was given. Rows of other classes, blank
    lines and repeated headers are not offered.

    With `source.match`, titles, descriptions and tags say the class (`class_phrases`), and a column `class` is one like
    any other. Rows that say no class are not offered; those that say several, or what their class excludes, are rejects
    (`unclear_class`) of the first class that they say.

    Photos come only from hosts that `source.allowed_hosts` names (`*` = any public one).

    Raises:
        ConfigError: no path, or a file of another kind.
    """

    settings = UrlListConfig
    config: UrlListConfig

    def __init__(self, config: UrlListConfig, seed: int = 0, *, rules: HostRules | None = None) -> None:
        super().__init__(config, seed)
        if not config.path or not ListFile.takes(config.path):
            raise ConfigError(
                f"source.kind = 'url_list' needs source.path, a local file ({', '.join(ListFile.SUFFIXES)}) with the "
                f"columns url and class (got {config.path!r})"
            )
        needs = ("url", "title") if config.match else ("url", "class")
        self._list = ListFile(Path(config.path), needs)
        self._rules = rules or HostRules((), config.allowed_hosts)
        self._specs: tuple[ClassSpec, ...] = ()

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Read the list's columns and find every class in it.

        Raises:
            SourceError: the file cannot be read, lacks a column, has no row of a class, or rows of two; or no host is
                allowed, so that no photo could be fetched.
        """
        places = self._list.places
        if not self._rules.allows_any:
            hosts = ", ".join(repr(host) for host in self.hosts_listed()[:MAX_HOSTS])
            raise SourceError(
                f"source.allowed_hosts names no host, so no photo of {self.config.path} may be fetched; set it to the "
                f"hosts that you trust, e.g. [{hosts}], or to ['*'] for any public one"
            )
        self._specs = specs
        listed = {label for row, labels, _ in self._labelled(specs) if isinstance(row, Row) for label in labels} - {""}
        for spec in specs:
            if not self._names(spec) & listed:
                if self.config.match:
                    remedy = f"no text says one of its phrases; add some in {self.config.match}"
                else:
                    column = self._list.names[places["class"][0]]
                    remedy = f"its column {column!r} must say {spec.class_id!r} or {spec.name!r}"
                raise SourceError(f"class {spec.class_id!r} has no row in {self.config.path}; {remedy}")
        if not self.config.match:
            check_distinct(specs, listed, self.config.path)

    def foresee(self, specs: tuple[ClassSpec, ...]) -> Foresight:
        """The rows whose photo may be fetched and used, by class; a URL that is listed twice counts twice.

        Raises:
            SourceError: as `check`.
        """
        self.check(specs)
        class_of = {label: spec.class_id for spec in specs for label in self._names(spec)}
        photos = dict.fromkeys((spec.class_id for spec in specs), 0)
        for row, labels, doubt in self._labelled(specs):
            if isinstance(row, Row) and not doubt and self._refusal(row, self._url(row)) is None:
                for class_id in {class_of[label] for label in labels if label in class_of}:
                    photos[class_id] += 1
        return Foresight(photos, notes=() if self._list.places["observer_id"] else (NO_OBSERVERS,))

    def hosts_listed(self) -> list[str]:
        """The public hosts of the list's addresses, those of most photos first."""
        hosts = Counter(netloc(self._url(row)).rpartition(":")[0] for row in self._list.rows() if isinstance(row, Row))
        return [host for host, _ in hosts.most_common() if host and not is_private(host)]

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The photos of one class.

        Raises:
            SourceError: as `check`.
        """
        rejects: dict[str, Refusal] = {}
        rows_of: dict[str, list[Row]] = {}
        for row, labels, doubt in self._offered(spec):
            where = f"{self._list.unit} {row.number}"
            if isinstance(row, BadLine):
                reject = RejectReason.MALFORMED, f"{where} {row.fault}: {(text_of(row.text) or '')[:200]}"
            elif not any(labels):
                reject = RejectReason.MALFORMED, f"{where} names no class: {self._url(row)[:200]}"
            elif not self._url(row):
                reject = RejectReason.URL_REFUSED, f"{where} has no URL"
            elif doubt:
                reject = RejectReason.UNCLEAR_CLASS, f"{where} {doubt}"
            else:
                rows_of.setdefault(self._url(row), []).append(row)
                continue
            rejects[f"{self.name}-{self._list.unit}-{row.number}"] = reject
        candidates = []
        for url, rows in rows_of.items():
            photo_id = f"{self.name}-{hashlib.sha256(url.encode()).hexdigest()[:24]}"
            refusals = [self._refusal(row, url) for row in rows]
            refused = next((refusal for refusal in refusals if refusal is not None), None)
            if refused is None:
                candidates.append(self._candidate(spec, photo_id, url, rows[0]))
            else:
                rejects[photo_id] = refused
            first = f"{self._list.unit} {rows[0].number}"
            for row in rows[1:]:
                again = RejectReason.DUPLICATE_ID, f"{self._list.unit} {row.number} has the URL of {first}"
                rejects[f"{photo_id}-{self._list.unit}-{row.number}"] = again
        return chosen(spec, candidates, rejects, self.config, self.seed)

    def _names(self, spec: ClassSpec) -> set[str]:
        """What `_labelled` calls a class."""
        return {spec.class_id} if self.config.match else labels_of(spec)

    def _labelled(self, specs: tuple[ClassSpec, ...]) -> Iterator[tuple[Row | BadLine, set[str], str]]:
        """Each row with what it names as its class, and why that is in doubt; with `match`, rows that name one only."""
        if not self.config.match:
            for row in self._list.rows():
                labels = self._list.labels_of_line(row) if isinstance(row, BadLine) else set(self._list.labels(row))
                yield row, labels, ""
            return
        phrases, rows = ClassPhrases(self.config.match, specs), self._list.rows()
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            said = phrases.said([() if isinstance(row, BadLine) else self._list.texts(row) for row in batch])
            for row, (class_id, doubt) in zip(batch, said, strict=True):
                if class_id or isinstance(row, BadLine):
                    yield row, {class_id} - {""}, doubt

    def _offered(self, spec: ClassSpec) -> Iterator[tuple[Row | BadLine, set[str], str]]:
        """The rows and broken lines that are of one class."""
        own = self._names(spec)
        others = {label for other in self._specs if other != spec for label in self._names(other)}
        takes_rest = not self._specs or self._specs[0] == spec
        for row, labels, doubt in self._labelled(self._specs or (spec,)):
            is_placed = bool(labels & (own | others)) if isinstance(row, BadLine) else labels != {""}
            if labels & own or (not is_placed and takes_rest):
                yield row, labels, doubt

    def _url(self, row: Row) -> str:
        """The URL; an ampersand that was written for HTML is one."""
        return clean(self._list.value(row, "url", text_of) or "")

    def _refusal(self, row: Row, url: str) -> Refusal | None:
        reason = self._rules.refusal(url)
        if reason:
            return RejectReason.URL_REFUSED, f"{shown(url)[:200]}: {reason}"
        if not self._list.places["license"]:
            return None
        given = self._list.value(row, "license", known_text)
        if not given and self.config.license:
            return None  # what the user says of photos that state none
        return license_refusal(given, self._list.value(row, "attribution", known_text), self.config.licenses)

    def _candidate(self, spec: ClassSpec, photo_id: str, url: str, row: Row) -> dict[str, object]:
        read = self._list.places.items()
        known = {place for field, places in read if field != "class" or not self.config.match for place in places}
        rest = [
            f"{name}: {text}"
            for place, name in enumerate(self._list.names)
            if place not in known and (text := text_of(row.values[place]))
        ]
        value = self._list.value
        given = value(row, "license", known_text)
        own = value(row, "description", known_text)
        moment = value(row, "time", time_of)
        description = "\n".join([*([own] if own else []), *rest])[:MAX_TEXT_CHARS]
        return candidate(
            spec,
            photo_id,
            url,
            self.name,
            license_code=license_code(given) if given else self.config.license or None,
            attribution=value(row, "attribution", known_text),
            observation_id=value(row, "observation_id", id_of),
            observer_id=value(row, "observer_id", id_of),
            observed_on=value(row, "observed_on", day_of),
            hour=moment.hour if moment else None,
            taxon_name=value(row, "taxon_name", known_text),
            life_stage=value(row, "life_stage", word_of),
            sex=value(row, "sex", word_of),
            title=value(row, "title", known_text),
            description=description or None,
            tags=value(row, "tags", tags_of) or [],
            place=place_of(*(value(row, name, number_of) for name in COORDINATES), cell_km=self.config.place_km),
        )


source = UrlListSource
