"""Balance, adjustment and robustness: against worked examples, slow recounts and worlds of known truth."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import t

from counterset.causes.balance import (
    BACKGROUND,
    UNEXPLAINED,
    balance_of,
    components_of,
    differences,
    over_classes,
    with_background,
)
from counterset.causes.control import MIN_UNITS, Interval, Pair, control, moved, robustness_value, times_as_strong
from counterset.causes.controlled import Residuals, what_remains
from counterset.causes.covariates import known_covariates
from counterset.causes.design import COMMON, COUNTER, Design, all_values_of, design_of, values_of
from counterset.causes.regression import Regression, Units, regress
from counterset.causes.schemas import APPEARANCE, COVARIATES
from counterset.manifests import manifest_path
from counterset.statistics.observers import Dispersion, Results
from counterset.tables import table_of

BY_NAME = {covariate.name: covariate for covariate in known_covariates()}


def known(number: int, **columns: Any) -> pa.Table:
    """A covariates table whose other columns are null or constant."""
    whole = {name: [None] * number for name in COVARIATES.arrow().names}
    whole |= {"photo_id": [f"{i:06d}" for i in range(number)], "class_id": ["c"] * number}
    whole |= {"megapixels": [1.0] * number, "aspect": [1.0] * number, "size_bytes": [1] * number}
    return table_of(COVARIATES, whole | {"observer_photos": [0] * number} | columns)


def drawn(rng: np.random.Generator, photos: int = 240, effect: float = 0.0, strength: float = 0.3) -> Pair:
    """A pair of which `observer_accuracy` is higher on common and drives the outcome; units of three photos."""
    unit = np.repeat(np.arange(photos // 3), 3)
    is_common = rng.random(photos) < 0.5
    x = 0.5 * rng.normal(0, 1, photos // 3)[unit] + rng.normal(0, 1, photos) + np.where(is_common, 0.4, -0.4)
    luck = 0.1 * rng.normal(0, 1, photos // 3)[unit]
    chance = np.clip(0.5 + strength * np.tanh(x) + luck + np.where(is_common, effect / 2, -effect / 2), 0, 1)
    outcome = (rng.random(photos) < chance).astype(np.float64)
    table = known(
        photos, observer_accuracy=x, month=rng.integers(1, 13, photos), aspect=np.exp(rng.normal(0, 0.3, photos))
    )
    return Pair(outcome, np.where(is_common, COMMON, COUNTER), unit, table)


def plain_drop(pair: Pair) -> float:
    return float(pair.outcome[pair.group == COMMON].mean() - pair.outcome[pair.group == COUNTER].mean())


def test_a_confounder_is_taken_out_and_the_interval_covers() -> None:
    """200 worlds without an effect: the plain drop is 20 points, the controlled one none."""
    plain, left, covered = [], [], 0
    for seed in range(200):
        found = control(drawn(np.random.default_rng(seed)), 0.0)
        assert found is not None
        plain.append(found.plain.drop)
        left.append(found.controlled.drop)
        covered += abs(found.controlled.drop) <= 1.98 * found.controlled.error
    assert np.mean(plain) > 0.12
    assert abs(np.mean(left)) < 0.02
    assert 0.91 <= covered / 200 <= 0.99


def test_parts_and_rest_sum_to_the_drop() -> None:
    """With the luck of the choice taken out of each as far as it is in it: here the plain drop is 0.05 too large."""
    for seed in range(5):
        pair = drawn(np.random.default_rng(seed), effect=0.2)
        drop = plain_drop(pair) - 0.05
        found = control(pair, drop)
        assert found is not None
        rest = moved(drop, drop - 0.1, drop + 0.1, found.plain, found.whole)
        parts = [row["explained"] for row in balance_of(pair, found) if row["explained"] is not None]
        assert len(parts) == 3
        assert math.fsum(parts) + rest.drop == pytest.approx(drop)
        components = components_of(found, rest)
        assert math.fsum(row["explained"] or 0.0 for row in components) == pytest.approx(drop)
        assert components[-1]["component"] == UNEXPLAINED
        by_name = {row["component"]: row for row in components}
        assert by_name["photographer"]["covariates"] == ["aspect", "observer_accuracy"]
        assert by_name["light and sharpness"]["explained"] is None, "nothing of it is known here"
        known = [row for row in components if row["explained"] is not None]
        assert all(row["explained_low"] < row["explained"] < row["explained_high"] for row in known)


def test_the_interval_of_a_part_covers() -> None:
    """What goes with the confounder, over 200 worlds, against its mean over 400 others."""

    def parts(seeds: range) -> list[dict[str, Any]]:
        rows = []
        for seed in seeds:
            pair = drawn(np.random.default_rng(seed))
            found = control(pair, plain_drop(pair))  # nothing was chosen, so there is no luck in it
            assert found is not None
            rows.append(components_of(found, Interval(0.0, None, None, None)))
        return [next(row for row in of if row["component"] == "photographer") for of in rows]

    truth = np.mean([row["explained"] for row in parts(range(1000, 1400))])
    assert 0.12 < truth < 0.25
    covered = np.mean([row["explained_low"] <= truth <= row["explained_high"] for row in parts(range(200))])
    assert 0.9 <= covered <= 0.99


def test_means_over_classes_by_hand() -> None:
    def row(component: str, *ends: float | None) -> dict[str, Any]:
        return {"component": component} | dict(zip(("explained", "explained_low", "explained_high"), ends, strict=True))

    rows = [row("size", 0.1, 0.07, 0.12), row("rest", 0.2, 0.1, 0.3), row("light", None, None, None)]
    rows += [row("size", None, None, None), row("rest", 0.4, 0.3, 0.6), row("light", None, None, None)]
    size, rest, light = over_classes(rows)
    assert (size["num_classes"], size["explained"]) == (1, pytest.approx(0.05)), "0 where nothing of it is known"
    assert (size["explained_low"], size["explained_high"]) == (pytest.approx(0.035), pytest.approx(0.06))
    reach = [math.hypot(0.1, 0.1) / 2, math.hypot(0.1, 0.2) / 2]
    assert (rest["explained_low"], rest["explained_high"]) == pytest.approx((0.3 - reach[0], 0.3 + reach[1]))
    assert (light["num_classes"], light["explained"], light["explained_low"]) == (0, None, None)
    without = over_classes([row("rest", 0.2, None, None), row("rest", 0.4, 0.3, 0.6)])[0]
    assert (without["explained"], without["explained_low"]) == (pytest.approx(0.3), None)


def test_an_intervention_takes_its_part_from_what_is_unexplained() -> None:
    """By hand: 40 points, of which the season is 5, light 8 and nothing known of the photographer."""

    def row(component: str, *ends: float | None) -> dict[str, Any]:
        names = ("explained", "explained_low", "explained_high")
        return {"class_id": "c", "component": component, "covariates": ["x"]} | dict(zip(names, ends, strict=True))

    rows = [row("season and life stage", 0.05, 0.02, 0.08), row("photographer", None, None, None)]
    rows += [row("light and sharpness", 0.08, 0.04, 0.11), row(UNEXPLAINED, 0.27, 0.2, 0.3)]
    season, photographer, background, left = with_background(rows, Interval(0.3, 0.25, 0.4, None))
    assert season["explained_high"] == 0.08 and photographer["explained"] is None, "as they were"
    assert (background["component"], background["explained"], background["explained_high"]) == (BACKGROUND, 0.3, 0.4)
    assert left["component"] == UNEXPLAINED and left["explained"] == pytest.approx(0.08 + 0.27 - 0.3)
    assert left["explained_low"] == pytest.approx(0.05 - math.hypot(0.04, 0.07, 0.1))
    assert left["explained_high"] == pytest.approx(0.05 + math.hypot(0.03, 0.03, 0.05))
    assert math.fsum(one["explained"] or 0 for one in (season, background, left)) == pytest.approx(0.4)
    without = with_background(rows, Interval(0.3, None, None, None))[-1]
    assert (without["explained"], without["explained_low"]) == (pytest.approx(0.05), None)


def test_robustness_values_of_the_published_example() -> None:
    """Cinelli and Hazlett (2020), violence in Darfur: t = 4.18 with 783 degrees of freedom; a cause as strong as the
    covariate `female` would leave 0.075 of 0.097."""
    assert robustness_value(4.18445, 783) == pytest.approx(0.1387, abs=0.0005)
    assert robustness_value(0.0, 783) == 0.0
    # female: partial R2 0.00916 with the treatment and 0.10903 with the outcome
    once = 1 - 0.0752 / 0.0973
    times = times_as_strong(4.18445 * once, 783, 0.00916, 0.10903)
    assert times == pytest.approx(1.0, abs=0.03)


def test_a_covariate_of_no_strength_says_nothing() -> None:
    assert times_as_strong(3.0, 100, 0.0, 0.2) is None
    assert times_as_strong(0.0, 100, 0.1, 0.1) == pytest.approx(0.0, abs=1e-9)


def slow_partial_r2(target: np.ndarray, others: np.ndarray, columns: np.ndarray) -> float:
    """The share of what others leave of the target that columns explain, by two regressions."""

    def left(exogenous: np.ndarray) -> float:
        return float(((target - exogenous @ np.linalg.lstsq(exogenous, target, rcond=None)[0]) ** 2).sum())

    return 1 - left(np.column_stack([others, columns])) / left(others)


def test_partial_r2_is_that_of_two_regressions() -> None:
    """Of a covariate of one column and one of two, which go with the groups and with each other."""
    rng = np.random.default_rng(0)
    group, unit = rng.integers(0, 4, 300), np.arange(300)
    columns = rng.normal(0, 1, (300, 3)) @ rng.normal(0, 1, (3, 3)) + 0.5 * (group == COMMON)[:, None]
    outcome = columns @ [0.3, -0.2, 0.5] + 0.4 * (group == COMMON) + rng.normal(0, 1, 300)
    found = regress(outcome, group, columns, Units.of(unit, group), [3])[0]
    is_common = (group == COMMON).astype(np.float64)
    base = np.column_stack([np.ones(300), group == 2, group == 3])
    for own in ([0], [1, 2]):
        others = np.column_stack([base, np.delete(columns, own, axis=1)])
        of_group, of_outcome = found.partial_r2(np.array(own))
        assert of_group == pytest.approx(slow_partial_r2(is_common, others, columns[:, own]))
        beside = np.column_stack([others, is_common])
        assert of_outcome == pytest.approx(slow_partial_r2(outcome, beside, columns[:, own]))
    plain = regress(outcome, group, columns, Units.of(unit, group), [0])[0]
    left = plain.inverse[1, 1] / found.inverse[1, 1]
    assert left == pytest.approx(1 - slow_partial_r2(is_common, base, columns)), "the overlap"


def test_covariates_that_say_which_group_it_is_leave_no_overlap() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat([COMMON, COUNTER, 2], 40)
    table = known(120, life_stage=np.where(group == COMMON, "adult", "juvenile"), aspect=np.exp(rng.normal(0, 1, 120)))
    pair = Pair((rng.random(120) < 0.5).astype(np.float64), group, np.arange(120), table)
    found = control(pair, plain_drop(pair))
    assert found is not None and "life_stage" in [covariate.name for covariate in found.adjust.covariates]
    assert found.overlap == 0.0
    rows = {row["covariate"]: row for row in balance_of(pair, found)}
    assert rows["life_stage"]["partial_r2_group"] == 1.0 and rows["life_stage"]["times_as_strong"] is None
    assert all(math.isfinite(row["explained"]) for row in rows.values() if row["explained"] is not None)


def test_standardised_differences_by_hand() -> None:
    group = np.repeat([COMMON, COUNTER, 2], 3)
    pair = Pair(np.zeros(9), group, np.arange(9), known(9, luminance=[1, 2, 3, 3, 4, 8, 90, 91, 92]))
    found = differences(pair)["luminance"]
    assert found["difference"] == pytest.approx((2 - 5) / math.sqrt((1 + 7) / 2))
    assert (found["mean_common"], found["mean_counter"], found["num_known"]) == (2, 5, 6)
    assert differences(pair)["place_photos"]["difference"] is None


def test_scales() -> None:
    table = known(4, month=[3, 6, 12, None], subspecies=["a b c", None, None, "a b d"], observer_photos=[0, 1, 3, 7])
    assert values_of(table, BY_NAME["month"])[:3] == pytest.approx(np.array([[1, 0], [0, -1], [0, 1]]), abs=1e-12)
    assert np.isnan(values_of(table, BY_NAME["month"])[3]).all()
    assert values_of(table, BY_NAME["subspecies"])[:, 0].tolist() == [0, 1, 1, 0], "the commonest or another"
    assert values_of(table, BY_NAME["observer_photos"])[:, 0] == pytest.approx(np.log1p([0, 1, 3, 7]))
    table = known(4, life_stage=["adult", "juvenile", None, "adult"], hour=[0, 6, None, 18])
    assert values_of(table, BY_NAME["life_stage"])[:, 0] == pytest.approx([1, 0, math.nan, 1], nan_ok=True)
    assert np.isnan(values_of(table, BY_NAME["sex"])).all(), "nobody said"
    assert values_of(table, BY_NAME["hour"])[[0, 1, 3]] == pytest.approx(np.array([[0, 1], [1, 0], [-1, 0]]), abs=1e-12)
    table = known(2, megapixels=[0.5, 2.0])
    assert values_of(table, BY_NAME["megapixels"])[:, 0] == pytest.approx(np.log([0.5, 2.0]))


def test_what_is_not_known_or_says_the_same_has_no_column() -> None:
    rng = np.random.default_rng(0)
    some = [None] * 30 + list(rng.random(70))
    table = known(100, megapixels=np.exp(rng.normal(0, 1, 100)), luminance=some, sharpness=[1.0] * 100)
    assert names_of(design_of(all_values_of(table))) == ["megapixels"]
    x = rng.random(100)
    table = known(100, luminance=x, contrast=1 - x, colourfulness=[None] * 10 + list(x[10:] ** 2))
    assert names_of(design_of(all_values_of(table))) == ["luminance", "colourfulness"]
    assert design_of(all_values_of(known(0))).columns.shape == (0, 0)
    # Of three that say the same the first stays, whatever lies between them
    y = rng.random(100)
    table = known(100, sharpness=x, luminance=y, contrast=x + y, colourfulness=2 * x - y)
    assert names_of(design_of(all_values_of(table))) == ["sharpness", "luminance"]


def names_of(design: Design) -> list[str]:
    return [covariate.name for covariate in design.covariates]


def test_few_units_take_few_columns_and_the_most_different_first() -> None:
    rng = np.random.default_rng(0)
    is_common = np.arange(40) % 2 == 0
    table = known(
        40, aspect=np.exp(rng.normal(0, 1, 40)), megapixels=np.exp(is_common + rng.normal(0, 0.3, 40)),
        observer_accuracy=rng.normal(0, 1, 40), observer_photos=rng.integers(0, 50, 40), month=rng.integers(1, 13, 40),
    )  # fmt: skip
    group = np.where(is_common, COMMON, COUNTER)
    found = control(Pair(rng.random(40), group, np.arange(40), table), 0.0)
    assert found is not None
    assert found.adjust.columns.shape[1] <= 40 // 2 // 5
    assert "megapixels" in [covariate.name for covariate in found.adjust.covariates]
    few = 2 * (MIN_UNITS - 1)
    assert control(Pair(rng.random(few), group[:few], np.arange(few), table.slice(0, few)), 0.0) is None


def test_the_regression_is_least_squares_with_clustered_errors() -> None:
    """By hand: the sandwich over units with its two small-sample factors."""
    rng = np.random.default_rng(3)
    unit, group = np.repeat(np.arange(20), 5), rng.integers(0, 4, 100)
    columns, outcome = rng.normal(0, 1, (100, 2)), rng.random(100)
    found, without = regress(outcome, group, columns, Units.of(unit, group), [2, 0])
    x = np.column_stack([np.ones(100), group == COMMON, group == 2, group == 3, columns])
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ x.T @ outcome
    scores = np.array([x[unit == u].T @ (outcome - x @ beta)[unit == u] for u in range(20)])
    sandwich = bread @ scores.T @ scores @ bread * (20 / 19) * (99 / 94)
    assert found.drop == pytest.approx(beta[1]) and found.error == pytest.approx(math.sqrt(sandwich[1, 1]))
    assert found.coefficients == pytest.approx(beta[4:])
    assert found.moves == pytest.approx((scores @ bread)[:, [1, 4, 5]], abs=1e-12)
    assert found.num_units == len(set(unit[group < 2]))
    assert without.drop == pytest.approx(outcome[group == COMMON].mean() - outcome[group == COUNTER].mean())
    assert (without.freedom, found.freedom) == (96, 94)


def test_photos_of_other_groups_say_what_a_covariate_does_and_nothing_of_the_drop() -> None:
    """100 worlds in which covariate and group go together: the errors are smaller by a fifth or more, and right."""
    errors, left, said = [], [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        group = np.repeat([COMMON, COUNTER, 2, 3], 60)
        x = (rng.random(240) < np.array([0.9, 0.1, 0.5, 0.5])[group]).astype(np.float64)
        chance = np.array([0.7, 0.5, 0.2, 0.6])[group] + 0.2 * (x - 0.5)
        outcome = (rng.random(240) < chance).astype(np.float64)
        table, drop = known(240, observer_accuracy=x), 0.0
        pair = Pair(outcome, group, np.arange(240), table)
        alone = control(Pair(outcome[:120], group[:120], np.arange(120), table.slice(0, 120)), drop)
        beside = control(pair, drop)
        assert alone is not None and beside is not None
        assert beside.plain.drop == pytest.approx(alone.plain.drop) == pytest.approx(plain_drop(pair))
        errors.append(beside.controlled.error / alone.controlled.error)
        left.append(beside.controlled.drop - 0.2)
        said.append(beside.controlled.error)
    assert np.mean(errors) < 0.8
    assert abs(np.mean(left)) < 0.03 and np.mean(said) == pytest.approx(np.std(left), rel=0.2)


def test_a_covariate_that_does_not_vary_in_the_pair_is_not_taken_out() -> None:
    rng = np.random.default_rng(0)
    hour = [12] * 80 + rng.integers(0, 24, 40).tolist()
    table = known(120, hour=hour, aspect=np.exp(rng.normal(0, 1, 120)))
    found = control(Pair(rng.random(120), np.repeat([COMMON, COUNTER, 2], 40), np.arange(120), table), 0.0)
    assert found is not None and [covariate.name for covariate in found.adjust.covariates] == ["aspect"]


def test_a_drop_moves_by_what_is_explained_and_its_interval_with_it() -> None:
    def one(drop: float, error: float, *moves: float) -> Regression:
        return Regression(len(moves), drop, error, error, 100, 4.0, np.zeros(0), np.array([moves]).T, np.eye(2), True)

    plain = one(0.3, 0.05, 0.03, -0.04, 0.0)
    same = moved(0.2, 0.1, 0.35, plain, one(0.25, 0.05, 0.03, -0.04, 0.0))
    assert same[:3] == pytest.approx((0.15, 0.05, 0.3)), "all of the luck is in it, and the interval is the drop's"
    assert same.p_value == pytest.approx(0.0016, abs=0.0001), "2.94 standard errors above 0"
    half = moved(0.2, 0.1, 0.35, plain, one(0.25, 0.05, 0.015, -0.02, 0.06)._replace(rest=1.0))
    assert half.drop == pytest.approx(0.2), "half of the luck is left in it"
    beside = t.ppf(0.975, 2) * math.sqrt(0.05**2 - 0.025**2)  # what moves it and not the plain drop
    assert half[1:3] == pytest.approx((0.2 - math.hypot(0.05, beside), 0.2 + math.hypot(0.075, beside)))
    few = moved(0.2, 0.1, 0.35, plain, one(0.25, 0.001, 0.0, 0.0, 0.001)._replace(rest=2.56))
    assert few[1:3] == pytest.approx((few.drop - 0.08, few.drop + 0.12)), (
        "one wrong answer moves nothing, and says little"
    )
    assert moved(0.2, None, None, plain, plain._replace(drop=0.25)) == (pytest.approx(0.15), None, None, None)
    past = moved(0.9, 0.8, 1.0, one(0.8, 0.1, 1.0), one(0.95, 0.1, 1.0))
    assert past[:3] == pytest.approx((1.05, 0.95, 1.15)) and past.possible()[:3] == (1.0, pytest.approx(0.95), 1.0)
    assert moved(0.2, 0.2, 0.2, one(0.3, 0.0, 0.0), one(0.3, 0.0, 0.0)).p_value == 0.0


def test_the_luck_of_units_that_lean_to_a_covariate_is_taken_out_whole() -> None:
    """300 worlds without an effect, the group a coin: all of the plain drop is luck, and so is what of it remains.

    A third of the covariate and of the answers is the unit's own. What both drops owe to units is more alike than what
    they owe to photos; by photos too much of the luck would be taken out of the controlled one.
    """
    left, plain, shares = [], [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        unit = np.repeat(np.arange(40), 6)
        is_common = np.repeat(rng.random(80) < 0.5, 3)
        x = rng.normal(0, 1, 40)[unit] + rng.normal(0, 0.7, 240)
        outcome = (rng.random(240) < np.clip(0.5 + 0.2 * x, 0, 1)).astype(np.float64)
        pair = Pair(outcome, np.where(is_common, COMMON, COUNTER), unit, known(240, observer_accuracy=x))
        found = control(pair, 0.0)
        assert found is not None
        left.append(found.controlled.drop)
        plain.append(found.plain.drop)
        shares.append((found.controlled.drop - moved(0.0, None, None, found.plain, found.controlled).drop) / plain[-1])
    slope = np.cov(left, plain)[0, 1] / np.var(plain, ddof=1)
    assert np.mean(shares) == pytest.approx(slope, abs=0.06)
    assert slope < 0.7, "by residuals of photos it would be 0.78"


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    """The packaged release's own files."""
    [folder] = manifest_path("releases").glob("*/1.0.0")
    names = ("all_photos", "pairs", "predictions", "covariates", "balance", "decomposition", "controlled")
    return {name: pq.read_table(folder / f"{name}.parquet") for name in names}


