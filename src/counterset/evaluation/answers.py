"""Any model as a Python callable: asked with images and candidate labels, it answers with text or scores."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from counterset.errors import ModelError
from counterset.evaluation.label_spaces import CandidateLabels
from counterset.evaluation.photos import PairPhotos, bytes_of
from counterset.evaluation.schemas import ANSWERS
from counterset.evaluation.vectors import Progress
from counterset.load import Release
from counterset.pictures import DECODER_VERSION, rgb
from counterset.release.harness_files.reading import label_of
from counterset.schemas import PREDICTIONS
from counterset.tables import conform, read_table, table_of, write_table
from counterset.workspace import digest

Predict = Callable[[list[Image.Image], list[str]], Any]
"""Images and candidate labels -> one text per image, or (N, C) scores."""

MAX_ANSWER = 200
"""Characters of an answer that are kept."""
NUM_EXAMPLES = 10
ONCE = "(asked once)"


class _Answer(NamedTuple):
    """One photo's answer: a text, or scores in the candidates' order."""

    text: str | None
    scores: list[float] | None


@dataclass(frozen=True)
class Answered:
    """What a callable answered.

    Attributes:
        predictions: one row per photo; of text answers the margin is NaN, and the rank of a wrong
            one the number of candidates.
        facts: has_scores, num_unknown and unknown_answers.
        num_asked: photos it was asked about in this run.
    """

    predictions: pa.Table
    facts: Mapping[str, Any]
    num_asked: int


def ask(
    release: Release,
    photos: PairPhotos,
    candidates: CandidateLabels,
    predict: Predict,
    name: str,
    version: str,
    folder: Path,
    batch_size: int,
    shard_size: int,
    progress: Progress,
) -> Answered:
    """Ask about every photo that was not asked about before under this name and version, with these candidates.

    A callable without a stated version may be another one each time, so nothing of it is kept.

    The callable sees photos of one class at a time, for they share their candidates; the
    candidates are in alphabetical order, which says nothing of the truth.

    Raises:
        ModelError: it answers with another number of answers, or of another kind.
    """
    if not version:
        with tempfile.TemporaryDirectory(prefix="counterset-answers-") as passing:
            return ask(
                release, photos, candidates, predict, name, ONCE, Path(passing), batch_size, shard_size, progress
            )
    tables = [PREDICTIONS.arrow().empty_table()]
    unknown: list[str] = []
    num_asked = num_done = 0
    has_scores = False
    for class_id in sorted(set(photos.class_id.tolist())):
        own = photos.only(photos.class_id == class_id)
        labels = sorted({candidates.space.labels[position] for position in candidates.of_class[class_id]})
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")
        shards = folder / f"{readable}-{digest(name, version, labels, DECODER_VERSION)[:12]}"
        kept = _kept(shards)
        missing = sorted(set(own.sha256.tolist()) - set(kept))
        for start in range(0, len(missing), shard_size):
            chunk = missing[start : start + shard_size]
            images = bytes_of(release, own, chunk)
            answers: list[_Answer] = []
            for first in range(0, len(images), batch_size):
                batch = [rgb(image) for image in images[first : first + batch_size]]
                answers += _answers(predict(batch, list(labels)), len(batch), len(labels), name)
            texts, scores = [answer.text for answer in answers], [answer.scores for answer in answers]
            table = table_of(ANSWERS, {"key": chunk, "answer": texts, "scores": scores})
            write_table(table, ANSWERS, shards / f"{digest(chunk)}.parquet")
            kept |= dict(zip(chunk, answers, strict=True))
            num_asked += len(chunk)
            progress(num_done + len(own.sha256) - len(missing) + start + len(chunk), len(photos.sha256))
        num_done += len(own.sha256)
        progress(num_done, len(photos.sha256))
        truth = candidates.space.labels[candidates.space.index_of[class_id]]
        rows = []
        for photo_id, sha256 in zip(own.photo_id.tolist(), own.sha256.tolist(), strict=True):
            answer = kept[sha256]
            has_scores = has_scores or answer.scores is not None
            if answer.text is not None and label_of(answer.text, labels) is None:
                unknown.append(answer.text)
            figures = _row(answer, labels, truth)
            rows.append({"photo_id": photo_id, "model": name, "label_space": candidates.name, **figures})
        tables.append(table_of(PREDICTIONS, rows))
    facts = {
        "has_scores": has_scores,
        "num_unknown": len(unknown),
        "unknown_answers": tuple(sorted(set(unknown))[:NUM_EXAMPLES]),
    }
    return Answered(conform(pa.concat_tables(tables), PREDICTIONS), facts, num_asked)


def text_figures(label: str | None, said: str, truth: str, num_labels: int) -> dict[str, Any]:
    """The figures of a prediction row, of an answer in words.

    Args:
        label: the candidate that the words name; None = none.
        said: the words.
        truth: the label that would have been right.
        num_labels: the candidates.
    """
    return {
        "predicted": said[:MAX_ANSWER] if label is None else label,
        "is_correct": label == truth,
        "rank_of_truth": 1 if label == truth else num_labels,
        "margin": float("nan"),
    }


def _row(answer: _Answer, labels: Sequence[str], truth: str) -> dict[str, Any]:
    """The figures of a prediction row."""
    if answer.scores is None:
        return text_figures(label_of(answer.text or "", labels), answer.text or "", truth, len(labels))
    scores, position = np.asarray(answer.scores), list(labels).index(truth)
    others = np.where(np.arange(len(labels)) == position, -np.inf, scores)
    # Ties count against the model, as in all predictions.
    is_correct = bool(scores[position] > others.max())
    return {
        "predicted": truth if is_correct else labels[int(others.argmax())],
        "is_correct": is_correct,
        "rank_of_truth": int((scores >= scores[position]).sum()),
        "margin": float(scores[position] - others.max()),
    }


def _answers(given: Any, num_images: int, num_labels: int, name: str) -> list[_Answer]:
    """What a callable gave, one element per image.

    Raises:
        ModelError: another number or kind of answers.
    """
    if isinstance(given, (list, tuple)) and all(isinstance(answer, str) for answer in given):
        if len(given) != num_images:
            raise ModelError(f"{name!r} gave {len(given)} answers for {num_images} images; give one per image")
        return [_Answer(answer.strip()[:MAX_ANSWER], None) for answer in given]
    try:
        scores = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        scores = np.empty(0)
    if scores.shape != (num_images, num_labels) or not np.isfinite(scores).all():
        raise ModelError(
            f"{name!r} must give one text per image, or finite scores of shape ({num_images}, {num_labels}), images by "
            f"candidates; it gave {type(given).__name__}{f' of shape {scores.shape}' if scores.size else ''}"
        )
    return [_Answer(None, row.tolist()) for row in scores]


def _kept(folder: Path) -> dict[str, _Answer]:
    """sha256 -> answer, of all photos asked about before."""
    kept: dict[str, _Answer] = {}
    for path in sorted(folder.glob("*.parquet")):
        columns = (read_table(path, ANSWERS)[name].to_pylist() for name in ("key", "answer", "scores"))
        kept |= {key: _Answer(text, scores) for key, text, scores in zip(*columns, strict=True)}
    return kept
