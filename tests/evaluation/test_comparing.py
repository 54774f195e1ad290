"""Models and releases against each other, from the command line to the tables."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.cli import main
from counterset.errors import UserError
from counterset.evaluation.comparing import compare_clocks, compare_models, compare_releases
from counterset.models.lineage import trained_until

from .conftest import PAIRS


def test_models_are_compared_and_drawn_by_name(small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", str(small.path), "demo:weak", "demo:selector", "--mirror", small.mirror]
    assert main([*arguments, "--label-space", "classes", "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "* demo:selector" not in said and "p is corrected for 1 comparison of" in said
    [pairs] = tmp_path.rglob("model_pairs.parquet")
    rows = {row["measure"]: row for row in pq.read_table(pairs).to_pylist()}
    metrics = {row["model"]: row for row in pq.read_table(pairs.parent / "metrics.parquet").to_pylist()}
    for measure, row in rows.items():
        gap = metrics["demo:weak"][measure] - metrics["demo:selector"][measure]
        assert row["difference"] == pytest.approx(gap), "the evaluation's own figures"
    svg = (pairs.parent / "models.svg").read_text()
    assert "demo:weak" in svg and "demo:selector" in svg and "rank" in svg
    drawn = (pairs.parent / "models.png").read_bytes()
    again = compare_models(small.load(), ["demo:weak", "demo:selector"], label_space="classes", output=tmp_path)
    assert set(again.evaluation.num_computed.values()) == {0}
    assert (pairs.parent / "models.png").read_bytes() == drawn
    assert (again.num_photos, again.num_classes) == (112, 4)


def test_a_release_against_itself_differs_in_nothing(small: Any, tmp_path: Path) -> None:
    release = small.load()
    found = compare_releases(release, small.load(), ["demo:weak"], label_space="classes", output=tmp_path)
    assert found.class_ids == tuple(sorted(PAIRS))
    for row in found.pairs.to_pylist():
        assert row["first"] == pytest.approx(row["second"]) and row["verdict"] == "same"
        assert (row["low"], row["high"]) == pytest.approx((0, 0), abs=1e-12)
    assert found.num_shared_units > 0 and (found.here.folder / "releases.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo:weak"], "name two models"),
        ([], "name two models"),
        (["demo:weak", "--published"], "give models without it"),
        (["demo:weak", "demo:plain", "--evaluation", "x"], "goes with --published"),
    ],
)
def test_what_cannot_be_compared_is_said(
    arguments: list[str], message: str, small: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(small.path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_one_model_alone_is_no_comparison(small: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two"):
        compare_models(small.load(), ["demo:weak", "demo:weak"], output=tmp_path)


def test_newer_photos_are_told_by_the_training_data(
    small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = small.load()
    days = [
        None if number % 10 == 9 else date(2020 + number % 4, 1, 1) for number in range(release.all_photos.num_rows)
    ]
    place = release.all_photos.column_names.index("observed_on")
    release.__dict__["_tables"]["all_photos"] = release.all_photos.set_column(
        place, "observed_on", pa.array(days, pa.date32())
    )
    settings: dict[str, Any] = {"label_space": "classes", "output": tmp_path}
    found = compare_clocks(release, ["demo:weak", "demo:plain"], until={"demo:weak": date(2021, 1, 1)}, **settings)
    rows = found.clocks.to_pylist()
    assert [row["measure"] for row in rows] == ["common", "counter", "drop"]
    assert found.without == {"demo:plain": "no day is known after which it was not trained; give --trained-until"}
    by_photo = dict(zip(release.all_photos["photo_id"].to_pylist(), days, strict=True))
    right: dict[tuple[bool, str], list[bool]] = {}
    class_of = dict(zip(*(release.common[name].to_pylist() for name in ("photo_id", "class_id")), strict=True))
    for row in found.evaluation.predictions.to_pylist():
        day = by_photo[row["photo_id"]]
        if row["model"] == "demo:weak" and day is not None and row["photo_id"] in class_of:
            right.setdefault((day > date(2021, 1, 1), class_of[row["photo_id"]]), []).append(row["is_correct"])
    means = [
        np.mean([np.mean(of) for (is_newer, _), of in right.items() if is_newer is newer]) for newer in (True, False)
    ]
    assert (rows[0]["first"], rows[0]["second"]) == pytest.approx(means)
    assert rows[0]["num_newer"] + rows[0]["num_older"] + found.num_undated == 112
    assert (found.evaluation.folder / "clocks.svg").is_file()
    late = compare_clocks(release, ["demo:weak"], until={"demo:weak": date(2030, 1, 1)}, **settings)
    assert not late.clocks.num_rows and "0 are newer than 2030-01-01" in late.without["demo:weak"]
    with pytest.raises(UserError, match="demo:medium, which is not compared"):
        compare_clocks(release, ["demo:weak"], until={"demo:medium": date(2030, 1, 1)}, **settings)
    assert main(["compare", str(small.path), "demo:weak", "--newer", "--trained-until", "demo:weak=soon"]) == 2
    assert "names no day; write" in capsys.readouterr().err


def test_a_day_of_training_is_that_of_the_newest_data_set() -> None:
    assert trained_until("ViT-B-32/openai") == date(2021, 3, 31)
    assert trained_until("ViT-B-32/laion2b_s34b_b79k") == date(2022, 10, 31)
    assert trained_until("xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k") == date(2022, 10, 31)
    assert trained_until("ViT-B-32/merged2b_s8b_b131k") is None, "one of its data sets has no day"
    assert trained_until("demo:weak") is None