@pytest.fixture(scope="module")
def of_all_kinds() -> dict[str, Any]:
    """Two classes of which every covariate is known, three groups each, as `what_remains` leaves them."""
    rng = np.random.default_rng(8)
    number, photo_ids = 800, [f"{n:06d}" for n in range(800)]
    class_id, group = np.repeat(["bear", "fox"], 400), rng.integers(0, 3, number)

    def higher(spread: float = 1.0) -> Any:
        return rng.normal(0, spread, number) + np.array([0.4, -0.4, 0.0])[group] * spread

    def told(*words: str) -> list[str | None]:
        return [None if rng.random() < 0.1 else words[int(value > 0)] for value in higher()]

    columns = {name: np.exp(higher(0.3)) for name in ("megapixels", "aspect", "animal_share")}
    columns |= {name: higher() for name in ("observer_accuracy", "animal_offset", *APPEARANCE.arrow().names[1:])}
    counts = ("size_bytes", "observer_photos", "place_photos", "num_animals")
    columns |= {name: np.exp(2 + higher(0.5)).astype(np.int64) for name in counts}
    columns |= {
        "month": np.clip(6 + 3 * higher(), 1, 12).astype(int),
        "hour": np.clip(12 + 4 * higher(), 0, 23).astype(int),
    }
    columns |= {
        "subspecies": told("a b c", "a b d"),
        "life_stage": told("adult", "juvenile"),
        "sex": told("male", "female"),
    }
    chance = 0.6 + 0.05 * (columns["luminance"] + columns["animal_offset"]) + np.array([0.1, -0.1, 0.0])[group]
    right = rng.random(number) < chance
    unit = [f"{name}{n}" for name, n in zip(class_id, rng.integers(0, 1000, number), strict=True)]
    half = [("discover", "confirm")[int(n < 0.5)] for n in rng.random(number)]
    photos = {"photo_id": photo_ids, "class_id": class_id, "group": np.array(["snow", "grass", "rock"])[group]}
    photos |= {"unit": unit, "observer": unit, "half": half}
    answers = {"photo_id": photo_ids, "model": ["demo:selector"] * number, "is_correct": right, "margin": right - 0.5}
    pairs = []
    for name in ("bear", "fox"):
        sides = [right[(class_id == name) & (group == side)].mean() for side in (0, 1)]
        drop = sides[0] - sides[1] - 0.04
        ends = {"drop_low": drop - 0.1, "drop_high": drop + 0.12}
        pairs.append({"class_id": name, "common": "snow", "counter": "grass", "drop": drop} | ends)
    tables = {"all_photos": pa.table(photos), "pairs": pa.Table.from_pylist(pairs), "predictions": pa.table(answers)}
    covariates = table_of(COVARIATES, {"photo_id": photo_ids, "class_id": class_id} | columns)
    given: dict[str, Any] = {"min_photos": 10, "num_permutations": 50, "seed": 0}
    left = what_remains(*tables.values(), covariates, ["demo:selector"], **given)
    return tables | {"covariates": covariates} | left._asdict()


