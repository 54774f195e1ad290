"""The log of what people said of photos, as data."""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

from counterset.schemas import CLASS_ID, FLOAT64, INT64, PHOTO_ID, STRING, Column, RejectReason, TableSchema


class Mode(StrEnum):
    """What a reviewer saw."""

    REVIEW = "review"
    """The photo with its name: corrects a build, and says nothing of how often names are right."""
    AUDIT = "audit"
    """The photo without its name, drawn at random: measures how often names are right, and corrects nothing."""


class Answer(StrEnum):
    """What a reviewer said of a photo."""

    RIGHT = "right"
    """The name that was shown is right."""
    OTHER = "other"
    """The background is another one, `said_name`; a blind answer is always of this kind."""
    NONE = "none"
    """No background can be named."""
    REJECT = "reject"
    """The photo should not be in the class, for `reason`."""
    UNDO = "undo"
    """The reviewer takes the decision `undoes` back."""


class Origin(StrEnum):
    """Where a decision was made."""

    PAGE = "page"
    CSV = "csv"
    LABEL_STUDIO = "label_studio"
    FIFTYONE = "fiftyone"


def reject_reasons() -> dict[RejectReason, str]:
    """Why a reviewer turns a photo away, with what that says of it.

    These are the four reasons of CounterAnimal's curation (arXiv 2403.11497).
    """
    return {
        RejectReason.LABEL_NOISE: "does not show the class",
        RejectReason.FEATURE_NOISE: "is corrupted",
        RejectReason.AMBIGUITY: "shows objects of several classes",
        RejectReason.CLARITY: "does not have the class as its main thing",
    }


DECISIONS = TableSchema(
    "decisions",
    "one thing that one reviewer said of one photo",
    ("decision_id",),
    (
        Column("decision_id", STRING, "unique; the same decision written twice has one"),
        CLASS_ID,
        Column("photo_id", STRING, "the photo"),
        Column("mode", STRING, "review (the name was in view) or audit (blind)"),
        Column("shown_name", STRING, "the background's name that was in view; null when blind or without a name", True),
        Column("answer", STRING, "right, other, none, reject or undo"),
        Column("said_name", STRING, "the background that the reviewer names; null unless the answer is other", True),
        Column("reason", STRING, "label_noise, feature_noise, ambiguity or clarity; null unless a reject", True),
        Column("undoes", STRING, "the decision_id that is taken back; null unless the answer is undo", True),
        Column("reviewer", STRING, "the reviewer's pseudonym, which a release cites"),
        Column("said_at", pa.timestamp("us", "UTC"), "when it was said; of one batch each row is later than the last"),
        Column("origin", STRING, "page, csv, label_studio or fiftyone"),
        Column("sample_id", STRING, "the audit sample that the photo was drawn in", True),
        Column("probability", FLOAT64, "with which the sample held this photo, in (0, 1]", True),
    ),
)

AUDIT_SAMPLE = TableSchema(
    "audit_sample",
    "one photo that is to be labelled without its name in view",
    ("position",),
    (
        Column("sample_id", STRING, "digest of the sample's photos and probabilities"),
        Column("position", INT64, "order in which photos are shown, from 0: by lot, so that it tells no group"),
        CLASS_ID,
        PHOTO_ID,
        Column("probability", FLOAT64, "with which the sample holds this photo, in (0, 1]; not to be shown"),
    ),
)
