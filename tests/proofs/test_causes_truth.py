"""Interventions beside the truth, on a few animals: `benchmarks/causes_truth.py` has all classes and models."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from counterset.causes import composites
from counterset.causes.effects import paired_effect
from counterset.demo.world.causes import CLASSES

from ..benchmark_files import load_benchmark

ANIMALS = 24
MODEL = "demo:medium"


@pytest.fixture(scope="module")
def benchmark_of_truth() -> ModuleType:
    return load_benchmark("causes_truth")


def test_an_intervention_shows_what_exact_cutting_out_would(benchmark_of_truth: Any) -> None:
    answer = benchmark_of_truth.answering((MODEL,))
    for class_id in ("ice_bear", "lion"):  # whose place does most to the animal, and whose other cameras do
        number = CLASSES.index(class_id)
        files: list[bytes] = []
        names: list[str] = []
        for _, _, one in benchmark_of_truth.shown(number, ANIMALS):
            named = {name: pixels for name, pixels in one.pictures() if name.startswith(("exact", "pasted"))}
            files += [composites.encoded(pixels) for pixels in named.values()]
            names = list(named)
        [(margin, _)] = answer(files, number).values()
        right = dict(zip(names, (margin.reshape(2 * ANIMALS, -1) > 0).astype(float).T, strict=True))
        effects = {kind: right[f"{kind} home"] - right[f"{kind} counter"] for kind in ("exact", "pasted")}
        animal = np.repeat(np.arange(ANIMALS), 2)
        found = paired_effect(effects["pasted"], np.tile([0, 1], ANIMALS), animal[:, None])
        assert found.low is not None and found.high is not None
        assert found.low <= effects["exact"].mean() <= found.high, class_id
        assert np.mean([right[f"exact {side}"] == right[f"pasted {side}"] for side in ("home", "counter")]) > 0.85


def test_a_cell_compares_an_intervention_with_the_exact_effect(benchmark_of_truth: Any) -> None:
    rng = np.random.default_rng(4)
    animals, shape = 300, (300, 2)
    right = {"redrawn": (rng.random(shape) < [0.9, 0.5]).astype(float)}
    for kind, on_counter in (("own", 0.55), ("exact", 0.6), ("pasted", 0.6)):
        right |= {
            f"{kind} {side}": (rng.random(shape) < chance).astype(float)
            for side, chance in zip(("home", "counter"), (0.9, on_counter), strict=True)
        }
    cell = benchmark_of_truth.cell_of(right, rng)
    redrawn = right["redrawn"].mean(axis=0)
    assert cell.redrawn == pytest.approx(100 * (redrawn[0] - redrawn[1]))
    assert cell.exact == pytest.approx(100 * (right["exact home"] - right["exact counter"]).mean())
    assert 0 < cell.exact_error < 100 / animals**0.5 and 5 < cell.reach < 20
    assert cell.covered > 0.85
    apart = right | {"pasted counter": np.ones(shape)}
    assert benchmark_of_truth.cell_of(apart, rng).covered == 0