def columns_of(photos: list[dict[str, Any]], names: list[str], in_pair: Any) -> dict[str, list[Any]]:
    """The numbers of covariates as the method page says: logarithms, a circle, the commonest value or another."""
    found: dict[str, list[Any]] = {}
    for name in names:
        values = [row[name] for row in photos]
        if name in ("month", "hour"):
            turn = 2 * np.pi * np.array(values) / {"month": 12, "hour": 24}[name]
            found[name] = [np.sin(turn), np.cos(turn)]
        elif name in ("subspecies", "life_stage", "sex"):
            is_told = np.array([name == "subspecies" or value is not None for value in values])
            counted = [value for value, inside in zip(values, in_pair & is_told, strict=True) if inside]
            commonest = min(set(counted), key=lambda value: (-counted.count(value), value or ""))
            column = np.array([float(value == commonest) for value in values])
            found[name] = [np.where(is_told, column, column[in_pair & is_told].mean())]
        elif name in ("observer_accuracy", "animal_offset", *APPEARANCE.arrow().names[1:]):
            found[name] = [np.array(values)]
        else:
            found[name] = [np.log(values) if min(values) > 0 else np.log1p(values)]
    return found


def test_the_release_can_be_recounted_from_its_files(tables: dict[str, Any]) -> None:
    """Every drop, difference and part of the packaged release, by SQL and least squares alone."""
    recount(tables)


