"""Agreement of reviewers: the worked examples of the literature."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from counterset.statistics.reviewers import agreements, cohen, fleiss, krippendorff_alpha

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability: example B (two observers) and example C (four).
TWO = ("aabbdcccedda", "babbbccceddd")
FOUR = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
# The table of 10 subjects by 14 raters in 5 categories that introductions to Fleiss' kappa use: 0.210.
RATED = (
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
)  # fmt: skip


def rows(*columns: str) -> list[list[str | None]]:
    return [[None if value == "." else value for value in row] for row in zip(*columns, strict=True)]


def test_alpha_of_the_published_examples() -> None:
    assert krippendorff_alpha(rows(*TWO)) == pytest.approx(0.692, abs=0.0005)
    assert krippendorff_alpha(rows(*FOUR)) == pytest.approx(0.743, abs=0.0005)


def test_kappas_of_the_published_examples() -> None:
    values = [[str(category) for category, count in enumerate(row) for _ in range(count)] for row in RATED]
    assert fleiss(values) == pytest.approx(0.210, abs=0.0005)
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, by chance 0.5.
    pairs = [["y", "y"]] * 20 + [["y", "n"]] * 5 + [["n", "y"]] * 10 + [["n", "n"]] * 15
    assert cohen(pairs, 0, 1) == pytest.approx(0.4)


def test_what_is_not_defined_is_none() -> None:
    same = [["a", "a"], ["a", "a"]]
    assert (cohen(same, 0, 1), fleiss(same), krippendorff_alpha(same)) == (None, None, None)
    assert krippendorff_alpha([["a", None], [None, "b"]]) is None


def word(photo_id: str, reviewer: str, **said: Any) -> dict[str, Any]:
    return {"photo_id": photo_id, "reviewer": reviewer, "mode": "audit", "answer": "other", "shown_name": None} | said


def test_names_are_compared_as_everywhere_and_modes_apart() -> None:
    words = [
        word("1", "ann", said_name="Snow"),
        word("1", "bob", said_name="snow"),
        word("2", "ann", answer="none", said_name=None),
        word("2", "bob", said_name="rock"),
        word("3", "ann", said_name="rock"),
        word("1", "ann", mode="review", answer="right", shown_name="snow", said_name=None),
        word("1", "bob", mode="review", said_name="SNOW"),
    ]
    audit, review = agreements(pa.Table.from_pylist(words))
    assert (audit.mode, audit.num_photos, audit.num_reviewers, audit.same) == ("audit", 2, 2, 0.5)
    assert (review.mode, review.num_photos, review.same) == ("review", 1, 1.0)
    assert agreements(pa.Table.from_pylist(words[4:5]))[0].same is None
