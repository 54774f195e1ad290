"""Verdicts on grouped tables from elsewhere: how they are read, and that they are the select stage's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

import counterset
from counterset.cli import main
from counterset.errors import UserError
from counterset.verdicts.reading import read_grouped

FEW = dict(num_permutations=900)


def waterbirds(folder: Path, seed: int = 1) -> tuple[Path, Path, pa.Table]:
    """Waterbirds' metadata.csv with the answers of a model that looks at the place; the other splits are there too."""
    rng = np.random.default_rng(seed)
    number = 1_500
    y, place, split = (
        rng.integers(0, 2, number),
        rng.integers(0, 2, number),
        rng.choice([0, 1, 2], number, p=[0.2, 0.1, 0.7]),
    )
    wrong = np.where(y == place, 0.05, np.where(y == 0, 0.2, 0.45))
    metadata = pa.table(
        {
            "img_id": np.arange(1, number + 1),
            "img_filename": [f"001.Bird/{index}.jpg" for index in range(number)],
            "y": y,
            "split": split,
            "place": place,
            "place_filename": [f"/o/ocean/{index}.jpg" for index in range(number)],
        }
    )
    said = np.where(rng.random(number) < wrong, 1 - y, y)
    predictions = pa.table({"img_id": metadata["img_id"], "prediction": said}).filter(pa.array(split == 2))
    pv.write_csv(metadata, folder / "metadata.csv")
    pv.write_csv(predictions, folder / "predictions.csv")
    return folder / "metadata.csv", folder / "predictions.csv", predictions


def test_waterbirds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata, predictions, said = waterbirds(tmp_path)
    found = counterset.verdict(metadata, layout="waterbirds", predictions=predictions, **FEW)
    pairs = {row["class_id"]: row for row in found.pairs.to_pylist()}
    assert {name: (row["common"], row["counter"]) for name, row in pairs.items()} == {
        "landbird": ("land", "water"),
        "waterbird": ("water", "land"),
    }
    bird = pairs["waterbird"]
    assert bird["verdict"] == "confirmed" and bird["drop_low"] < 0.4 < bird["drop_high"]
    assert 0 < bird["breaking_share"] < 1
    assert len(found.rows) == len(said)
    assert len(found.rows) + len(found.left_out) == 1_500
    assert pc.unique(found.left_out["reason"]).to_pylist() == ["not_asked_for"]
    # the predictions in order, without header or ids
    ordered = tmp_path / "ordered.csv"
    ordered.write_text("\n".join(map(str, said["prediction"].to_pylist())))
    assert counterset.verdict(metadata, layout="waterbirds", predictions=ordered, **FEW).rows.equals(found.rows)
    options = ["--layout", "waterbirds", "--predictions", str(predictions), "--output", str(tmp_path / "out")]
    assert main(["verdict", str(metadata), *options]) == 0
    assert "waterbird" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "out/grouped.parquet").num_rows == len(said)


def test_wilds_with_its_own_predictions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    number = 800
    y, centre, slide = rng.integers(0, 2, number), rng.integers(0, 3, number), rng.integers(0, 60, number)
    metadata = pa.table({"slide": slide, "center": centre, "y": y, "split": rng.choice(["train", "test"], number)})
    pv.write_csv(metadata, tmp_path / "metadata.csv")
    own = metadata.filter(pc.equal(metadata["split"], "test"))
    predictions = tmp_path / "camelyon17_split:test_seed:0_epoch:best_pred.csv"
    predictions.write_text("\n".join(map(str, own["y"].to_pylist())) + "\n")
    found = counterset.verdict(
        tmp_path / "metadata.csv",
        layout="wilds",
        columns={"group": "center", "cluster": "slide"},
        predictions=predictions,
        **FEW,
    )
    assert pc.all(found.rows["is_correct"]).as_py() and len(found.rows) == len(own)
    assert found.rows["unit"].to_pylist() != found.rows["id"].to_pylist()
    for unit, rows in zip(*np.unique(found.rows["unit"].to_numpy(), return_index=True), strict=True):
        halves = found.rows.filter(pc.equal(found.rows["unit"], unit))["half"]
        assert set(halves.to_pylist()) == {found.rows["half"][int(rows)].as_py()}
    assert {row["verdict"] for row in found.pairs.to_pylist()} == {"unconfirmed"}
    with pytest.raises(UserError, match="no column 'split', which says what rows count"):
        counterset.verdict(
            own.drop_columns(["split"]), layout="wilds", columns={"group": "center"}, predictions=predictions
        )
    predictions.write_text("0\n1\n")
    with pytest.raises(UserError, match="2 predictions in order"):
        counterset.verdict(
            tmp_path / "metadata.csv", layout="wilds", columns={"group": "center"}, predictions=predictions
        )


