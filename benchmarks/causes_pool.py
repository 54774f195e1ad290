"""The pool of `benchmarks/causes.py`: photos of the world of causes, their composites, and what models answer to both.

    python benchmarks/causes_pool.py --folder /tmp/pool --animals 500

draws every animal on its class's home and on its counter background, from the usual distance and from far away, and
each of these four photos before six other places: two of the home background and one of the counter background, each
taken from a usual photo and from a far one of another animal. A file per 50 animals of a class; run again to resume.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterset.causes import composites
from counterset.causes.appearance import appearance
from counterset.demo.world.causes import CLASSES, VARIANTS, pool_specs
from counterset.demo.world.classes import CLASS_NAMES
from counterset.demo.world.photo import draw
from counterset.places import extent_of
from counterset.workspace import digest

MODELS = ("demo:weak", "demo:medium", "demo:selector")
TAKEN = ("usual", "far")
"""The variants that are in the pool."""
PLACES = (
    ("home_usual", 0, "usual", 1),
    ("home_far", 0, "far", 2),
    ("home_usual_again", 0, "usual", 3),
    ("home_far_again", 0, "far", 4),
    ("counter_usual", 1, "usual", 5),
    ("counter_far", 1, "far", 6),
)
"""Name of a composite, and its place: of which side and variant, and of the animal so many numbers further on."""
CHUNK = 50
SEED = 20
REVISION = 2
"""Raised with every change of what a pool holds."""


def main() -> None:
    """Make what is missing of the pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--animals", type=int, default=500, help="per class; a multiple of 50")
    args = parser.parse_args()
    make(args.folder, args.animals)


def make(folder: Path, animals: int) -> None:
    """Write the files of the pool that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(number, first) for number in range(len(CLASSES)) for first in range(0, animals, CHUNK)]
    missing = [one for one in wanted if not path_of(folder, animals, *one).exists()]
    if not missing:
        return
    specs, answer = pool_specs(animals, SEED), answering()
    for done, (number, first) in enumerate(missing):
        started = time.perf_counter()

        @functools.lru_cache(maxsize=100)
        def subject(animal: int, side: int, variant: str, number: int = number) -> composites.Subject:
            place = (number * animals + animal % animals) * 2 + side
            picture = draw(specs[place * len(VARIANTS) + VARIANTS.index(variant)])
            return composites.take_apart(picture.pixels, picture.mask.astype(np.float32))

        rows: list[dict[str, Any]] = []
        files: list[bytes] = []
        for animal in range(first, first + CHUNK):
            for side in (0, 1):
                for variant in TAKEN:
                    own = subject(animal, side, variant)
                    files.append(composites.encoded(own.pixels))
                    rows.append({"animal": animal, "side": side, "variant": variant})
                    rows[-1] |= framed(own.cover) | appearance(files[-1])
                    for _, of_side, of_variant, further in PLACES:
                        donor = subject(animal + further, of_side, of_variant)
                        files.append(composites.encoded(composites.pasted(own, donor)))
        drawn = time.perf_counter()
        for model, of_model in answer(files, number).items():
            margin, predicted = (values.reshape(len(rows), -1) for values in of_model)
            for row, margins, answers in zip(rows, margin, predicted, strict=True):
                row[f"{model} margin"] = float(margins[0])
                row[f"{model} predicted"] = int(answers[0])
                for (name, *_), value in zip(PLACES, margins[1:], strict=True):
                    row[f"{model} {name}"] = bool(value > 0)
        path = path_of(folder, animals, number, first)
        pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        ended = time.perf_counter()
        print(
            f"{done + 1} of {len(missing)}: {len(files)} pictures, {len(files) / (drawn - started):.0f} drawn and "
            f"{len(files) * len(MODELS) / (ended - drawn):.0f} embedded per second",
            flush=True,
        )


def answering(
    names: tuple[str, ...] = MODELS,
) -> Callable[[list[bytes], int], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """From files and the number of their class to model -> (N,) margins and (N,) numbers of the named classes."""
    from counterset.models.door import open_text_model
    from counterset.models.prompts import mean_text_features, prompts

    models = {name: open_text_model(name) for name in names}
    texts = {
        name: mean_text_features(model, [prompts("paper", label) for label in CLASS_NAMES.values()])
        for name, model in models.items()
    }

    def answer(files: list[bytes], number: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        found = {}
        for name, model in models.items():
            logits = model.encode_images(files, 64) @ texts[name].T  # (N, D) @ (D, C) -> (N, C)
            truth = list(CLASS_NAMES).index(CLASSES[number])
            others = np.delete(logits, truth, axis=1)
            found[name] = logits[:, truth] - others.max(axis=1), logits.argmax(axis=1)
        return found

    return answer


def framed(cover: composites.Cover) -> dict[str, float | None]:
    """Covariates of how large an animal is and where in the frame."""
    extent = extent_of(cover)
    return {"animal_share": extent and extent.share, "animal_offset": extent and extent.offset}


def path_of(folder: Path, animals: int, number: int, first: int) -> Path:
    """The file of 50 animals of a class, from `first` on."""
    return folder / f"{CLASSES[number]}-{first:05d}-{digest(animals, SEED, REVISION, composites.REVISION)}.parquet"


def read(folder: Path, animals: int) -> list[pa.Table]:
    """One table per class of CLASSES, a row per animal, side and variant, in this order."""
    return [
        pa.concat_tables(pq.read_table(path_of(folder, animals, number, first)) for first in range(0, animals, CHUNK))
        for number in range(len(CLASSES))
    ]


if __name__ == "__main__":
    main()