def test_all_components_can_be_recounted(of_all_kinds: dict[str, Any]) -> None:
    """The same where every covariate is known, which the packaged release's are not."""
    recount(of_all_kinds)
    parts = of_all_kinds["decomposition"].to_pylist()
    assert len(parts) == 2 * 5 and all(row["explained"] is not None for row in parts)
    assert {name for row in parts for name in row["covariates"]} == set(BY_NAME)


def recount(tables: dict[str, Any]) -> None:
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        rows = connection.sql(
            'SELECT a.class_id, a.unit, c.*, p.is_correct, a."group" = q.common AS is_common, '
            'a."group" = q.counter AS is_counter, a."group" AS place FROM all_photos a '
            "JOIN pairs q USING (class_id) JOIN covariates c USING (photo_id) "
            "JOIN predictions p ON p.photo_id = a.photo_id AND p.model = 'demo:selector' "
            'WHERE a."group" IS NOT NULL AND q.common IS NOT NULL ORDER BY a.photo_id'
        ).to_arrow_table()
    pairs = {row["class_id"]: row for row in tables["pairs"].to_pylist()}
    controlled = tables["controlled"].to_pylist()
    assert len(controlled) == len([row for row in pairs.values() if row["common"]])
    for row in controlled:
        own = [photo for photo in rows.to_pylist() if photo["class_id"] == row["class_id"]]
        common, counter = (np.array([photo[name] for photo in own]) for name in ("is_common", "is_counter"))
        in_pair = common | counter
        elsewhere = sorted({photo["place"] for photo, inside in zip(own, in_pair, strict=True) if not inside})
        right = np.array([float(photo["is_correct"]) for photo in own])
        plain = right[common].mean() - right[counter].mean()
        units = sorted({photo["unit"] for photo in own})
        unit = np.array([units.index(photo["unit"]) for photo in own])
        num_units = len(set(unit[in_pair]))
        assert (row["num_photos"], row["drop_plain"]) == (in_pair.sum(), pytest.approx(plain))
        balance = {
            line["covariate"]: line for line in tables["balance"].to_pylist() if line["class_id"] == row["class_id"]
        }
        taken = [name for name, line in balance.items() if line["explained"] is not None]
        groups = np.array([[photo["place"] == name for name in elsewhere] for photo in own]).reshape(len(own), -1)
        alone = np.column_stack([np.ones(len(own)), common, groups])
        for names, column in ((row["covariates"], "drop_controlled"), (taken, "drop_unexplained")):
            columns = columns_of(own, names, in_pair)
            x = np.column_stack([alone, *(each for of in columns.values() for each in of)])
            beta = np.linalg.lstsq(x, right, rcond=None)[0]
            moves = [moves_of_drop(right, each, unit) for each in (x, alone)]
            kept = (moves[0] @ moves[1]) / (moves[1] @ moves[1])
            expected = beta[1] - kept * (plain - pairs[row["class_id"]]["drop"])
            assert row[column] == pytest.approx(min(expected, 1.0), abs=1e-6), row["class_id"]
            assert row[f"{column}_low"] <= row[column] <= row[f"{column}_high"], row["class_id"]
        # Parts: coefficients times differences, less what each holds of the luck of the choice.
        luck, left = plain - pairs[row["class_id"]]["drop"], right - x @ beta
        within = x - np.where(common[:, None], x[common].mean(axis=0), x[counter].mean(axis=0))
        gaps = x[common].mean(axis=0) - x[counter].mean(axis=0)
        # Their errors: what each photo moves differences and coefficients by, summed by unit.
        to_gap = within * (common / common.sum() - counter / counter.sum())[:, None]
        of_photos = beta * to_gap + gaps * (x @ np.linalg.inv(x.T @ x) * left[:, None])
        of_units = np.stack([np.bincount(unit, column) for column in of_photos.T])
        parts = beta * gaps - luck * of_units @ moves[1] / (moves[1] @ moves[1])
        number_of: dict[str, list[int]] = {}
        for name, of in columns.items():
            start = alone.shape[1] + sum(map(len, number_of.values()))
            number_of[name] = list(range(start, start + len(of)))
            assert balance[name]["explained"] == pytest.approx(parts[number_of[name]].sum(), abs=1e-6), name
            if len(of) == 1 and name not in ("life_stage", "sex"):  # of these, some are not known
                spread = math.sqrt((of[0][common].var(ddof=1) + of[0][counter].var(ddof=1)) / 2)
                assert balance[name]["difference"] == pytest.approx(gaps[start] / spread), name
        components = [line for line in tables["decomposition"].to_pylist() if line["class_id"] == row["class_id"]]
        assert {name for line in components for name in line["covariates"]} == set(taken)
        for line in components:
            if line["component"] == UNEXPLAINED:
                errors = [clustered(right, each, unit) for each in (x, alone)]
                ends = [pairs[row["class_id"]][name] for name in ("drop", "drop_low", "drop_high")]
                value = beta[1] - kept * luck
                assert row["drop_unexplained"] == pytest.approx(min(value, 1.0), abs=1e-6)
                beside = t.ppf(0.975, num_units - 1) ** 2 * max(errors[0] ** 2 - (kept * errors[1]) ** 2, 0)
                rest = [
                    ((right - each @ np.linalg.lstsq(each, right, rcond=None)[0]) ** 2).sum() for each in (x, alone)
                ]
                arms = [
                    max(math.sqrt((kept * arm) ** 2 + beside), math.sqrt(rest[0] / rest[1]) * arm)
                    for arm in (ends[0] - ends[1], ends[2] - ends[0])
                ]
                expected = [value, value - arms[0], value + arms[1]]
            elif line["covariates"]:
                numbers = [number for name in line["covariates"] for number in number_of[name]]
                squares = (of_units[numbers].sum(axis=0) ** 2).sum()
                reach = t.ppf(0.975, num_units - 1) * math.sqrt(num_units / (num_units - 1) * squares)
                expected = parts[numbers].sum() + np.array([0, -reach, reach])
            else:
                assert line["explained"] is None
                continue
            found = [line[f"explained{end}"] for end in ("", "_low", "_high")]
            assert found == pytest.approx(list(expected), abs=1e-6), (row["class_id"], line["component"])
        total = math.fsum(line["explained"] or 0.0 for line in components)
        assert total == pytest.approx(pairs[row["class_id"]]["drop"], abs=1e-6)


