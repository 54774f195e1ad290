"""Who claims a background effect where there is one, and who where there is none: worlds of known causes.

    python benchmarks/causes.py --folder /tmp/pool --worlds 200

draws worlds from one pool (`benchmarks/causes_pool.py`, which is made first where it is missing) and asks each method
which classes have a background effect. Two bias finders of others are asked where they are installed: `pip install
sliceline divexplorer`. One line of JSON per world in the folder; run again to resume.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import causes_pool
import numpy as np
import pyarrow as pa
from scipy.stats import t
from statsmodels.stats.multitest import multipletests

import counterset
from counterset.causes.controlled import what_remains
from counterset.causes.effects import paired_effect
from counterset.causes.schemas import COVARIATES
from counterset.causes.wrong_answers import where_errors_go
from counterset.classes import ClassSpec
from counterset.config import SelectConfig
from counterset.demo.world.causes import CAUSES, CLASSES, SIDES, draw_world
from counterset.demo.world.classes import CLASS_NAMES, TIES
from counterset.schemas import BACKGROUNDS, MEMBERS, PREDICTIONS
from counterset.stages.select import select_pairs
from counterset.statistics.halves import half_of
from counterset.tables import table_of
from counterset.workspace import digest

PHOTOS_PER_CLASS = 300
NUM_PERMUTATIONS = 2_000
LEVEL = 0.05
LEAST = 0.05
"""A true effect that a method should see."""
LABELS = "classes"
SEVEN = tuple(CLASSES)
OTHERS = ("sliceline", "divexplorer")
MEASURED = ("animal_share", "animal_offset", "sharpness", "luminance", "contrast", "colourfulness")
"""Covariates that vary in a pool."""

Claims = dict[str, dict[str, int]]
"""Method -> class -> 1 = right answers are claimed to be fewer on the counter background because of it, -1 = on the
home background; classes without a claim are left out."""


class Pool(NamedTuple):
    """What one model answers to the pool: arrays (classes, animals, side, variant).

    Attributes:
        margin: of the photo.
        predicted: number of the named class.
        pasted: name of a place -> whether the class was named.
        measured: covariates by their name.
    """

    margin: np.ndarray
    predicted: np.ndarray
    pasted: dict[str, np.ndarray]
    measured: dict[str, np.ndarray]


def pool_of(folder: Path, animals: int, model: str) -> Pool:
    """One model's answers."""
    tables = causes_pool.read(folder, animals)

    def array(name: str) -> np.ndarray:
        return np.stack([table[name].to_numpy(zero_copy_only=False).reshape(-1, 2, 2) for table in tables])

    pasted = {name: array(f"{model} {name}") for name, *_ in causes_pool.PLACES}
    measured = {name: array(name).astype(float) for name in MEASURED}
    return Pool(array(f"{model} margin"), array(f"{model} predicted"), pasted, measured)


class World(NamedTuple):
    """The photos of one world; arrays are (N,).

    Attributes:
        photo_id: their number in the pool, as text.
        number: of the class.
        named: the group that the photo was put into, 0 = home.
        unit: number of its observer.
        place: (4, N) indices into the arrays of a pool.
    """

    photo_id: list[str]
    number: np.ndarray
    named: np.ndarray
    unit: np.ndarray
    place: tuple[np.ndarray, ...]

    @property
    def group(self) -> list[str]:
        """Names of their backgrounds."""
        return [TIES[SEVEN[number]][side] for number, side in zip(self.number, self.named, strict=True)]


def world_of(cause: str, animals: int, seed: int) -> World:
    """World number `seed`."""
    table = draw_world(cause, animals, PHOTOS_PER_CLASS, seed)  # type: ignore[arg-type]
    number = np.array([SEVEN.index(class_id) for class_id in table["class_id"].to_pylist()])
    on_counter = np.array(
        [TIES[SEVEN[n]][1] == b for n, b in zip(number, table["background"].to_pylist(), strict=True)]
    )
    is_far = np.array(table["variant"].to_pylist()) == "far"
    place = number, table["animal"].to_numpy(), on_counter.astype(int), is_far.astype(int)
    named = np.array([SIDES.index(group) for group in table["group"].to_pylist()])
    return World([str(n) for n in table["photo_id"].to_pylist()], number, named, table["observer_id"].to_numpy(), place)


