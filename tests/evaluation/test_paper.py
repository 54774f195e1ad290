"""Classes beside the published ones: of the packaged demo, and of the published set itself."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import counterset
from counterset.cli import main
from counterset.errors import ReleaseError
from counterset.evaluation.paper import compare
from counterset.load import load
from counterset.manifests import manifest_path
from counterset.release.counteranimal import IMPORTED_VERDICTS, read_counteranimal
from counterset.release.publish.writer import publish


def test_the_published_set_has_its_own_pairs(tmp_path: Path) -> None:
    with manifest_path("published/pairs.csv").open(encoding="utf-8", newline="") as file:
        published = list(csv.DictReader(file))
    for number, row in enumerate(published):
        for side in ("common", "counter"):
            folder = tmp_path / "photos" / row["label"] / f"{side}-{row[f'{side}_background']}"
            folder.mkdir(parents=True)
            out = io.BytesIO()
            colour = (5 * number, 100 * (side == "common"), 7)
            Image.new("RGB", (64, 48), colour).save(out, "PNG")
            (folder / "1.png").write_bytes(out.getvalue())
    inputs = read_counteranimal(tmp_path / "photos", releases=str(tmp_path / "releases"))
    found = compare(load(publish(inputs, kind="imported", default_verdicts=IMPORTED_VERDICTS).path))
    assert found.num_published == 45 and found.classes.num_rows == 45
    assert set(found.classes["pair"].to_pylist()) == {"same"}
    assert found.classes["drop"].null_count == 45 and found.drop_correlation is None
    by_class = {row["class_id"]: row["published_drop"] for row in found.classes.to_pylist()}
    assert by_class["ostrich"] == pytest.approx(0.7961 - 0.5752)
    assert set(found.models["model"].to_pylist()) == {f"ViT-{name}/laion400m_e31" for name in ("B-16", "B-32", "L-14")}
    assert found.models.num_rows == 3 * 45


def test_the_packaged_demo_beside_the_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = load("counterset-demo")
    found = compare(release)
    pairs = {row["class_id"]: row for row in release.pairs.to_pylist()}
    assert found.classes.num_rows == 6, "of its eight classes the paper has six"
    for row in found.classes.to_pylist():
        assert (row["common"], row["drop"]) == (pairs[row["class_id"]]["common"], pairs[row["class_id"]]["drop"])
        here = {row["common"], row["counter"]} & {row["published_common"], row["published_counter"]}
        assert row["pair"] == ("same" if len(here) == 2 else "one" if here else "other")
    groups = release.groups.to_pylist()
    [lion] = [row for row in found.models.to_pylist() if (row["class_id"], row["model"]) == ("lion", "demo:selector")]
    [accuracy] = [
        row["accuracy"]
        for row in groups
        if (row["class_id"], row["model"], row["half"], row["split"]) == ("lion", "demo:selector", "confirm", "common")
    ]
    assert lion["common"] == accuracy and lion["published_common"] is None
    assert main(["compare", "counterset-demo", "--published", "--output", str(tmp_path)]) == 0
    assert "6 of the 45 published classes are here" in capsys.readouterr().out
    with (tmp_path / "comparison.csv").open(newline="") as file:
        assert [row["class_id"] for row in csv.DictReader(file)] == found.classes["class_id"].to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.{suffix}" for name in ("compared_models", "comparison") for suffix in ("csv", "parquet")
    ]


def test_an_evaluation_gives_the_accuracies_of_more_models(small: Any, tmp_path: Path) -> None:
    release = small.load()
    evaluated = counterset.evaluate(release, ["demo:weak"], label_space="classes", output=tmp_path)
    found = compare(release, evaluated.folder)
    expected = {
        row["class_id"]: row["accuracy"] for row in evaluated.class_metrics.to_pylist() if row["side"] == "drop"
    }
    drops = {row["class_id"]: row["drop"] for row in found.models.to_pylist() if row["model"] == "demo:weak"}
    assert drops == {class_id: pytest.approx(drop) for class_id, drop in expected.items()}
    with pytest.raises(ReleaseError, match=r"is an evaluation of small 1\.0\.0, not of counterset-demo"):
        compare(load("counterset-demo"), evaluated.folder)
    with pytest.raises(ReleaseError, match="holds no evaluation"):
        compare(release, tmp_path)
