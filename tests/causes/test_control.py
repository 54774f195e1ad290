"""Balance, adjustment and robustness: against worked examples, slow recounts and worlds of known truth."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.causes.control import (
    MIN_UNITS,
    Pair,
    Regression,
    control,
    design_of,
    difference,
    moved,
    partial_r2,
    regress,
    robustness_value,
    times_as_strong,
    values_of,
)
from counterset.causes.covariates import known_covariates
from counterset.causes.schemas import COVARIATES
from counterset.manifests import manifest_path
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
    return Pair(outcome, is_common, unit, table)


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


def test_parts_and_rest_sum_to_the_plain_drop() -> None:
    for seed in range(5):
        pair = drawn(np.random.default_rng(seed), effect=0.2)
        found = control(pair, 0.2)
        assert found is not None
        parts = [row["explained"] for row in found.rows if row["explained"] is not None]
        assert len(parts) == 3
        assert math.fsum(parts) + found.whole.drop == pytest.approx(found.plain.drop)
        assert all(
            row["explained_low"] < row["explained"] < row["explained_high"]
            for row in found.rows
            if row["explained"] is not None
        )


def test_the_interval_of_a_part_covers() -> None:
    """What goes with the confounder, over 200 worlds, against its mean over 400 others."""

    def parts(seeds: range) -> list[dict[str, Any]]:
        worlds = (control(drawn(np.random.default_rng(seed)), 0.0) for seed in seeds)
        return [next(row for row in found.rows if row["covariate"] == "observer_accuracy") for found in worlds if found]

    truth = np.mean([row["explained"] for row in parts(range(1000, 1400))])
    assert 0.12 < truth < 0.25
    covered = np.mean([row["explained_low"] <= truth <= row["explained_high"] for row in parts(range(200))])
    assert 0.9 <= covered <= 0.99


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


def test_partial_r2_is_that_of_residuals() -> None:
    rng = np.random.default_rng(0)
    others, column = rng.normal(0, 1, (200, 2)), rng.normal(0, 1, (200, 1))
    target = others @ [1.0, 2.0] + column[:, 0] + rng.normal(0, 1, 200)
    base = np.column_stack([np.ones(200), others])
    left = [values - base @ np.linalg.lstsq(base, values, rcond=None)[0] for values in (target, column[:, 0])]
    assert partial_r2(target, others, column) == pytest.approx(np.corrcoef(*left)[0, 1] ** 2)
    assert partial_r2(np.ones(200), others, column) == 0.0


def test_standardised_differences_by_hand() -> None:
    pair = Pair(np.zeros(6), np.array([True] * 3 + [False] * 3), np.arange(6), known(6, luminance=[1, 2, 3, 3, 4, 8]))
    found = difference(pair, BY_NAME["luminance"])
    assert found["difference"] == pytest.approx((2 - 5) / math.sqrt((1 + 7) / 2))
    assert (found["mean_common"], found["mean_counter"], found["num_known"]) == (2, 5, 6)
    assert difference(pair, BY_NAME["place_photos"])["difference"] is None


def test_scales() -> None:
    table = known(4, month=[3, 6, 12, None], subspecies=["a b c", None, None, "a b d"], observer_photos=[0, 1, 3, 7])
    assert values_of(table, BY_NAME["month"])[:3] == pytest.approx(np.array([[1, 0], [0, -1], [0, 1]]), abs=1e-12)
    assert np.isnan(values_of(table, BY_NAME["month"])[3]).all()
    assert values_of(table, BY_NAME["subspecies"])[:, 0].tolist() == [0, 1, 1, 0], "the commonest or another"
    assert values_of(table, BY_NAME["observer_photos"])[:, 0] == pytest.approx(np.log1p([0, 1, 3, 7]))
    table = known(2, megapixels=[0.5, 2.0])
    assert values_of(table, BY_NAME["megapixels"])[:, 0] == pytest.approx(np.log([0.5, 2.0]))


def test_what_is_not_known_or_says_the_same_has_no_column() -> None:
    rng = np.random.default_rng(0)
    some = [None] * 30 + list(rng.random(70))
    table = known(100, megapixels=np.exp(rng.normal(0, 1, 100)), luminance=some, sharpness=[1.0] * 100)
    assert [covariate.name for covariate in design_of(table).covariates] == ["megapixels"]
    x = rng.random(100)
    table = known(100, luminance=x, contrast=1 - x, colourfulness=[None] * 10 + list(x[10:] ** 2))
    assert [covariate.name for covariate in design_of(table).covariates] == ["luminance", "colourfulness"]
    assert design_of(known(0)).columns.shape == (0, 0)


def test_few_units_take_few_columns_and_the_most_different_first() -> None:
    rng = np.random.default_rng(0)
    is_common = np.arange(40) % 2 == 0
    table = known(
        40, aspect=np.exp(rng.normal(0, 1, 40)), megapixels=np.exp(is_common + rng.normal(0, 0.3, 40)),
        observer_accuracy=rng.normal(0, 1, 40), observer_photos=rng.integers(0, 50, 40), month=rng.integers(1, 13, 40),
    )  # fmt: skip
    found = control(Pair(rng.random(40), is_common, np.arange(40), table), 0.0)
    assert found is not None
    assert found.adjust.columns.shape[1] <= 40 // 2 // 5
    assert "megapixels" in [covariate.name for covariate in found.adjust.covariates]
    few = 2 * (MIN_UNITS - 1)
    assert control(Pair(rng.random(few), is_common[:few], np.arange(few), table.slice(0, few)), 0.0) is None


def test_the_regression_is_least_squares_with_clustered_errors() -> None:
    """By hand: the sandwich over units with its two small-sample factors."""
    rng = np.random.default_rng(3)
    unit, is_common = np.repeat(np.arange(20), 5), rng.random(100) < 0.5
    columns, outcome = rng.normal(0, 1, (100, 2)), rng.random(100)
    found = regress(outcome, is_common, columns, unit)
    x = np.column_stack([np.ones(100), is_common, columns])
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ x.T @ outcome
    scores = np.array([x[unit == u].T @ (outcome - x @ beta)[unit == u] for u in range(20)])
    sandwich = bread @ scores.T @ scores @ bread * (20 / 19) * (99 / 96)
    assert found.drop == pytest.approx(beta[1]) and found.error == pytest.approx(math.sqrt(sandwich[1, 1]))
    assert found.coefficients == pytest.approx(beta[2:])
    assert found.influence.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)


def test_a_drop_moves_by_what_is_explained_and_its_interval_grows() -> None:
    def one(drop: float, error: float) -> Regression:
        return Regression(drop, error, error, 100, 5.0, np.zeros(0), np.zeros((0, 0)))

    found = moved(0.2, 0.1, 0.35, one(0.3, 0.05), one(0.25, 0.1))
    assert found[:3] == pytest.approx((0.15, -0.05, 0.45))
    assert found.p_value == pytest.approx(0.071, abs=0.001), "1.47 standard errors above 0"
    assert moved(0.2, None, None, one(0.3, 0.05), one(0.25, 0.1)) == (pytest.approx(0.15), None, None, None)
    half = one(0.25, 0.1)._replace(rest=2.5)
    assert moved(0.2, None, None, one(0.3, 0.05), half).drop == pytest.approx(0.2), "half of the luck is left in it"
    assert moved(0.9, 0.8, 1.0, one(0.8, 0.1), one(0.95, 0.1))[:3] == pytest.approx((1.0, 0.9, 1.0)), (
        "no drop is above 1"
    )
    assert moved(0.2, 0.2, 0.2, one(0.3, 0.0), one(0.3, 0.0)).p_value == 0.0


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    """The packaged release's own files."""
    [folder] = manifest_path("releases").glob("*/1.0.0")
    names = ("all_photos", "pairs", "predictions", "covariates", "balance", "controlled")
    return {name: pq.read_table(folder / f"{name}.parquet") for name in names}


