"""What reviewers' decisions do to a build: names are corrected, photos turned away, class by class.

A class of which only some photos were looked at is lopsided: where errors were looked for, they are gone, and where
not, they stay. So the decisions on a class count once somebody has decided on every photo of it, and not before.
Blind labels (mode `audit`) never count here: a name that was corrected by its own audit would look right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from counterset.review.schemas import Answer, Mode, reject_reasons
from counterset.schemas import BACKGROUNDS, MEMBERS, REJECTS
from counterset.tables import conform, table_of

STAGE = "review"
"""What the rejects table calls it."""


@dataclass(frozen=True)
class Outcome:
    """What the reviewers of one photo say together.

    Attributes:
        answer: name, none or reject.
        name: of the background, where the answer is name.
        reason: most of the rejecting reviewers', where the answer is reject.
        reviewers: those who gave this answer, sorted; all where they do not agree.
    """

    answer: str
    name: str | None
    reason: str | None
    reviewers: tuple[str, ...]


class Applied(NamedTuple):
    """The tables after the decisions.

    Attributes:
        members: without the photos that were turned away.
        backgrounds: of these members, with the corrected names.
        rejects: one row per photo that was turned away (rejects schema).
        unknown_names: corrected names that the vocabulary does not have, each with its photos.
    """

    members: pa.Table
    backgrounds: pa.Table
    rejects: pa.Table
    unknown_names: dict[str, int]


def outcomes(words: pa.Table) -> dict[str, Outcome]:
    """photo_id -> what most of its reviewers say; where no answer has most, the photo has no name.

    Args:
        words: the last word of each reviewer on each photo (`log.last_words`); only mode `review` is read.
    """
    votes: dict[str, list[tuple[str, str | None, str | None, str]]] = {}
    for row in words.filter(pc.equal(words["mode"], Mode.REVIEW.value)).to_pylist():
        answer, name, reason = _vote(row)
        votes.setdefault(row["photo_id"], []).append((answer, name, reason, row["reviewer"]))
    return {photo_id: _together(cast) for photo_id, cast in votes.items()}


def _vote(row: dict[str, Any]) -> tuple[str, str | None, str | None]:
    if row["answer"] == Answer.REJECT:
        return "reject", None, row["reason"]
    name = {Answer.RIGHT: row["shown_name"], Answer.OTHER: row["said_name"]}.get(row["answer"])
    return ("name" if name else "none"), name, None


def _together(votes: list[tuple[str, str | None, str | None, str]]) -> Outcome:
    counts = Counter((answer, name) for answer, name, _, _ in votes).most_common()
    everyone = tuple(sorted(reviewer for *_, reviewer in votes))
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return Outcome("none", None, None, everyone)
    answer, name = counts[0][0]
    own = [vote for vote in votes if vote[:2] == (answer, name)]
    reasons = Counter(sorted(reason for _, _, reason, _ in own if reason)).most_common(1)
    reviewers = tuple(sorted(reviewer for *_, reviewer in own))
    return Outcome(answer, name, reasons[0][0] if reasons else None, reviewers)


def whole_classes(members: pa.Table, decided: dict[str, Outcome]) -> list[str]:
    """The classes of which every member was decided on, sorted."""
    ids = list(zip(members["class_id"].to_pylist(), members["photo_id"].to_pylist(), strict=True))
    missing = {class_id for class_id, photo_id in ids if photo_id not in decided}
    return sorted({class_id for class_id, _ in ids} - missing)


def words_of(words: pa.Table, members: pa.Table, class_ids: Sequence[str]) -> pa.Table:
    """The decisions that count: on members of these classes, made with the name in view."""
    own = members.filter(pc.is_in(members["class_id"], pa.array(class_ids, pa.string())))
    class_of = dict(zip(own["photo_id"].to_pylist(), own["class_id"].to_pylist(), strict=True))
    is_own = pc.is_in(words["photo_id"], own["photo_id"].combine_chunks())
    kept = words.filter(pc.and_(is_own, pc.equal(words["mode"], Mode.REVIEW.value)))
    classes = pa.array([class_of[photo_id] for photo_id in kept["photo_id"].to_pylist()], pa.string())
    position = kept.schema.get_field_index("class_id")  # a photo may have changed its class since
    return kept.set_column(position, kept.schema.field(position), classes)


def apply(members: pa.Table, backgrounds: pa.Table, words: pa.Table, names: Sequence[str]) -> Applied:
    """The tables after the decisions `words`, all of which count.

    A corrected photo keeps its `background` and `margin`, which are the annotator's; its `group` is what the
    reviewers say. A name that is not among `names` names no group.

    Args:
        members: members schema.
        backgrounds: backgrounds schema.
        words: as `words_of` gives them.
        names: of the vocabulary.
    """
    decided = outcomes(words)
    class_of = dict(zip(members["photo_id"].to_pylist(), members["class_id"].to_pylist(), strict=True))
    rejected = {photo_id: said for photo_id, said in decided.items() if said.answer == "reject"}
    rows = []
    unknown: Counter[str] = Counter()
    for row in backgrounds.to_pylist():
        said = decided.get(row["photo_id"])
        if row["photo_id"] in rejected:
            continue
        if said is not None:
            is_known = said.name in names
            unknown.update([said.name] if said.name and not is_known else [])
            row |= {"group": said.name if is_known else None, "is_confident": is_known}
        rows.append(row)
    rejects = [
        {
            "photo_id": photo_id,
            "class_id": class_of[photo_id],
            "stage": STAGE,
            "reason": said.reason,
            "detail": f"{' and '.join(said.reviewers)}: it {_MEANING[str(said.reason)]}",
        }
        for photo_id, said in rejected.items()
    ]
    kept = members.filter(pc.invert(pc.is_in(members["photo_id"], pa.array(list(rejected), pa.string()))))
    return Applied(
        conform(kept, MEMBERS),
        table_of(BACKGROUNDS, rows),
        table_of(REJECTS, rejects),
        dict(sorted(unknown.items())),
    )


_MEANING = {reason.value: meaning for reason, meaning in reject_reasons().items()}
