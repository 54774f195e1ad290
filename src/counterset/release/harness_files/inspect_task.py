"""An Inspect task: which animal a photo shows, on the common and on the counter side of its class.

Run it with `inspect eval task.py --model MODEL`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import figures
from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from inspect_ai.scorer import Metric, SampleScore, Value, choice, metric, value_to_float
from inspect_ai.solver import multiple_choice

FOLDER = Path(__file__).resolve().parent


@task
def common_and_counter() -> Task:
    """All photos of both sides, once each."""
    return Task(
        dataset=json_dataset(str(FOLDER / "questions.jsonl"), _sample),
        solver=multiple_choice(),
        scorer=choice(),
        metrics=[accuracies()],
    )


@metric
def accuracies() -> Metric:
    """Class-balanced accuracies and their drop, with its standard error clustered by unit; means over photos."""
    number = value_to_float()

    def measure(scores: list[SampleScore]) -> Value:
        answers = [{**(one.sample_metadata or {}), "is_correct": number(one.score.value)} for one in scores]
        sides = {side: [one for one in answers if one["split"] == side] for side in ("common", "counter")}
        return {
            "common": figures.common(answers),
            "counter": figures.counter(answers),
            "drop": figures.drop(answers),
            "drop_stderr": figures.drop_stderr(answers),
            **{f"photo_average_{side}": figures.photo_average(of) for side, of in sides.items()},
        }

    return measure


def _sample(question: dict[str, Any]) -> Sample:
    text = ContentText(text=question["question"])
    image = ContentImage(image=str(FOLDER / question["photo"]))
    return Sample(
        id=question["photo_id"],
        input=[ChatMessageUser(content=[image, text])],
        choices=question["options"],
        target=question["answer"],
        metadata={name: question[name] for name in ("photo_id", "split", "class_id", "unit")},
    )
