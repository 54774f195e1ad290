"""Trains the demo's models and measures the truth about them.

    python -m counterset.demo.training                  # every model, then the truth
    python -m counterset.demo.training --only weak      # one model; the truth stays as it is
    python -m counterset.demo.training --truth          # only the truth, with the weights that are there

The same machine and versions give the same weights: one thread, and all draws seeded.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import torch

from counterset.demo.training import classifier, image_text
from counterset.demo.training.recipes import RECIPES
from counterset.demo.training.truth import measure, write_truth


def main() -> None:
    """Train, then measure; progress is logged."""
    parser = argparse.ArgumentParser(description="Train the demo's models and measure the truth about its world.")
    parser.add_argument("--truth", action="store_true", help="measure only, with the weights that are there")
    choices = [*RECIPES, classifier.NAME]
    parser.add_argument("--only", choices=choices, help="train this model only, and measure nothing")
    parser.add_argument("--weights", type=Path, default=image_text.WEIGHTS, help="folder to write into")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "counterset-demo-photos")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("counterset").setLevel(logging.INFO)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in [arguments.only] if arguments.only else [] if arguments.truth else choices:
        folder = arguments.weights / name
        if name == classifier.NAME:
            classifier.save(classifier.train(classifier.RECIPE, arguments.cache), folder)
            classifier.write_recipe(folder, arguments.cache)
        else:
            image_text.save(image_text.train(RECIPES[name], arguments.cache), folder)
            image_text.write_recipe(name, folder, arguments.cache)
    if not arguments.only:
        write_truth(measure(arguments.weights, list(RECIPES), arguments.cache), arguments.weights / "truth.json")


if __name__ == "__main__":
    main()
