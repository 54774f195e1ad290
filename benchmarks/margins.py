"""Null and planted worlds whose margins have the laws of real models' margins: ranks, or standardised margins?

    python -m benchmarks.margins --worlds 200 [--photos ../shared/photos --models FOLDER --cache /tmp/annotation]

Run from the checkout. The laws are those of each class of the packaged demo release under each of its models, and of
each class of real photos under the two models of `benchmarks/annotation.py`. A law's negative part and its positive
part are kept, and what share of photos each has is the world's accuracy, so that groups may differ in their laws and
not in accuracy. Prints one row per model, kind of world and grade; tallies are kept in `.proofs/margins.jsonl`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.special import ndtr, ndtri

import counterset
from counterset.models.prompts import mean_text_features, prompts
from tests.proofs import counted
from tests.proofs.regimes import LATENT, Build, Regime, Row
from tests.proofs.run import Records, prove, shown, summary
from tests.proofs.worlds import Floats, World

LEAST = 15
"""Right photos of a class, and wrong ones, that make a law."""
ACCURACY = 0.7

Laws = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
"""Negative and positive margins of each class, ascending."""


def laws_of(margins: Floats, classes: np.ndarray) -> Laws:
    """The laws of the classes that have enough photos of either kind."""
    found = []
    for name in np.unique(classes):
        own = np.sort(margins[classes == name])
        wrong, right = own[own <= 0], own[own > 0]
        if min(len(wrong), len(right)) >= LEAST:
            found.append((tuple(wrong.tolist()), tuple(right.tolist())))
    return tuple(found)


def demo_laws() -> dict[str, Laws]:
    """Of the packaged release, by model."""
    release = counterset.load("counterset-demo")
    rows = release.predictions.to_pylist()
    classes = dict(zip(*(release.all_photos[name].to_pylist() for name in ("photo_id", "class_id")), strict=True))
    found = {}
    for model in sorted({row["model"] for row in rows}):
        own = [row for row in rows if row["model"] == model and row["photo_id"] in classes]
        margins, names = ([row["margin"] for row in own], [classes[row["photo_id"]] for row in own])
        found[model] = laws_of(np.array(margins), np.array(names))
    return found


def real_laws(photos: Path, models: Path, cache: Path) -> dict[str, Laws]:
    """Of real photos, by model: cosine of the own class's name less that of the best other."""
    from benchmarks.annotation import real_photos

    found = {}
    for name in ("conse", "duo"):
        seen, _ = real_photos(photos, models / name, cache)
        ids = [spec.class_id for spec in seen.specs]
        texts = mean_text_features(seen.encoder, [prompts("paper", class_id) for class_id in ids])
        cosines = seen.features @ texts.T  # (N, D) @ (D, C) -> (N, C)
        own = np.searchsorted(ids, seen.classes)
        others = cosines.copy()
        others[np.arange(len(own)), own] = -np.inf
        margins = cosines[np.arange(len(own)), own] - others.max(axis=1)
        found[name] = laws_of(margins.astype(np.float64), seen.classes)
    return found


def standardised(margins: Floats) -> Floats:
    """In place of `double_ranks`: what gives margins less their mean over their standard deviation as outcomes."""
    z = (margins - margins.mean(axis=0)) / margins.std(axis=0)
    return np.asarray((0.5 + z.astype(np.float64) / 10).mean(axis=1) * 2 * margins.size)


@dataclass(frozen=True)
class Real:
    """One build of worlds with real laws of margins, one law per class or, mixed, one per group."""

    model: str
    laws: Laws
    is_mixed: bool
    is_ranked: bool

    @property
    def __name__(self) -> str:
        return repr(self)

    def __call__(self, build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
        """The rows of the world."""
        rng = np.random.default_rng([seed, 4])
        size = world.accuracies.shape
        law = rng.integers(len(self.laws), size=size if self.is_mixed else (size[0], 1))
        law = np.broadcast_to(law, size)[world.class_index, world.group]
        latent = world.margin[:, 0]
        uniform = ndtr(latent - ndtri(ACCURACY))
        margin = np.empty_like(latent)
        for number, (wrong, right) in enumerate(self.laws):
            for values, low, high, is_right in ((wrong, 0.0, 1 - ACCURACY, False), (right, 1 - ACCURACY, 1.0, True)):
                rows = (law == number) & ((latent > 0) == is_right)
                place = (uniform[rows] - low) / (high - low) * (len(values) - 1)
                margin[rows] = np.interp(place, np.arange(len(values)), values)
        changed: Callable[[], object] = (
            nullcontext if self.is_ranked else lambda: patch.object(counted, "double_ranks", standardised)
        )
        with changed():  # type: ignore[attr-defined]
            return build(regime, replace(world, margin=margin[:, None]), seed)


def regimes(model: str, laws: Laws) -> list[Regime]:
    """The rows of one model."""
    kinds = {"one law per class, nothing differs": (0.0, False), "another law per group": (0.0, True)}
    kinds["20 points"] = (0.2, False)
    return [
        Regime(
            f"{model} ({len(laws)} laws), {kind}, {'ranks' if is_ranked else 'standardised'}",
            replace(LATENT, num_models=1),
            photos=150 if is_mixed else 100,
            base=(ACCURACY, ACCURACY),
            drop=drop,
            procedure=Real(model, laws, is_mixed, is_ranked),
        )
        for kind, (drop, is_mixed) in kinds.items()
        for is_ranked in (True, False)
    ]


def main() -> None:
    """Print the rows of every model at hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".proofs/annotation"))
    arguments = parser.parse_args()
    by_model = demo_laws()
    if arguments.photos and arguments.models:
        by_model |= real_laws(arguments.photos, arguments.models, arguments.cache)
    rows = [regime for model, laws in by_model.items() if len(laws) > 1 for regime in regimes(model, laws)]
    records = Records(Path(".proofs/margins.jsonl"), "now")
    for regime, tallies in prove(rows, records, num_worlds=arguments.worlds, jobs=arguments.jobs):
        sys.stdout.write(shown(regime, summary(tallies)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