def tables_of(world: World, pool: Pool) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Members with their group, backgrounds and predictions, as the select stage reads them."""
    margin, predicted = pool.margin[world.place], pool.predicted[world.place]
    class_id = [SEVEN[number] for number in world.number]
    unit = [f"observer-{number}" for number in world.unit]
    half = [half_of(one, name).value for one, name in zip(class_id, unit, strict=True)]
    keys = {"photo_id": world.photo_id, "class_id": class_id}
    members = keys | {"observation_id": world.photo_id, "observer": unit, "unit": unit, "half": half}
    backgrounds = keys | {"background": world.group, "group": world.group}
    backgrounds |= {"margin": np.ones(len(half), np.float32), "is_confident": [True] * len(half)}
    labels = list(CLASS_NAMES.values())
    predictions = {
        "photo_id": world.photo_id,
        "model": ["selector"] * len(half),
        "label_space": [LABELS] * len(half),
        "predicted": [labels[number] for number in predicted],
        "is_correct": margin > 0,
        "rank_of_truth": np.where(margin > 0, 1, 2).astype(np.int32),
        "margin": margin.astype(np.float32),
    }
    return _read(MEMBERS, members), _read(BACKGROUNDS, backgrounds), table_of(PREDICTIONS, predictions)


def _read(schema: Any, columns: dict[str, Any]) -> pa.Table:
    """A table with the columns that are given: stages read no others."""
    arrow = schema.arrow()
    return pa.table({name: pa.array(values, arrow.field(name).type) for name, values in columns.items()})


def ask(world: World, pool: Pool, seed: int) -> Claims:
    """What each method claims of one world."""
    members, backgrounds, predictions = tables_of(world, pool)

    def pairs_of(mode: str) -> pa.Table:
        config = SelectConfig(mode=mode, num_permutations=NUM_PERMUTATIONS)  # type: ignore[arg-type]
        tables = members, backgrounds, predictions
        given: dict[str, Any] = {"selectors": ("selector",), "label_space": LABELS, "class_ids": SEVEN, "seed": seed}
        return select_pairs(*tables, config, **given).pairs

    pairs = pairs_of("split")
    direction = {
        row["class_id"]: 1 if row["common"] == TIES[row["class_id"]][0] else -1
        for row in pairs.to_pylist()
        if row["common"] is not None
    }
    photos = members.append_column("group", backgrounds["group"])
    paper = pairs_of("paper").to_pylist()
    claims: Claims = {
        "paper's rule": {
            row["class_id"]: 1 if row["common"] == TIES[row["class_id"]][0] else -1
            for row in paper
            if row["verdict"] == "confirmed"
        },
        "counterset": {
            row["class_id"]: direction[row["class_id"]] for row in pairs.to_pylist() if row["verdict"] == "confirmed"
        },
        "controlled": controlled(world, pool, photos, pairs, predictions, direction, seed),
        "interventions": interventions(world, pool, direction, seed),
        "errors go": errors_go(photos, pairs, predictions, direction),
    }
    for name, finder in FINDERS.items():
        if importlib.util.find_spec(name):
            claims[name] = finders(world, pool, finder)
    return claims


def controlled(
    world: World,
    pool: Pool,
    photos: pa.Table,
    pairs: pa.Table,
    predictions: pa.Table,
    direction: dict[str, int],
    seed: int,
) -> dict[str, int]:
    """A drop that is still there, by test and interval, once the animal's share of the frame and its place are out."""
    known: dict[str, Any] = {name: [None] * len(world.unit) for name in COVARIATES.arrow().names}
    known |= {"photo_id": world.photo_id, "class_id": photos["class_id"], "megapixels": np.ones(len(world.unit))}
    known |= {"aspect": np.ones(len(world.unit)), "size_bytes": np.ones(len(world.unit), np.int64)}
    known |= {"observer_photos": np.ones(len(world.unit), np.int64)}
    known |= {name: _nullable(values[world.place]) for name, values in pool.measured.items()}
    found = what_remains(
        photos,
        pairs,
        predictions,
        table_of(COVARIATES, known),
        ("selector",),
        min_photos=SelectConfig().min_photos,
        num_permutations=NUM_PERMUTATIONS,
        seed=seed,
    ).controlled
    return {
        row["class_id"]: direction[row["class_id"]]
        for row in found.to_pylist()
        if row["q_controlled"] is not None and row["q_controlled"] <= LEVEL and row["drop_controlled_low"] > 0
    }


def _nullable(values: np.ndarray) -> pa.Array:
    """Numbers, null where there is none."""
    return pa.array(values, pa.float64(), from_pandas=True)