def moves_of_drop(outcome: Any, x: Any, unit: Any) -> Any:
    """What each unit adds to the error of a regression's second coefficient."""
    left = outcome - x @ np.linalg.lstsq(x, outcome, rcond=None)[0]
    return np.bincount(unit, left * (x @ np.linalg.inv(x.T @ x)[:, 1]))


def clustered(outcome: Any, x: Any, unit: Any) -> float:
    """The standard error of a regression's second coefficient, by unit."""
    import statsmodels.api as sm

    found = sm.OLS(outcome, x).fit(cov_type="cluster", cov_kwds={"groups": unit})
    return math.sqrt(found.cov_params()[1, 1])


def test_the_demos_planted_drops_remain(tables: dict[str, Any]) -> None:
    """Its world has no confounder, so what remains is the drop."""
    pairs = {row["class_id"]: row for row in tables["pairs"].to_pylist()}
    for row in tables["controlled"].to_pylist():
        assert abs(row["drop_controlled"] - pairs[row["class_id"]]["drop"]) < 0.05, row["class_id"]
        assert 0.85 < row["overlap"] <= 1.0
        assert (row["q_controlled"] <= 0.05) >= (pairs[row["class_id"]]["verdict"] == "confirmed")


def test_a_difference_of_residuals_is_measured_by_its_own_noise() -> None:
    """2,000 draws of noise alone, alike within units: its variance with a covariate out that differs between groups."""
    rng = np.random.default_rng(4)
    group, unit = np.repeat([0, 1, 2], 60), np.tile(np.repeat(np.arange(30), 2), 3)
    x = np.column_stack([np.ones(180), rng.normal(0, 1, 180) + np.array([0.8, -0.8, 0.0])[group]])
    cell = group * 30 + unit
    blank = np.zeros(90)
    results = Results(
        3, np.repeat([0, 1, 2], 30), blank.astype(int), np.tile(np.arange(30), 3), blank + 2, blank, blank
    )
    weights = np.full(90, 2 / 1.3)
    share = Residuals.of(results, (0, 1), cell, x).variance_left(weights, 0.3)
    noise = math.sqrt(0.3) * rng.normal(0, 1, (2000, 30))[:, unit] + math.sqrt(0.7) * rng.normal(0, 1, (2000, 180))
    left = noise - noise @ x @ np.linalg.inv(x.T @ x) @ x.T
    spread = [
        (values[:, group == 0].mean(axis=1) - values[:, group == 1].mean(axis=1)).var() for values in (left, noise)
    ]
    assert share < 0.85
    assert share == pytest.approx(spread[0] / spread[1], rel=0.1)


