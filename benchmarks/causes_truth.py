"""Whether interventions show what a background does: their effects beside the true ones, in the world of causes.

    python benchmarks/causes_truth.py --folder /tmp/truth --animals 400

Every animal is drawn on its class's home and on its counter background (`redrawn`: lit by its place, with its shadow on
it). The animal of each of these two photos is then shown before a home and a counter place:

- `own`: cut out exactly, before the same place empty and its empty counterpart, all by one camera;
- `exact`: cut out exactly, before empty places of two other animals' photos, as their cameras took them;
- `pasted`: as `counterset intervene` does it with the same photos: cut out by a mask, the other animals filled over.

`pasted` differs from `exact` in what an intervention has to do without knowing it all, `exact` from `own` in that a
composite is of two cameras, and `own` from `redrawn` in what a place does to its animal. A file per 50 animals of a
class; run again to resume.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from causes_pool import CHUNK, MODELS, SEED, answering

from counterset.causes import composites
from counterset.causes.effects import paired_effect
from counterset.demo.world import photo
from counterset.demo.world.causes import CLASSES, VARIANTS, pool_specs
from counterset.demo.world.photo import cut_out, draw
from counterset.demo.world.spec import PhotoSpec
from counterset.tables import sha256_of
from counterset.workspace import digest

REVISION = 1
"""Raised with every change of what is shown."""
SIDES = ("home", "counter")
KINDS = ("own", "exact", "pasted")
PHOTOS = 100
"""Of a sample, half of them of either side."""
SAMPLES = 400


class Shown(NamedTuple):
    """A photo, and two others whose places its animal is given.

    Attributes:
        spec: of the photo.
        counterpart: of the same animal on the other background.
        givers: of photos on the home and on the counter background.
    """

    spec: PhotoSpec
    counterpart: PhotoSpec
    givers: tuple[PhotoSpec, PhotoSpec]

    def pictures(self) -> Iterator[tuple[str, composites.Pixels]]:
        """`redrawn`, the photo itself, and each of KINDS before either place."""
        subject, cutout = _taken_apart(self.spec), cut_out(self.spec)
        yield "redrawn", subject.pixels
        for side, giver in zip(SIDES, self.givers, strict=True):
            same = self.spec if self.spec.background == giver.background else self.counterpart
            yield f"own {side}", cutout.before(_empty(same))
            yield f"exact {side}", cutout.before(composites.fitted(_empty(giver), cutout.cover.shape))
            yield f"pasted {side}", composites.pasted(subject, _taken_apart(giver))


def _empty(spec: PhotoSpec) -> composites.Pixels:
    return draw(replace(spec, subject="nothing")).pixels


@functools.lru_cache(maxsize=32)
def _taken_apart(spec: PhotoSpec) -> composites.Subject:
    picture = draw(spec)
    return composites.take_apart(picture.pixels, picture.mask.astype(np.float32))


def shown(number: int, animals: int) -> Iterator[tuple[int, int, Shown]]:
    """Animal, side and what is shown of every photo of a class; its places are those of the next animals' photos."""
    specs = _pool(animals)

    def usual(animal: int, side: int) -> PhotoSpec:
        return specs[((number * animals + animal % animals) * len(SIDES) + side) * len(VARIANTS)]

    for animal in range(animals):
        for side in (0, 1):
            givers = usual(animal + 1 + side, 0), usual(animal + 3 + side, 1)
            yield animal, side, Shown(usual(animal, side), usual(animal, 1 - side), givers)


@functools.cache
def _pool(animals: int) -> list[PhotoSpec]:
    return pool_specs(animals, SEED)


