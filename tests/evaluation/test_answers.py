"""What a callable says is matched to the candidates, kept, and counted when it names none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import counterset
from counterset.errors import ModelError, UserError
from counterset.release.harness_files.reading import label_of

LABELS = ["bear", "brown bear", "ice bear", "lion", "St. Bernard"]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("lion", "lion"),
        ("  A LION. ", "lion"),
        ("st bernard", "St. Bernard"),
        ("The animal is an ice bear on grass.", "ice bear"),
        ("brown bear", "brown bear"),
        ("a bear", "bear"),
        ("a brown bear, not an ice bear", None),
        ("stallion", None),
        ("", None),
        ("I cannot tell", None),
    ],
)
def test_an_answer_names_one_candidate_or_none(answer: str, label: str | None) -> None:
    assert label_of(answer, LABELS) == label


@pytest.mark.parametrize(
    ("labels", "answer", "label"),
    [
        (["ox", "fox"], "an ox and a fox", None),
        (["cat", "caterpillar"], "a cat, no caterpillar", None),
        (["bear", "brown bear"], "a bear, to be exact a brown bear", "brown bear"),
        (["शेर", "शोर"], "यह शेर है", "शेर"),
        (["C+", "C#"], "C#", "C#"),
        (["C+", "C#"], "it is C", None),
        (["+", "-"], "", None),
        (["a.*", "lion"], "axx", None),
        (["L'ours", "ours"], "l’ours", "L'ours"),
        (["the cat", "dog"], "cat", "the cat"),
    ],
)
def test_names_within_names_and_other_scripts(labels: list[str], answer: str, label: str | None) -> None:
    assert label_of(answer, labels) == label


class Talker:
    """A stand-in for a model that answers with text: right on snow-white photos, lost on others."""

    def __init__(self, breaks_after: int = 10**9) -> None:
        self.asked = 0
        self.labels: set[tuple[str, ...]] = set()
        self.breaks_after = breaks_after

    def __call__(self, images: list[Image.Image], labels: list[str]) -> list[str]:
        if self.asked + len(images) > self.breaks_after:
            raise KeyboardInterrupt
        self.asked += len(images)
        self.labels.add(tuple(labels))
        bright = [np.asarray(image).mean() > 150 for image in images]
        return ["It is an ice bear." if is_bright else "a duck" for is_bright in bright]


def test_texts_are_asked_for_once_and_unknown_ones_reported(small: Any, tmp_path: Path) -> None:
    first, second = Talker(breaks_after=60), Talker()
    settings: dict[str, Any] = {"name": "talker", "version": "1", "label_space": "classes", "output": tmp_path}
    settings["shard_size"] = 8
    with pytest.raises(KeyboardInterrupt):
        counterset.evaluate(small.load(), predict=first, batch_size=4, **settings)
    found = counterset.evaluate(small.load(), predict=second, batch_size=4, **settings)
    total = found.predictions.num_rows
    assert second.asked < total < first.asked + second.asked + 8, "less than a shard is asked twice"
    [labels] = second.labels
    assert list(labels) == sorted(labels), "their order tells nothing"
    [row] = found.metrics.to_pylist()
    rows = found.predictions.to_pylist()
    ducks = [one for one in rows if one["predicted"] == "a duck"]
    assert row["num_unknown"] == len(ducks) > 0
    assert not any(one["is_correct"] for one in ducks)
    assert row["top5_common"] is None and found.record["models"]["talker"]["unknown_answers"] == ["a duck"]
    assert all(np.isnan(one["margin"]) for one in rows)
    again = counterset.evaluate(small.load(), predict=Talker(breaks_after=0), **settings)
    assert again.num_computed == {"talker": 0}
    assert again.predictions.drop_columns(["margin"]).equals(found.predictions.drop_columns(["margin"]))


def test_another_callable_of_the_same_name_is_asked(small: Any, tmp_path: Path) -> None:
    def evaluate(column: int, **settings: Any) -> Any:
        def scores(images: list[Image.Image], labels: list[str]) -> Any:
            return np.tile(np.arange(len(labels)) == column, (len(images), 1)).astype(float)

        return counterset.evaluate(
            small.load(), predict=scores, name="mine", label_space="classes", output=tmp_path, **settings
        )

    def answers(found: Any) -> set[str]:
        return set(found.predictions["predicted"].to_pylist())

    first, retrained = evaluate(0), evaluate(1)
    assert first.num_computed == retrained.num_computed == {"mine": first.predictions.num_rows}
    assert answers(first) != answers(retrained)
    assert not (tmp_path / "answers").exists(), "nothing is kept that may be another's"
    kept = evaluate(0, version="a")
    assert evaluate(1, version="a").num_computed == {"mine": 0}, "its user says that it is the same"
    assert evaluate(1, version="b").num_computed == kept.num_computed
    assert evaluate(1, version="b").record["models"]["mine"]["version"] == "b"


def test_one_of_twenty_is_asked_class_by_class(small: Any, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join([*small.load().class_names.values(), *(f"thing {n}" for n in range(40))]))
    asked: list[tuple[str, ...]] = []

    def first(images: list[Image.Image], labels: list[str]) -> list[str]:
        asked.append(tuple(labels))
        return [labels[0]] * len(images)

    settings: dict[str, Any] = {"label_space": f"top20:{labels}", "selector": "demo:weak", "output": tmp_path}
    found = counterset.evaluate(small.load(), predict=first, name="first", **settings)
    assert {len(candidates) for candidates in asked} == {20}
    assert {tuple(sorted(candidates)) for candidates in found.record["candidates"].values()} == set(asked)
    for class_id, candidates in found.record["candidates"].items():
        assert small.load().class_names[class_id] in candidates


def test_scores_are_ranked(small: Any, tmp_path: Path) -> None:
    def scores(images: list[Image.Image], labels: list[str]) -> np.ndarray:
        return np.tile([float(label == "lion") + 0.1 * (label == "ice bear") for label in labels], (len(images), 1))

    found = counterset.evaluate(small.load(), predict=scores, name="lions", label_space="classes", output=tmp_path)
    for row in found.predictions.to_pylist():
        is_lion = "lion" in row["photo_id"]
        assert (row["predicted"], row["is_correct"]) == ("lion", is_lion)
        assert row["rank_of_truth"] == (1 if is_lion else 2 if "ice_bear" in row["photo_id"] else 4)
    assert found.metrics["top5_common"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (lambda images, labels: ["lion"], "gave 1 answers for"),
        (lambda images, labels: np.zeros((len(images), 3)), "must give one text per image"),
        (lambda images, labels: [None] * len(images), "must give one text per image"),
        (lambda images, labels: np.full((len(images), len(labels)), np.nan), "finite"),
    ],
)
def test_other_answers_are_refused(small: Any, tmp_path: Path, answers: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        counterset.evaluate(small.load(), predict=answers, name="odd", label_space="classes", output=tmp_path)
    with pytest.raises(UserError, match="needs a name"):
        counterset.evaluate(small.load(), predict=answers, output=tmp_path)
