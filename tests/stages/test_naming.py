"""Blind labels become precision, recall and naming; others count for nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterset.config_sections import NamingConfig
from counterset.schemas import PAIRS
from counterset.stages.naming import name_pairs
from counterset.tables import table_of

GROUPS = ("snow", "rock", "sand")
WIDER = 1.2
COLUMNS = ("photo_id", "mode", "reviewer", "said_name", "probability")
PAIR = {
    "class_id": "fox", "verdict": "confirmed", "common": "snow", "counter": "rock",
    "drop": 0.2, "drop_low": 0.05, "drop_high": 0.35, "accuracy_common": 0.8, "accuracy_counter": 0.6,
    "num_common": 40, "num_counter": 40, "num_observers_common": 40, "num_observers_counter": 40,
    "is_common_rarer": False, "is_fragile": False, "unit_correlation_common": 0.0,
    "unit_correlation_counter": 0.0,
}  # fmt: skip


class Photos:
    """40 photos of each group of one class, the last four without a group; each by its own unit."""

    def __init__(self) -> None:
        self.group = [*(name for name in GROUPS for _ in range(40)), None, None, None, None]
        self.ids = [f"p{number:03d}" for number in range(len(self.group))]
        self.unit = list(self.ids)
        self.truth: list[str | None] = [name or "sand" for name in self.group]
        self.background = [name or "snow" for name in self.group]
        self.elsewhere: list[float | None] = [0.01] * len(self.group)

    def decisions(self, numbers: Any, **columns: Any) -> list[dict[str, Any]]:
        common = {"mode": "audit", "reviewer": "one", "probability": 0.5} | columns
        return [{"photo_id": self.ids[n], "said_name": self.truth[n]} | common for n in numbers]

    def name(self, decisions: list[dict[str, Any]], *, min_precision: float = 0.8) -> tuple[dict[str, Any], pa.Table]:
        outcome = np.arange(len(self.ids)) % 5 != 0
        result = name_pairs(
            pa.table({name: [row[name] for row in decisions] for name in COLUMNS}),
            [pa.table({"photo_id": self.ids, "class_id": ["fox"] * len(self.ids), "unit": self.unit})],
            [
                pa.table(
                    {
                        "photo_id": self.ids,
                        "group": self.group,
                        "background": self.background,
                        "elsewhere": pa.array(self.elsewhere, pa.float32()),
                    }
                )
            ],
            [
                pa.table(
                    {
                        "photo_id": self.ids,
                        "model": ["s"] * len(self.ids),
                        "label_space": ["l"] * len(self.ids),
                        "is_correct": outcome,
                    }
                )
            ],
            table_of(PAIRS, [PAIR]),
            NamingConfig(min_precision=min_precision),
            selectors=("s",),
            label_space="l",
            seed=0,
        )
        [pair] = result.pairs.to_pylist()
        return pair, result.group_names


@pytest.fixture
def photos() -> Photos:
    return Photos()


def test_right_names_are_audited_and_leave_the_drop_as_it_is(photos: Photos) -> None:
    pair, names = photos.name(photos.decisions(range(124)))
    assert (pair["naming"], pair["name_precision_common"], pair["num_labels_counter"]) == ("audited", 1.0, 40)
    assert pair["name_precision_common_low"] > 0.9
    assert pair["drop_corrected"] == pytest.approx(0.2, abs=0.02)
    rows = {row["group"]: row for row in names.to_pylist()}
    # The four photos without a group show sand, too: 40 of 44 are in it.
    assert rows["sand"]["recall"] == pytest.approx(40 / 44) and rows["snow"]["recall"] == 1.0


def test_wrong_names_fail(photos: Photos) -> None:
    for number in range(40, 60):
        photos.truth[number] = "sand"
    pair, names = photos.name(photos.decisions(range(0, 124, 2)))
    assert (pair["naming"], pair["name_precision_counter"]) == ("failed", 0.5)
    rows = {row["group"]: row for row in names.to_pylist()}
    assert rows["sand"]["recall"] == pytest.approx(40 / 64, abs=0.03)
    assert photos.name(photos.decisions(range(0, 124, 2)), min_precision=0.4)[0]["naming"] != "failed"


def test_a_name_that_other_places_outdo_fails_unless_labels_say_that_it_is_right(photos: Photos) -> None:
    for number in range(40, 80):
        photos.elsewhere[number] = 0.3 if number < 60 else 0.02
    assert photos.name([])[0]["naming"] == "unaudited", "half of the photos are not most of them"
    photos.elsewhere[60] = 0.06
    pair, names = photos.name([])
    assert pair["naming"] == "failed"
    shares = {row["group"]: row["share_elsewhere"] for row in names.to_pylist()}
    assert shares == {"snow": 0, "rock": 21 / 40, "sand": 0}
    assert photos.name(photos.decisions([40, 41]))[0]["naming"] == "failed", "two labels say too little"
    assert photos.name(photos.decisions(range(124)))[0]["naming"] == "audited"
    # A reviewer called one of them rock: its share is of the name that it had.
    photos.background[40] = "snow"
    assert photos.name([])[0]["naming"] == "unaudited"
    photos.elsewhere = [None] * len(photos.ids)
    assert photos.name([])[0]["naming"] == "unaudited"


def test_few_labels_say_nothing_and_none_is_unaudited(photos: Photos) -> None:
    pair, names = photos.name(photos.decisions([0, 1, 41, 42]))
    assert (pair["naming"], pair["drop_corrected"]) == ("unaudited", None)
    pair, names = photos.name([])
    assert (pair["naming"], pair["num_labels_common"], pair["name_precision_common"]) == ("unaudited", 0, None)
    assert names["num_photos"].to_pylist() == [40, 40, 40] and names["precision"].null_count == 3


def test_labels_with_the_name_in_view_or_of_unknown_probability_do_not_count(photos: Photos) -> None:
    for columns in ({"mode": "review"}, {"probability": None}):
        pair, _ = photos.name(photos.decisions(range(124), **columns))
        assert (pair["naming"], pair["num_labels_common"]) == ("unaudited", 0)


def test_labels_weigh_by_their_probability(photos: Photos) -> None:
    """Of snow a sure tenth and an unlikely rest were labelled; the wrong ones are all in the tenth."""
    for number in range(4):
        photos.truth[number] = "sand"
    said = photos.decisions(range(4), probability=1.0) + photos.decisions(range(4, 16), probability=1 / 3)
    pair, _ = photos.name(said)
    assert pair["name_precision_common"] == pytest.approx(36 / 40)


def test_reviewers_who_disagree_count_half_each_and_any_of_several_names_is_right(photos: Photos) -> None:
    said = photos.decisions(range(40)) + photos.decisions(range(40), reviewer="two", said_name="sand")
    assert photos.name(said)[0]["name_precision_common"] == 0.5
    said = photos.decisions(range(40), said_name="Rock|SNOW")
    assert photos.name(said)[0]["name_precision_common"] == 1.0


def test_the_last_word_of_a_reviewer_counts(photos: Photos) -> None:
    said = photos.decisions(range(40), said_name="sand") + photos.decisions(range(40))
    assert photos.name(said)[0]["name_precision_common"] == 1.0


def test_wrong_names_of_one_unit_count_as_few_however_alike_right_ones_are(photos: Photos) -> None:
    """The selector is wrong for every fifth photo; in rock the first four of these are sand, and one of each four
    photos that it gets right."""
    for number in [*range(40, 60, 5), *(n for n in range(40, 80) if n % 5 and n % 4 == 1)]:
        photos.truth[number] = "sand"
    widths = []
    for unit_of_wrong in (lambda n: f"p{n}", lambda n: f"w{n // 20}"):
        photos.unit = [unit_of_wrong(n) if n % 5 == 0 else f"r{n // 4}" for n in range(len(photos.ids))]
        pair, _ = photos.name(photos.decisions(range(124)))
        widths.append(pair["drop_corrected_high"] - pair["drop_corrected_low"])
    assert widths[1] > WIDER * widths[0]


def test_nobody_sees_the_order_of_photos_in_the_result(photos: Photos) -> None:
    said = photos.decisions(range(0, 124, 3))
    first = photos.name(said)
    assert photos.name(said[::-1]) == first
