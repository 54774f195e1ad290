"""Measure a model that is a Python function: here one that sees nothing of a photo but its mean colour.

    python own_model.py demo/releases/counterset-demo

Such a model knows the animal by its ground, so its drop is what a drop looks like where nothing but the background
counts. Put your own model, or a call of an API, in place of `scores`.
"""

from __future__ import annotations

import argparse
import io

import numpy as np
from PIL import Image

import counterset


def mean_colour(image: Image.Image) -> np.ndarray:
    """(3,) red, green and blue in [0, 1], the mean over all pixels."""
    return np.asarray(image.convert("RGB"), dtype=np.float64).mean(axis=(0, 1)) / 255


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("release", help="a packaged name, a folder, or an https:// or s3:// address")
    parser.add_argument("--output", default="evaluations", help="where evaluations are kept")
    args = parser.parse_args()

    release = counterset.load(args.release)

    # Learn on the half `discover` only: figures are read from `confirm`, whose photographers are others.
    colours: dict[str, list[np.ndarray]] = {}
    for row in (*release.common.to_pylist(), *release.counter.to_pylist()):
        if row["half"] == "discover":
            image = Image.open(io.BytesIO(release.photo(row["photo_id"])))
            colours.setdefault(release.class_names[row["class_id"]], []).append(mean_colour(image))
    centres = {name: np.mean(rows, axis=0) for name, rows in colours.items()}

    def scores(images: list[Image.Image], labels: list[str]) -> np.ndarray:
        """(N, C) scores of N images for C labels, higher is better; a list of N label names would do as well."""
        # A class without a photo in `discover` gets a centre far from all colours, and is never the answer.
        known = np.array([centres.get(label, np.full(3, 9.0)) for label in labels])
        return np.array([-np.linalg.norm(known - mean_colour(image), axis=1) for image in images])

    evaluation = counterset.evaluate(
        release, predict=scores, name="mean-colour", label_space="classes", output=args.output
    )
    for row in evaluation.metrics.to_pylist():
        print(
            f"{row['model']}: common {row['common']:.1%}, counter {row['counter']:.1%}, "
            f"drop {row['drop']:.1%} (95 % interval {row['drop_low']:.1%} to {row['drop_high']:.1%})"
        )
    print(f"tables in {evaluation.folder}")


if __name__ == "__main__":
    main()