def columns_of(photos: list[dict[str, Any]], names: list[str]) -> dict[str, list[Any]]:
    """The numbers of covariates as the method page says: logarithms, a circle, the commonest value or another."""
    found: dict[str, list[Any]] = {}
    for name in names:
        values = [row[name] for row in photos]
        if name == "month":
            found[name] = [np.sin(np.pi * np.array(values) / 6), np.cos(np.pi * np.array(values) / 6)]
        elif name == "subspecies":
            found[name] = [np.array([float(values.count(value) == max(map(values.count, values))) for value in values])]
        elif name in ("megapixels", "aspect", "size_bytes", "observer_photos", "place_photos"):
            found[name] = [np.log(values) if min(values) > 0 else np.log1p(values)]
        else:
            found[name] = [np.array(values)]
    return found


def test_the_release_can_be_recounted_from_its_files(tables: dict[str, Any]) -> None:
    """Every drop, difference and part of the packaged release, by SQL and least squares alone."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        rows = connection.sql(
            'SELECT a.class_id, c.*, p.is_correct, a."group" = q.common AS is_common FROM all_photos a '
            "JOIN pairs q USING (class_id) JOIN covariates c USING (photo_id) "
            "JOIN predictions p ON p.photo_id = a.photo_id AND p.model = 'demo:selector' "
            'WHERE a."group" IN (q.common, q.counter) ORDER BY a.photo_id'
        ).to_arrow_table()
    pairs = {row["class_id"]: row for row in tables["pairs"].to_pylist()}
    controlled = tables["controlled"].to_pylist()
    assert len(controlled) == len([row for row in pairs.values() if row["common"]])
    for row in controlled:
        own = [photo for photo in rows.to_pylist() if photo["class_id"] == row["class_id"]]
        common = np.array([photo["is_common"] for photo in own])
        right = np.array([float(photo["is_correct"]) for photo in own])
        plain = right[common].mean() - right[~common].mean()
        assert (row["num_photos"], row["drop_plain"]) == (len(own), pytest.approx(plain))
        balance = {
            line["covariate"]: line for line in tables["balance"].to_pylist() if line["class_id"] == row["class_id"]
        }
        taken = [name for name, line in balance.items() if line["explained"] is not None]
        for names, column in ((row["covariates"], "drop_controlled"), (taken, "drop_unexplained")):
            columns = columns_of(own, names)
            x = np.column_stack([np.ones(len(own)), common, *(each for of in columns.values() for each in of)])
            beta = np.linalg.lstsq(x, right, rcond=None)[0]
            rest = [((right - each @ np.linalg.lstsq(each, right, rcond=None)[0]) ** 2).sum() for each in (x, x[:, :2])]
            expected = beta[1] - rest[0] / rest[1] * (plain - pairs[row["class_id"]]["drop"])
            assert row[column] == pytest.approx(min(expected, 1.0), abs=1e-6), row["class_id"]
            assert row[f"{column}_low"] <= row[column] <= row[f"{column}_high"], row["class_id"]
        place = 2
        for name, of in columns.items():
            gaps = [each[common].mean() - each[~common].mean() for each in of]
            part = float(beta[place : place + len(of)] @ gaps)
            place += len(of)
            assert balance[name]["explained"] == pytest.approx(part, abs=1e-6), name
            if len(of) == 1:
                spread = math.sqrt((of[0][common].var(ddof=1) + of[0][~common].var(ddof=1)) / 2)
                assert balance[name]["difference"] == pytest.approx(gaps[0] / spread), name


def test_the_demos_planted_drops_remain(tables: dict[str, Any]) -> None:
    """Its world has no confounder, so what remains is the drop."""
    pairs = {row["class_id"]: row for row in tables["pairs"].to_pylist()}
    for row in tables["controlled"].to_pylist():
        assert abs(row["drop_controlled"] - pairs[row["class_id"]]["drop"]) < 0.05, row["class_id"]
        assert 0.85 < row["overlap"] <= 1.0
        assert (row["q_controlled"] <= 0.05) >= (pairs[row["class_id"]]["verdict"] == "confirmed")
