"""Sources of candidate photos. A source is anything with the methods of `Source`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from counterset.classes import ClassSpec


class Crawl(NamedTuple):
    """What a source offers for one class: tables of the candidates and rejects schemas."""

    candidates: pa.Table
    rejects: pa.Table


class Source(Protocol):
    """Gives candidates class by class.

    A source keeps its own resume state and budget in the folder it was made with;
    asking again after a kill gives the same answer as an undisturbed run.
    """

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Check every class (taxa exist, folders are there) before anything is crawled.

        Raises:
            SourceError: a class cannot be found, with the remedy.
            SourceUnavailable: the source does not answer.
        """
        ...

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The candidates of one class, and the photos turned away with their reasons."""
        ...


@runtime_checkable
class Rechecks(Protocol):
    """A source that can tell which of its photos may no longer be published."""

    def recheck(self, candidates: pa.Table, specs: Sequence[ClassSpec]) -> pa.Table:
        """Rejects of the stage `publish` with the reason `withdrawn`: deleted, re-licensed, re-identified, hidden.

        Raises:
            SourceError, SourceUnavailable: the source cannot be asked.
        """
        ...