def interventions(world: World, pool: Pool, direction: dict[str, int], seed: int) -> dict[str, int]:
    """A background effect of animals pasted before places of both groups, Benjamini-Hochberg over classes.

    Every photo is given places like those of a photo of either group: on its true background, from its distance. The
    places themselves are others', drawn when the pool was.
    """
    rng = np.random.default_rng([seed, 99])
    p_values: dict[str, float] = {}
    for number, class_id in enumerate(SEVEN):
        own = np.flatnonzero(world.number == number)
        right = []
        taken = None
        for group in (0, 1):
            givers = own[world.named[own] == group]
            giver = rng.choice(givers, len(own))
            kind = 2 * world.place[2][giver] + world.place[3][giver]
            again = np.zeros(len(own), bool) if taken is None else taken == kind
            names = np.array(["home_usual", "home_far", "counter_usual", "counter_far"])[kind]
            names = np.where(again & (kind < 2), np.char.add(names, "_again"), names)
            place = tuple(index[own] for index in world.place)
            values = np.zeros(len(own))
            for name in set(names.tolist()):
                values = np.where(names == name, pool.pasted[name][place], values)
            right.append(values)
            taken = kind
        difference = (right[0] - right[1]) * direction.get(class_id, 1)
        effect = paired_effect(difference, world.named[own], world.unit[own][:, None])
        if effect.error is not None and effect.low is not None and effect.high is not None:
            p_values[class_id] = float(t.sf((effect.low + effect.high) / 2 / effect.error, effect.freedom))
    if not p_values:
        return {}
    passed = multipletests(list(p_values.values()), alpha=LEVEL, method="fdr_bh")[0]
    return {class_id: direction.get(class_id, 1) for class_id, is_one in zip(p_values, passed, strict=True) if is_one}


def errors_go(photos: pa.Table, pairs: pa.Table, predictions: pa.Table, direction: dict[str, int]) -> dict[str, int]:
    """More wrong answers name classes at home on the counter background than by chance: the interval is above 0."""
    specs = [ClassSpec(class_id, name, None) for class_id, name in CLASS_NAMES.items()]
    # Where a class lives is known from more photos than the two groups have: here ten more of its home.
    more = {name: [] for name in photos.column_names}
    for class_id in SEVEN:
        for extra in range(10):
            row = {
                "photo_id": f"{class_id}-{extra}",
                "class_id": class_id,
                "group": TIES[class_id][0],
                "half": "discover",
            }
            for name, values in more.items():
                values.append(row.get(name, f"extra-{class_id}-{extra}"))
    known = pa.concat_tables([photos, pa.table(more, schema=photos.schema)])
    found = where_errors_go(known, pairs, predictions, specs).by_class.to_pylist()
    return {
        row["class_id"]: direction[row["class_id"]]
        for row in found
        if row["excess_low"] is not None and row["excess_low"] > 0
    }


def finders(world: World, pool: Pool, finder: Callable[[Any, np.ndarray, np.ndarray], int]) -> dict[str, int]:
    """A bias finder's claims: it is told each photo's background, and size and sharpness in thirds."""
    import pandas as pd

    claims = {}
    right = pool.margin[world.place] > 0
    for number, class_id in enumerate(SEVEN):
        own = world.number == number
        columns: dict[str, Any] = {"background": np.array(["home", "counter"])[world.named[own]]}
        for name in ("animal_share", "sharpness"):
            values = pool.measured[name][world.place][own]
            columns[name] = np.array(["low", "middle", "high"])[
                np.digitize(values, np.quantile(values, [1 / 3, 2 / 3]))
            ]
        claim = finder(pd.DataFrame(columns), ~right[own], world.named[own])
        if claim:
            claims[class_id] = claim
    return claims


def sliceline(table: Any, is_wrong: np.ndarray, _: np.ndarray) -> int:
    """A claim = its first slice, by its defaults, names the background."""
    from sliceline.slicefinder import Slicefinder

    if not is_wrong.any():
        return 0
    found = Slicefinder(verbose=False).fit(table, is_wrong.astype(float))
    slices = [] if found.top_slices_ is None else np.asarray(found.top_slices_)
    return 0 if not len(slices) else {"counter": 1, "home": -1}.get(slices[0][0], 0)