def test_every_row_is_counted_or_left_out_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(
        "id,class,group,correct\na,dog,grass,1\nb,dog,grass,False\na,dog,sand,1\nc,,grass,1\nd,dog,,1\ne,dog,grass,maybe\n"
        ",dog,grass,1\nf,dog\ng,dog,sand,YES\n"
    )
    read = read_grouped(path)
    assert dict(zip(read.rows["id"].to_pylist(), read.rows["is_correct"].to_pylist(), strict=True)) == {
        "a": True,
        "b": False,
        "g": True,
    }
    assert [(row["row"], row["reason"]) for row in read.left_out.to_pylist()] == [
        (3, "duplicate_id"),
        (4, "no_class"),
        (5, "no_group"),
        (6, "no_outcome"),
        (7, "no_id"),
        (8, "malformed"),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_says_the_separator(separator: str, tmp_path: Path) -> None:
    table, predictions = tmp_path / "answers.csv", tmp_path / "said.tsv"
    table.write_text("id,class,group\na,dog,grass\nb,dog,sand\n".replace(",", separator))
    predictions.write_text("id,prediction\nb,cat\na,dog\n".replace(",", separator))
    assert read_grouped(table, predictions=predictions).rows["is_correct"].to_pylist() == [True, False]


def test_labels_and_predictions_stand_for_right_and_wrong() -> None:
    rows = {"class": ["dog"] * 3, "group": ["sand"] * 3, "label": [1, 1, 1], "prediction": [1.0, 2.0, None]}
    read = read_grouped(pa.table(rows))
    assert read.rows["is_correct"].to_pylist() == [True, False]
    assert read.left_out["reason"].to_pylist() == ["no_outcome"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"class": ["a"], "correct": [1]}, "'group' for the group; name the one of class, correct that is"),
        ({"class": ["a"], "group": ["b"]}, "for right or wrong .or predictions, in a column or a file"),
        ({"class": ["a"], "group": ["b"], "correct": ["?"]}, "no row of the table counts .no_outcome 1."),
        ({"class": ["a"], "group": ["b"], "correct": [1], "margin": ["x"]}, "margin is no number"),
        ({"class": [b"\xff"], "group": ["b"], "correct": [1]}, "says no class, group or outcome"),
    ],
)
def test_what_cannot_be_read_is_said(columns: dict[str, list[object]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        counterset.verdict(pa.table(columns))


def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("class,group\nx,y\n")
    for options in ([], ["--column", "group"], ["--column", "colour=x"], ["--column", "group=x"], ["--where", "z=1"]):
        assert main(["verdict", str(tmp_path / "a.csv"), *options]) == 2
    assert main(["verdict", str(tmp_path / "missing.parquet")]) == 2
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    assert main(["verdict", str(tmp_path / "a.parquet")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def sliceable(number: int = 3_000, seed: int = 0) -> pa.Table:
    """Answers with a feature of no meaning, and one by which a quarter of the rows are worse."""
    rng = np.random.default_rng(seed)
    feature, bad = rng.random((number, 8)), rng.random(number) < 0.25
    return pa.table(
        {
            "id": [f"r{index}" for index in range(number)],
            "class": rng.choice(["cat", "dog"], number),
            "group": rng.choice(["in", "out"], number),
            "correct": rng.random(number) < np.where(bad, 0.5, 0.85),
            "bad": bad,
            **{f"f{index}": feature[:, index] for index in range(8)},
        }
    )


def test_slices_of_a_file_are_tested_on_confirm(tmp_path: Path) -> None:
    table = sliceable()
    rows = [("bad", name) for name in table.filter(table["bad"])["id"].to_pylist()]
    rows += [("any", f"r{index}") for index in range(0, 3_000, 3)] + [("tiny", "r1"), ("tiny", "nobody")]
    pv.write_csv(pa.table({"slice": [row[0] for row in rows], "id": [row[1] for row in rows]}), tmp_path / "slices.csv")
    found = counterset.verdict(table, slices=tmp_path / "slices.csv", **FEW)
    slices = {row["slice"]: row for row in found.slices.to_pylist()}
    assert {name: row["verdict"] for name, row in slices.items()} == {
        "bad": "confirmed",
        "any": "unconfirmed",
        "tiny": "too_small",
    }
    assert slices["bad"]["drop_low"] < 0.35 < slices["bad"]["drop_high"]
    confirm = found.rows.filter(pc.equal(found.rows["half"], "confirm"))
    assert slices["bad"]["num_rows"] == len(
        table.filter(pc.and_(table["bad"], pc.is_in(table["id"], confirm["id"].combine_chunks())))
    )
    assert [(row["table"], row["id"], row["reason"]) for row in found.left_out.to_pylist()] == [
        ("slices", "nobody", "unknown_id")
    ]


def test_an_adaptive_proposer_sees_no_outcome_that_tests_it() -> None:
    table = sliceable(seed=3)
    features = {
        name: dict(zip(table["id"].to_pylist(), table[name].to_pylist(), strict=True)) for name in ("f0", "f1", "bad")
    }
    seen: list[str] = []

    def values(name: str, rows: pa.Table) -> np.ndarray:
        return np.array([features[name][row] for row in rows["id"].to_pylist()])

    def propose(rows: pa.Table) -> dict[str, object]:
        """The worst interval of either feature on discover, and the truth."""
        correct = rows["is_correct"].to_numpy(zero_copy_only=False)
        rules = {"bad": lambda shown: (seen.extend(shown.column_names), values("bad", shown))[1]}
        for name in ("f0", "f1"):
            value = values(name, rows)
            starts = np.linspace(0, 0.9, 46)
            low = min(starts, key=lambda low: correct[(value > low) & (value < low + 0.1)].mean())
            rules[name] = lambda shown, name=name, low=low: np.abs(values(name, shown) - low - 0.05) < 0.05
        return rules

    found = counterset.verdict(table, slices=propose, **FEW)
    assert {row["slice"]: row["verdict"] for row in found.slices.to_pylist()} == {
        "bad": "confirmed",
        "f0": "unconfirmed",
        "f1": "unconfirmed",
    }
    assert "is_correct" not in seen and "margin" not in seen and "id" in seen
    with pytest.raises(UserError, match="does not say of each"):
        counterset.verdict(table, slices=lambda rows: {"x": lambda shown: [True]}, **FEW)
