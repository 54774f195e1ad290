"""The abstain threshold from labelled photos."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from counterset.errors import ConfigError
from counterset.schemas import BACKGROUNDS
from counterset.stages.calibrate import calibrate, labels_of_log, read_labels
from counterset.tables import table_of


def build(num_photos: int, seed: int = 0) -> tuple[pa.Table, dict[str, frozenset[str]]]:
    """Photos whose annotator is right with a chance of 1 / 2 at margin 0 and 1 from margin 0.3 on."""
    rng = np.random.default_rng(seed)
    rows, labels = [], {}
    for index in range(num_photos):
        margin = float(rng.uniform(0, 1))
        truth = ("snow", "grass")[index % 2]
        is_right = rng.random() < 0.5 + margin / 0.6
        name = truth if is_right else "sand"
        abstains = index % 10 == 0
        photo_id = f"p{index:05d}"
        labels[photo_id] = frozenset([truth])
        rows.append(
            {
                "photo_id": photo_id,
                "class_id": "bear",
                "profile": [1.0],
                "background": name,
                "margin": margin,
                "group": None if abstains else name,
                "is_confident": not abstains,
            }
        )
    return table_of(BACKGROUNDS, rows), labels


def test_the_threshold_reaches_the_stated_precision(caplog: pytest.LogCaptureFixture) -> None:
    backgrounds, labels = build(2_000)
    with caplog.at_level(logging.WARNING):
        found = calibrate(labels, backgrounds, precision=0.95)
    assert found.num_labelled == 2_000 and found.num_grouped == 1_800
    assert found.chosen.precision >= found.chosen.precision_low >= 0.95
    assert 0.1 < found.chosen.min_margin < 0.35
    assert "accuracies over the rest are biased" in caplog.text
    fresh, truth = build(20_000, seed=1)
    kept = [
        row["group"] in truth[row["photo_id"]]
        for row in fresh.to_pylist()
        if row["group"] and row["margin"] >= found.chosen.min_margin
    ]
    assert np.mean(kept) >= 0.95


def test_a_low_precision_keeps_every_photo() -> None:
    backgrounds, labels = build(2_000)
    found = calibrate(labels, backgrounds, precision=0.6)
    assert found.chosen.min_margin == 0 and found.chosen.coverage == 1
    assert found.least_covered in ("snow", "grass") and 0.75 < found.least_coverage < 0.95


def test_what_cannot_be_had_is_said() -> None:
    backgrounds, labels = build(60)
    with pytest.raises(ConfigError, match="label more photos"):
        calibrate(labels, backgrounds, precision=0.99)
    with pytest.raises(ConfigError, match="none of the labelled photos"):
        calibrate({"other": frozenset(["snow"])}, backgrounds, precision=0.5)


def test_labels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("photo_id,background\na,snow\nb,tree|shrub\nc,X\nd,\ne,?\n")
    assert read_labels(path) == {"a": frozenset(["snow"]), "b": frozenset(["tree", "shrub"])}


@pytest.mark.parametrize("text", ["", "photo_id,background\n", "id,background\na,snow\n"])
def test_wrong_labels_are_explained(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match="photo_id and background"):
        read_labels(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_labels(tmp_path / "none.csv")


def test_labels_with_an_endless_field_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("photo_id,background\np1," + "x" * 140_000 + "\n")
    with pytest.raises(ConfigError, match=r"cannot read the labels .*field larger than field limit"):
        read_labels(path)


def test_labels_name_groups_in_any_spelling() -> None:
    backgrounds, labels = build(2_000)
    spelt = {
        photo_id: frozenset(name.upper().replace(" ", "\u00a0") for name in names) for photo_id, names in labels.items()
    }
    assert calibrate(spelt, backgrounds, precision=0.9).chosen == calibrate(labels, backgrounds, precision=0.9).chosen


def test_the_log_gives_blind_labels_with_their_weights() -> None:
    def word(photo_id: str, reviewer: str, said: str | None, **more: object) -> dict[str, object]:
        row = {"photo_id": photo_id, "reviewer": reviewer, "said_name": said, "mode": "audit", "probability": 0.25}
        return row | more

    words = [
        word("a", "ann", "snow"),
        word("a", "bob", "snow|rock"),
        word("b", "ann", None),
        word("c", "ann", "snow", mode="review"),
        word("d", "ann", "snow", probability=None),
    ]
    labels, weights = labels_of_log(pa.Table.from_pylist(words))
    assert labels == {"a": {"snow", "rock"}, "b": {""}} and weights == {"a": 4.0, "b": 4.0}
