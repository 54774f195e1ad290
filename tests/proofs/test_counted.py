"""Short cuts of the proofs: the same outcomes as counting tables gives, and the same verdicts as a build's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterset.config import SelectConfig
from counterset.stages.select import pair_rows
from counterset.statistics.counts import count
from counterset.statistics.observers import Results

from . import counted as shortcuts
from .best import best_confirmed
from .counted import counted, verdicts_alone
from .regimes import BUILDS, LATENT, Regime, by_place
from .worlds import LABELS, Crowd, World

SMALL = Regime("small", Crowd(num_models=3), photos=40, num_classes=5, drop=0.4, num_planted=3, num_selectors=2)


def table(results: Results, graded: Results) -> np.ndarray:
    """(C, 7) rows in an order that does not depend on how observers are numbered."""
    columns = [results.group, results.half, results.num_photos, results.sum_correct, results.sum_squares]
    rows = np.column_stack([*columns, graded.sum_correct, graded.sum_squares])
    return rows[np.lexsort(rows.round(9).T)]


@pytest.mark.parametrize("share", [0.5, 0.75])
@pytest.mark.parametrize("number", [1, 2])
def test_outcomes_are_those_that_counting_gives(share: float, number: int) -> None:
    world = SMALL.draw(0)
    expected = count(
        *world.tables(share), selectors=world.models[:number], label_space=LABELS, class_ids=world.class_ids
    ).classes
    found = counted(world, number, share)
    assert [(units.class_id, units.groups) for units in found] == [(units.class_id, units.groups) for units in expected]
    for one, other in zip(found, expected, strict=True):
        assert table(one.results, one.graded) == pytest.approx(table(other.results, other.graded))
        assert len(set(one.results.observer)) == len(set(other.results.observer))
        assert one.num_sure == pytest.approx(one.results.num_photos)
        assert sorted(one.correct_sure) == pytest.approx(sorted(other.correct_sure))


def test_verdicts_are_those_of_the_whole_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "NUM_SPLITS", 1_000)
    regime = replace(SMALL, photos=100, num_classes=12, num_planted=6, drop=0.25, crowd=replace(LATENT, num_models=2))
    config = SelectConfig(**regime.config)
    verdicts = []
    for seed in range(2):
        classes = counted(regime.draw(seed), 2, 0.75)
        whole = pair_rows(classes, config, seed=seed)
        with verdicts_alone(config.max_q_value):
            short = pair_rows(classes, config, seed=seed)
        for one, other in zip(short, whole, strict=True):
            for name in ("verdict", "common", "counter", "drop", "drop_low", "drop_high", "p_value_drop", "is_uneven"):
                assert one[name] == other[name]
            assert one["p_value"] in (1.0, other["p_value"])
            assert one.get("drop_adjusted_low") == other.get("drop_adjusted_low")
        verdicts += [row["verdict"] for row in whole]
    assert 3 < verdicts.count("confirmed") < 21, "both verdicts are there to be compared"
    assert pair_rows(classes, config, seed=1)[0]["detectable_drop"] < 1, "outside of it all is as it was"


def test_the_first_edition_chooses_by_answers_on_half_of_the_observers() -> None:
    """Margins that say the reverse of answers move today's choice and not the first one's."""
    regime = replace(SMALL, photos=100, num_selectors=1)
    world = regime.draw(0)
    turned = replace(world, margin=np.where(world.margin > 0, 1e-3, -1e-3) - 1e-4 * world.group[:, None])
    pairs = {
        name: [[(row["common"], row["counter"]) for row in build(regime, of, 0)] for of in (world, turned)]
        for name, build in BUILDS.items()
    }
    assert pairs["first"][0] == pairs["first"][1]
    assert pairs["now"][0] != pairs["now"][1]
    rows = BUILDS["first"](regime, world, 0)
    confirm = world.coin[world.observer] >= 0.5
    for row in rows:
        accuracies = [
            (world.margin[confirm & (world.class_index == number) & (world.group == world.groups.index(name)), 0] > 0)
            for number in [world.class_ids.index(row["class_id"])]
            for name in (row["common"], row["counter"])
        ]
        assert row["drop_confirm"] == pytest.approx(accuracies[0].mean() - accuracies[1].mean())
    assert any(row["verdict"] == "confirmed" for row in rows)


def test_the_first_editions_correlation_follows_who_has_the_easy_classes() -> None:
    """The bias that its successor does not have: prolific observers in easy classes look far more alike than 0.1."""
    easy = replace(SMALL, crowd=Crowd(rho=0.1, crossing=0.0), photos=200, num_classes=20, drop=0.0)
    same = BUILDS["first"](easy, easy.draw(0), 0)[0]["observer_correlation"]
    assert same == pytest.approx(0.1, abs=0.03)


def test_the_best_test_knows_the_pair() -> None:
    regime = replace(SMALL, crowd=replace(LATENT, num_models=2), photos=150, num_classes=20, drop=0.2, base=(0.7, 0.7))
    worlds: list[World] = [regime.draw(seed) for seed in range(8)]
    best = [best_confirmed(regime, world) for world in worlds]
    by_margins, by_answers = (np.mean([one[name] for one in best]) for name in ("best", "best_answers"))
    assert 2 < by_answers <= by_margins <= 3
    swapped = [
        replace(world, group=np.where(world.group == 1, 2, np.where(world.group == 2, 1, world.group)))
        for world in worlds
    ]
    assert not any(best_confirmed(regime, world)["best"] for world in swapped), "one-sided"
    assert best_confirmed(replace(regime, drop=0.0), worlds[0]) == {"best": 0.0, "best_answers": 0.0}


def test_a_procedure_is_given_the_build() -> None:
    crowd = Crowd(observers_per_place=4, crossing=0.0)
    regime = replace(SMALL, crowd=crowd, num_selectors=1, procedure=by_place, config=SMALL.config | {"min_units": 2})
    world = regime.draw(0)
    seen = regime.run(world, 0, lambda of, seen, seed, held={}: [{"units": len(np.unique(seen.observer))}])
    assert seen == [{"units": len(np.unique(world.by_place().observer))}]
    assert seen[0]["units"] < len(np.unique(world.observer))
