"""The step that applies reviewers' decisions, from files to files. No Prefect here."""

from __future__ import annotations

import logging
from typing import NamedTuple

import pyarrow as pa

from counterset.review import log
from counterset.review.applying import apply, outcomes, whole_classes, words_of
from counterset.review.schemas import DECISIONS
from counterset.schemas import BACKGROUNDS, MEMBERS, REJECTS, STABILITY
from counterset.steps.keys import Build
from counterset.storage import place
from counterset.tables import TableRef, read_table, write_table
from counterset.workspace import digest

logger = logging.getLogger(__name__)

REVISION = 1
"""Raised by whoever changes what decisions do to the same tables."""


class Reviewed(NamedTuple):
    """The files that go on to the choice of pairs.

    Attributes:
        members: without the photos that reviewers turned away.
        backgrounds: with the names that they corrected.
        decisions: those that were applied (decisions schema); None = none, and the other files are as they were.
    """

    members: TableRef
    backgrounds: TableRef
    decisions: TableRef | None


def apply_review(build: Build, members: TableRef, backgrounds: TableRef) -> Reviewed:
    """Apply the decisions on every class that was reviewed as a whole.

    What they say now is kept under a key of its own, so a reviewer who goes on meanwhile changes nothing of this
    build.

    Raises:
        ReviewError: the log of decisions is damaged.
    """
    words = log.last_words(log.read(build.workspace))
    if not words.num_rows:
        return Reviewed(members, backgrounds, None)
    kept = read_table(members.path, MEMBERS)
    decided = outcomes(words)
    classes = whole_classes(kept, decided)
    begun = set(
        kept.filter(pa.compute.is_in(kept["photo_id"], pa.array(list(decided), pa.string())))["class_id"].to_pylist()
    )
    if waiting := sorted(begun - set(classes)):
        logger.warning(
            "decisions on %s wait until every photo of the class has one: `counterset review %s` shows which are left",
            ", ".join(waiting),
            build.workspace.root,
        )
    counting = words_of(words, kept, classes)
    if not counting.num_rows:
        return Reviewed(members, backgrounds, None)
    names = [background.name for background in build.vocabulary]
    key = digest("reviewed", REVISION, members.sha256, backgrounds.sha256, names, _said(counting))
    files = build.workspace.file
    if not build.is_done("reviewed_backgrounds", key, "all"):
        applied = apply(kept, read_table(backgrounds.path, BACKGROUNDS), counting, names)
        if applied.unknown_names:
            logger.warning(
                "reviewers name backgrounds that the vocabulary does not have (%s), so these photos have no name; add "
                "them to annotate.vocabulary",
                ", ".join(f"{name}: {count}" for name, count in applied.unknown_names.items()),
            )
        before, annotated = place(members.path).parent.name, place(backgrounds.path).parent.name
        rejects = pa.concat_tables([read_table(files("members_rejects", before, "all"), REJECTS), applied.rejects])
        write_table(rejects, REJECTS, files("members_rejects", key, "all"))
        write_table(
            read_table(files("stability", annotated, "all"), STABILITY), STABILITY, files("stability", key, "all")
        )
        write_table(counting, DECISIONS, files("reviewed_decisions", key, "all"))
        write_table(applied.members, MEMBERS, files("reviewed_members", key, "all"))
        write_table(applied.backgrounds, BACKGROUNDS, files("reviewed_backgrounds", key, "all"))
    return Reviewed(
        build.ref("reviewed_members", key, "all"),
        build.ref("reviewed_backgrounds", key, "all"),
        build.ref("reviewed_decisions", key, "all"),
    )


def _said(words: pa.Table) -> list[list[str | None]]:
    """What decides the tables and what a release cites of it: not when it was said, nor under which id."""
    names = ("photo_id", "reviewer", "answer", "shown_name", "said_name", "reason", "origin")
    return sorted([*row] for row in zip(*(_texts(words, name) for name in names), strict=True))


def _texts(words: pa.Table, name: str) -> list[str]:
    return [value or "" for value in words[name].to_pylist()]