def make(folder: Path, animals: int) -> None:
    """Write the files that are not there yet: a row per animal and side, a column per model and picture."""
    folder.mkdir(parents=True, exist_ok=True)
    places = [(first, number) for first in range(0, animals, CHUNK) for number in range(len(CLASSES))]
    missing = [one for one in places if not _path(folder, animals, *one).exists()]
    answer = answering() if missing else None
    for done, (first, number) in enumerate(missing):
        assert answer
        started, rows, files = time.perf_counter(), [], []
        for animal, side, one in shown(number, animals):
            if first <= animal < first + CHUNK:
                named = dict(one.pictures())
                rows.append({"animal": animal, "side": side})
                files += [composites.encoded(pixels) for pixels in named.values()]
        for model, (margin, _) in answer(files, number).items():
            for row, right in zip(rows, margin.reshape(len(rows), -1) > 0, strict=True):
                row |= {f"{model} {name}": bool(value) for name, value in zip(named, right, strict=True)}
        path = _path(folder, animals, first, number)
        pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        print(f"{done + 1} of {len(missing)}: {time.perf_counter() - started:.0f} s", flush=True)


def _path(folder: Path, animals: int, first: int, number: int) -> Path:
    code = [sha256_of(Path(module.__file__ or "")) for module in (photo, composites)]
    decided = digest(animals, SEED, REVISION, code)
    return folder / f"truth-{CLASSES[number]}-{first:05d}-{decided}.parquet"


class Cell(NamedTuple):
    """One class under one model, in points.

    Attributes:
        redrawn, own, exact: true effects of the home rather than the counter background.
        exact_error: the standard error of `exact`.
        pasted: the effect that an intervention shows.
        reach: half its interval in a sample of PHOTOS photos, in the mean.
        covered: share of the samples whose interval holds `exact`.
    """

    redrawn: float
    own: float
    exact: float
    exact_error: float
    pasted: float
    reach: float
    covered: float


def cell_of(right: dict[str, np.ndarray], rng: np.random.Generator) -> Cell:
    """Compare the effects.

    Args:
        right: picture -> (A, 2) whether the class was named, by animal and side.
        rng: of the samples.
    """
    effects = {kind: right[f"{kind} home"] - right[f"{kind} counter"] for kind in KINDS}
    redrawn = right["redrawn"][:, 0] - right["redrawn"][:, 1]
    truth, animals = float(effects["exact"].mean()), len(redrawn)
    reach, covered = [], 0
    side = np.arange(PHOTOS) % 2
    units = np.arange(3 * PHOTOS).reshape(3, PHOTOS).T  # each animal's photographer, and its two givers'
    for _ in range(SAMPLES):
        # With replacement: the animals drawn stand for all that there could be, and `truth` is their mean.
        found = paired_effect(effects["pasted"][rng.integers(0, animals, PHOTOS), side], side, units)
        assert found.low is not None and found.high is not None
        reach.append((found.high - found.low) / 2)
        covered += found.low <= truth <= found.high
    means = [float(values.mean()) for values in (redrawn, effects["own"], effects["exact"])]
    error = float(effects["exact"].mean(axis=1).std(ddof=1)) / animals**0.5
    figures = [*means, error, float(effects["pasted"].mean()), float(np.mean(reach))]
    return Cell(*(100 * value for value in figures), covered / SAMPLES)


def cells(folder: Path, animals: int) -> dict[tuple[str, str], Cell]:
    """Class and model -> its cell."""
    rng = np.random.default_rng(1)
    found = {}
    for number, class_id in enumerate(CLASSES):
        table = pa.concat_tables(
            pq.read_table(_path(folder, animals, first, number)) for first in range(0, animals, CHUNK)
        )
        for model in MODELS:
            names = [name for name in table.column_names if name.startswith(model)]
            right = {
                name.removeprefix(f"{model} "): table[name].to_numpy().astype(float).reshape(-1, 2) for name in names
            }
            found[class_id, model] = cell_of(right, rng)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--animals", type=int, default=400, help="per class; a multiple of 50")
    args = parser.parse_args()
    make(args.folder, args.animals)
    columns = ["class", "model", "redrawn", "own", "exact", "pasted", "covers"]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for (class_id, model), cell in cells(args.folder, args.animals).items():
        figures: list[Any] = [f"{cell.redrawn:.1f}", f"{cell.own:.1f}"]
        figures += [f"{cell.exact:.1f} ± {1.96 * cell.exact_error:.1f}", f"{cell.pasted:.1f} ± {cell.reach:.0f}"]
        print("| " + " | ".join([class_id, model, *figures, f"{100 * cell.covered:.0f} %"]) + " |")


if __name__ == "__main__":
    main()
