"""What a release says of the people who looked at its photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from counterset.review.applying import outcomes
from counterset.review.schemas import Origin
from counterset.statistics.reviewers import agreements

PLATFORMS = {
    Origin.PAGE.value: "counterset review",
    Origin.CSV.value: "labels in a CSV file",
    Origin.LABEL_STUDIO.value: "Label Studio",
    Origin.FIFTYONE.value: "FiftyOne",
}


@dataclass(frozen=True)
class ReviewRecord:
    """The decisions that were applied to one release.

    Attributes:
        classes: that somebody looked at as a whole, sorted.
        reviewers: decisions by reviewer's pseudonym, sorted.
        num_photos: that were looked at.
        num_named: of them, with a name that a reviewer gave or called right.
        num_unnamed: without a nameable background, or on which the reviewers do not agree.
        num_rejected: turned away.
        per_photo: mean number of reviewers of one photo.
        num_shared: photos with two reviewers or more.
        agreement: share of pairs of their reviewers who say the same, in [0, 1]; None without any.
        alpha: Krippendorff's alpha of what they say; None where it is not defined.
        platforms: on which the decisions were made, sorted.
    """

    classes: tuple[str, ...]
    reviewers: Mapping[str, int]
    num_photos: int
    num_named: int
    num_unnamed: int
    num_rejected: int
    per_photo: float
    num_shared: int
    agreement: float | None
    alpha: float | None
    platforms: tuple[str, ...]

    def metadata(self) -> dict[str, Any]:
        """As release.json holds it."""
        return asdict(self) | {"classes": list(self.classes), "platforms": list(self.platforms)}


def cite(words: pa.Table) -> ReviewRecord:
    """The record of decisions that were applied.

    Args:
        words: as `applying.words_of` gives them.
    """
    decided = outcomes(words)
    answers = Counter(said.answer for said in decided.values())
    [agreed] = agreements(words)  # these words are of one mode
    return ReviewRecord(
        classes=tuple(sorted(set(words["class_id"].to_pylist()))),
        reviewers=dict(sorted(Counter(words["reviewer"].to_pylist()).items())),
        num_photos=len(decided),
        num_named=answers["name"],
        num_unnamed=answers["none"],
        num_rejected=answers["reject"],
        per_photo=round(words.num_rows / max(len(decided), 1), 3),
        num_shared=agreed.num_photos,
        agreement=_rounded(agreed.same),
        alpha=_rounded(agreed.alpha),
        platforms=tuple(sorted({PLATFORMS[origin] for origin in words["origin"].to_pylist()})),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
