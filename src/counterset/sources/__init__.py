"""Sources of candidate photos. A source is a class that says everything about itself: see `Source`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import pyarrow as pa

from counterset.classes import ClassSpec
from counterset.config import SourceConfig
from counterset.schemas import REJECTS
from counterset.sources.budget import MEDIA_BYTES, MEDIA_LIMITS, Budget, Limit
from counterset.storage import Place
from counterset.tables import sha256_of, table_of


class Crawl(NamedTuple):
    """What a source offers for one class: tables of the candidates and rejects schemas."""

    candidates: pa.Table
    rejects: pa.Table


BYTES_PER_PIXEL = 0.3
"""Of a JPEG photo: measured as 0.28 on 1,911 photos of animals from the web, saved at quality 85."""


class Foresight(NamedTuple):
    """What can be told of a source before anyone is asked.

    Attributes:
        photos: class_id -> photos that it offers; empty where only the source itself knows.
        photo_bytes: mean bytes of a photo.
        requests: that a first build sends at the least, photos aside.
        is_local: whether photos are copied, not fetched.
        notes: what whoever builds from it should know, a sentence each.
    """

    photos: Mapping[str, int]
    photo_bytes: float = BYTES_PER_PIXEL * 500 * 375
    requests: int = 0
    is_local: bool = False
    notes: tuple[str, ...] = ()


class Source(ABC):
    """One kind of source: its settings, what it says of itself, and its candidates class by class.

    A kind is a module of `counterset.sources.kinds` whose attribute `source` is its class, or an entry point of the
    group `counterset.sources` of another package. The file's name, or the entry point's, is what `source.kind` says.
    Only `check` and `crawl` have to be written; all else has an answer that fits a source of files.

    Attributes:
        settings: its section of the config: the keys that all sources have, and its own. Each is in the keys of
            every stage that is given the section, unless it is marked (`counterset.marks`).
        hosts: the hosts that its photos may come from, beside those of `source.allowed_hosts`. `*` = any public one,
            for a source that makes the addresses itself; () = none, for one whose addresses others have written.
        is_by_taxon: whether it asks for a class by its taxa, so that the class's name changes nothing.
    """

    settings: ClassVar[type[SourceConfig]]
    hosts: ClassVar[tuple[str, ...]] = ()
    is_by_taxon: ClassVar[bool] = False

    def __init__(self, config: Any, seed: int = 0) -> None:
        """Take the settings; nothing is asked or read yet.

        Args:
            config: of the class `settings`.
            seed: of the choice among acceptable photos.
        """
        self.config = config
        self.seed = seed

    @classmethod
    def open(cls, config: Any, *, state: Path, seed: int, budget: Budget, look: int) -> Self:
        """The source of one build.

        Args:
            config: of the class `settings`.
            state: folder of what it has to remember. Asked again after a kill, it gives the same answer as an
                undisturbed run.
            seed: of the choice among acceptable photos.
            budget: of all requests of the workspace.
            look: number of the look at the source; what was asked in it is not asked again.

        Raises:
            ConfigError: the config lacks what this source needs.
        """
        return cls(config, seed)

    @property
    def name(self) -> str:
        """The source's kind, as candidates and releases call it."""
        return str(self.config.kind)

    @abstractmethod
    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Check every class (taxa exist, folders are there) before anything is crawled.

        Raises:
            SourceError: a class cannot be found, with the remedy.
            SourceUnavailable: the source does not answer.
        """

    def foresee(self, specs: tuple[ClassSpec, ...]) -> Foresight:
        """What `check` can find out without a network, and how many photos each class has, where they can be counted.

        Raises:
            SourceError: as `check`.
        """
        return Foresight({})

    def ask(self, specs: tuple[ClassSpec, ...]) -> Foresight:
        """As `foresee`, and what a few questions to the source tell: about one per class.

        Raises:
            SourceError, SourceUnavailable: as `check`.
        """
        return self.foresee(specs)

    @abstractmethod
    def crawl(self, spec: ClassSpec) -> Crawl:
        """The candidates of one class, and the photos turned away with their reasons.

        Everything that is offered is a row of one of the two.

        Raises:
            SourceError, SourceUnavailable: as `check`.
        """

    def recheck(self, candidates: pa.Table, specs: Sequence[ClassSpec]) -> pa.Table:
        """Rejects of the stage `publish` with the reason `withdrawn`: deleted, re-licensed, re-identified, hidden.

        Empty for a source that cannot tell which of its photos may no longer be published.

        Raises:
            SourceError, SourceUnavailable: as `check`.
        """
        return table_of(REJECTS, [])

    @property
    def snapshot(self) -> str:
        """The day that its content is of, ISO 8601; "" = the day on which it is asked."""
        return ""

    @classmethod
    def input_digests(cls, config: Any) -> list[list[str]]:
        """Name and SHA-256 of each file that it reads, for its keys: a changed one is read anew.

        These are the visible files at or below each setting of the type `LocalPath`.
        """
        roots = [Path(text) for text in config.paths.values()]
        files = [(root, file) for root in roots for file in visible_files(root)]

        def digested(root: Path, file: Path) -> list[str]:
            name = os.fsencode(file.relative_to(root)).hex()
            try:
                return [name, sha256_of(file)]
            except OSError:  # the source says so when it comes to it
                return [name, ""]

        with ThreadPoolExecutor() as pool:
            return list(pool.map(digested, *zip(*files, strict=True))) if files else []

    @classmethod
    def page_url(cls, photo_id: str, url: str) -> str | None:
        """The address of a photo's own page, from its id and its address; None = it has none."""
        return None

    @classmethod
    def photo_hosts(cls, config: Any) -> tuple[str, ...]:
        """The hosts that photos may come from, as `fetching.addresses.HostRules` takes them."""
        return (*cls.hosts, *config.allowed_hosts)

    @classmethod
    def limits(cls, config: Any) -> Mapping[str, tuple[Limit, ...]]:
        """What a build may spend, by kind of expense."""
        return {MEDIA_BYTES: MEDIA_LIMITS}

    @classmethod
    def budget_in(cls, folder: Place, config: Any) -> Budget:
        """The budget of all builds that share a folder or a prefix of a bucket, kept between runs."""
        name = "budget.sqlite" if isinstance(folder, Path) else ".budget"
        return Budget(folder / name, cls.limits(config))


def visible_files(root: Path) -> list[Path]:
    """The files at or below a path but those whose name, or whose folder's name, begins with a dot."""
    files = [root] if root.is_file() else [file for file in sorted(root.rglob("*")) if file.is_file()]
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(root).parts)]