def test_residuals_are_tested_with_the_variance_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    group, unit = np.repeat([0, 1], 60), np.tile(np.arange(60), 2)
    right = rng.permutation(np.linspace(0, 1, 60))[unit] + 0.05 * (group == 0)
    results = Results(2, group, unit % 2, unit, np.ones(120), right, right**2)
    residuals, found = Residuals.of(results, (0, 1), np.arange(120), np.ones((120, 1))), []
    for left in (1.0, 0.25):
        monkeypatch.setattr(Residuals, "variance_left", lambda *_, left=left: left)
        found.append(residuals.p_value(Dispersion(0.0, 1.0), 400, np.random.default_rng(0)))
    assert found[1] < found[0]


def test_the_variance_left_is_that_of_each_photo() -> None:
    """Units of one to five photos in up to three groups, three covariates: against (N,) contrasts and residuals."""
    rng = np.random.default_rng(5)
    group, unit = rng.integers(0, 3, 300), rng.integers(0, 90, 300)
    x = np.column_stack([np.ones(300), rng.normal(0, 1, (300, 3)) + (group == 0)[:, None] * [0.6, -0.3, 0.0]])
    cells, first, cell = np.unique(group * 100 + unit, return_index=True, return_inverse=True)
    size = np.bincount(cell).astype(np.float64)
    results = Results(3, group[first], np.zeros(len(cells), int), unit[first], size, size, size)
    weights = size / (1 + (size - 1) * 0.2)
    of_group = np.bincount(group[first], weights)
    contrast = (weights / size)[cell] * ((group == 1) / of_group[1] - (group == 2) / of_group[2])
    left = contrast - x @ np.linalg.lstsq(x, contrast, rcond=None)[0]
    for correlation in (0.0, 0.2, 1.0):
        variances = [
            (1 - correlation) * (values**2).sum() + correlation * (np.bincount(unit, values) ** 2).sum()
            for values in (left, contrast)
        ]
        found = Residuals.of(results, (1, 2), cell, x).variance_left(weights, correlation)
        assert found == pytest.approx(variances[0] / variances[1], rel=1e-9)
