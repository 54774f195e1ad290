"""The audit sample: so many photos of each group by lot, with the probability of each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from counterset.review.sample import draw_sample, labels_per_class

NUMBERS = {("fox", "snow"): 200, ("fox", "rock"): 12, ("fox", None): 30, ("lion", "sand"): 50}
ROWS = [(f"{class_id}-{group}-{n}", class_id, group) for (class_id, group), k in NUMBERS.items() for n in range(k)]
BACKGROUNDS = pa.table(dict(zip(("photo_id", "class_id", "group"), map(list, zip(*ROWS, strict=True)), strict=True)))


def test_each_group_gives_so_many_photos_with_its_probability() -> None:
    sample = draw_sample(BACKGROUNDS, 20, seed=1)
    group_of = {photo_id: (class_id, group) for photo_id, class_id, group in ROWS}
    counts = Counter(group_of[photo_id] for photo_id in sample["photo_id"].to_pylist())
    assert counts == {key: min(number, 20) for key, number in NUMBERS.items()}
    for row in sample.to_pylist():
        number = NUMBERS[group_of[row["photo_id"]]]
        assert row["probability"] == min(20, number) / number
    assert labels_per_class([200 / 242, 12 / 242, 30 / 242], 20, 242) == 52
    assert set(draw_sample(BACKGROUNDS, 5, seed=1, class_ids=["lion"])["class_id"].to_pylist()) == {"lion"}


def test_a_larger_sample_holds_the_smaller_and_the_same_draw_is_the_same() -> None:
    small, large = draw_sample(BACKGROUNDS, 10, seed=1), draw_sample(BACKGROUNDS, 20, seed=1)
    assert set(small["photo_id"].to_pylist()) < set(large["photo_id"].to_pylist())
    assert draw_sample(BACKGROUNDS.take(np.arange(len(ROWS))[::-1]), 10, seed=1) == small
    assert len(set(small["sample_id"].to_pylist())) == 1 and small["sample_id"][0] != large["sample_id"][0]


def test_every_photo_is_as_likely_and_the_order_tells_no_group() -> None:
    drawn: Counter[str] = Counter()
    first = Counter()
    for seed in range(400):
        sample = draw_sample(BACKGROUNDS, 20, seed=seed, class_ids=["fox"])
        drawn.update(sample["photo_id"].to_pylist())
        first[sample["photo_id"][0].as_py().split("-")[1]] += 1
    snow = np.array([drawn[f"fox-snow-{n}"] for n in range(200)])
    # 400 draws of a tenth: 40, standard deviation 6
    assert abs(snow.mean() - 40) < 1e-9 and snow.min() > 15 and snow.max() < 65
    # 20 of 52 shown are of snow, 12 of rock, 20 without a group
    assert abs(first["snow"] / 400 - 20 / 52) < 0.1 and abs(first["rock"] / 400 - 12 / 52) < 0.1