def divexplorer(table: Any, is_wrong: np.ndarray, _: np.ndarray) -> int:
    """A claim = the background alone diverges in errors at t above 1.96, at least in 5 % of the photos."""
    from divexplorer import DivergenceExplorer

    if not is_wrong.any():
        return 0
    found = DivergenceExplorer(table.assign(wrong=is_wrong)).get_pattern_divergence(0.05, boolean_outcomes=["wrong"])
    for side, claim in (("counter", 1), ("home", -1)):
        rows = found[found["itemset"] == frozenset({f"background={side}"})]
        if len(rows) and rows["wrong_div"].iloc[0] > 0 and rows["wrong_t"].iloc[0] > 1.96:
            return claim
    return 0


FINDERS = {"sliceline": sliceline, "divexplorer": divexplorer}


def truth_of(pool: Pool, cause: str) -> dict[str, float]:
    """class -> what the home rather than the counter background gives, counted over the pool's animals drawn twice."""
    if not CAUSES[cause].has_background:  # type: ignore[index]
        return dict.fromkeys(SEVEN, 0.0)
    right = pool.margin > 0
    return dict(zip(SEVEN, (right[:, :, 0] - right[:, :, 1].astype(float)).mean(axis=(1, 2)).tolist(), strict=True))


def run(folder: Path, animals: int, model: str, worlds: int) -> Iterator[dict[str, Any]]:
    """One record per world, from the folder where it is there."""
    path = folder / f"worlds-{model.partition(':')[2]}-{_decided_by(animals)}.jsonl"
    done = {(r["cause"], r["seed"]): r for line in _lines(path) if (r := json.loads(line))}
    pool = pool_of(folder, animals, model)
    for seed in range(worlds):
        for cause in CAUSES:
            if (cause, seed) not in done:
                record = {"cause": cause, "seed": seed, "claims": ask(world_of(cause, animals, seed), pool, seed)}
                with path.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                done[cause, seed] = record
            yield done[cause, seed]


def _decided_by(animals: int) -> str:
    """A digest of the code that decides the claims: with other statistics, worlds are asked anew."""
    package = Path(counterset.__file__).parent
    rooms = [*sorted((package / "causes").glob("*.py")), *sorted((package / "statistics").glob("*.py"))]
    code = [Path(__file__), Path(causes_pool.__file__), package / "stages/select.py", *rooms]
    return digest(animals, [hashlib.sha256(path.read_bytes()).hexdigest() for path in code])


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.endswith("}}}")] if path.exists() else []


def summary(records: list[dict[str, Any]], truths: dict[str, dict[str, float]]) -> list[list[str]]:
    """One row per method and cause."""
    rows = []
    for method in dict.fromkeys(name for record in records for name in record["claims"]):
        for cause, truth in truths.items():
            own = [r["claims"][method] for r in records if r["cause"] == cause and method in r["claims"]]
            false = [sum(claim * truth[c] <= 0 for c, claim in claims.items()) for claims in own]
            real = [class_id for class_id, effect in truth.items() if abs(effect) >= LEAST]
            seen = [claims.get(c, 0) * truth[c] > 0 for claims in own for c in real]
            power = f"{100 * np.mean(seen):.0f} % of {len(real)} classes" if real else ""
            worlds = f"{100 * np.mean([n > 0 for n in false]):.1f} %"
            rows.append([method, cause, str(len(own)), worlds, f"{np.mean(false):.2f}", power])
    return rows


def main() -> None:
    """Print the scoreboard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the pool and the worlds' records")
    parser.add_argument("--animals", type=int, default=1_000, help="of the pool, per class")
    parser.add_argument("--worlds", type=int, default=200, help="of each cause")
    parser.add_argument("--model", default="demo:medium", choices=causes_pool.MODELS)
    args = parser.parse_args()
    causes_pool.make(args.folder, args.animals)
    missing = [name for name in OTHERS if not importlib.util.find_spec(name)]
    if missing:
        print(f"{' and '.join(missing)} are not installed and have no rows: pip install {' '.join(missing)}")
    records = list(run(args.folder, args.animals, args.model, args.worlds))
    pool = pool_of(args.folder, args.animals, args.model)
    truths = {cause: truth_of(pool, cause) for cause in CAUSES}
    print(
        f"{args.model}: true effects in points: {json.dumps({c: round(100 * e, 1) for c, e in truths['both'].items()})}"
    )
    columns = ["method", "planted", "worlds", "worlds with a false claim", "false claims per world", "power"]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in summary(records, truths):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
