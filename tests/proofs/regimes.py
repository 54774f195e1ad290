"""The regimes of `make statistics`: what worlds are drawn, what is done with each, and which promises are waived.

To add one, append a `Regime` to REGIMES. What is done with a world is its `procedure`, which builds once or more times
and gives one row per tested pair (`Row`). A build is the select stage (`build_now`), or what the first edition did with
the same world (`build_first`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np

from counterset.config import SelectConfig
from counterset.schemas import PAIRS, Verdict
from counterset.stages.select import pair_rows
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.schemas import LOOKS
from counterset.statistics.series import after, looks_until, with_looks
from counterset.tables import table_of

from . import first
from .counted import counted, verdicts_alone
from .worlds import Crowd, Geometric, World, Zipf, draw_world, planted

Row: TypeAlias = dict[str, Any]
"""A row of pairs with `truth`, the pair's true drop, `is_planted` and `is_right` (the planted pair was chosen)."""

NO_PAIRS: Mapping[str, tuple[str, str]] = MappingProxyType({})


class Build(Protocol):
    """One build of a world; `held` are the pairs of classes that an earlier look confirmed."""

    def __call__(
        self, regime: Regime, world: World, seed: int, held: Mapping[str, tuple[str, str]] = NO_PAIRS
    ) -> list[Row]: ...


class Procedure(Protocol):
    """What is done with a world; `seed` is its number."""

    __name__: str

    def __call__(self, build: Build, regime: Regime, world: World, seed: int) -> list[Row]: ...


MANY = dict(num_permutations=1_849, min_photos=10, min_units=3)
"""2 of 1,850 is just below 0.05 / 45, so that few permutations take nothing from what is false."""
LOW = MANY | dict(min_photos=5)

BASE = Crowd()


@dataclass(frozen=True)
class Regime:
    """Worlds of one kind.

    Attributes:
        name: in tables and on the command line.
        crowd: who takes the photos.
        photos: of each group, or one number per group.
        photo_range: each group's photos are drawn between these, on a logarithmic scale, in place of `photos`.
        base: range of the classes' accuracies.
        spread: standard deviation of groups' accuracies around their class's, in 6 of 10 classes.
        drop: true drop of group 1 against group 2 in the first `num_planted` classes.
        num_classes: of a world.
        num_groups: of a class.
        num_planted: classes with a drop.
        num_selectors: models that choose.
        config: settings of the select stage.
        procedure: what is done with a world; None = it is built once.
        waived: why the promises do not hold here; empty = they must.
    """

    name: str
    crowd: Crowd = BASE
    photos: int | tuple[int, ...] = 100
    photo_range: tuple[int, int] | None = None
    base: tuple[float, float] = (0.5, 0.9)
    spread: float = 0.0
    drop: float = 0.0
    num_classes: int = 45
    num_groups: int = 6
    num_planted: int = 15
    num_selectors: int = 1
    config: dict[str, Any] = field(default_factory=lambda: dict(MANY))
    procedure: Procedure | None = field(default=None, repr=False)
    waived: str = ""

    def draw(self, seed: int) -> World:
        """World number `seed` of this regime; the same on every machine."""
        rng = np.random.default_rng([*self.name.encode(), seed])
        accuracies = planted(
            rng, self.num_classes, self.num_groups, base=self.base, drop=self.drop, num_planted=self.num_planted
        )
        if self.spread:
            moved = rng.normal(0, self.spread, accuracies.shape) * (rng.random((self.num_classes, 1)) < 0.6)
            accuracies = np.clip(np.round(accuracies + moved, 2), 0.05, 0.97)
        photos = np.asarray(self.photos)
        if self.photo_range:
            photos = np.exp(rng.uniform(*np.log(self.photo_range), accuracies.shape)).round().astype(np.int64)
        return draw_world(rng, accuracies, photos, self.crowd)

    def run(self, world: World, seed: int, build: Build) -> list[Row]:
        """The rows of world number `seed`."""
        return self.procedure(build, self, world, seed) if self.procedure else build(self, world, seed)

    @property
    def key(self) -> str:
        """All that decides its tallies, but the code."""
        return f"{self!r} {self.procedure and self.procedure.__name__}"


def build_now(regime: Regime, world: World, seed: int, held: Mapping[str, tuple[str, str]] = NO_PAIRS) -> list[Row]:
    """The pairs that the select stage tests, beside the truth."""
    config = SelectConfig(**regime.config)
    with verdicts_alone(config.max_q_value):
        rows = pair_rows(counted(world, regime.num_selectors, DISCOVER_SHARE), config, seed=seed, held=held)
    return _beside_truth(regime, world, [row for row in rows if row["verdict"] != Verdict.TOO_SMALL.value])


def build_first(regime: Regime, world: World, seed: int, held: Mapping[str, tuple[str, str]] = NO_PAIRS) -> list[Row]:
    """The same of the first edition, which knew no earlier looks."""
    classes = counted(world, regime.num_selectors, first.DISCOVER_SHARE)
    return _beside_truth(regime, world, first.first_rows(classes, SelectConfig(**regime.config), seed=seed))


BUILDS: dict[str, Build] = {"now": build_now, "first": build_first}


def _beside_truth(regime: Regime, world: World, rows: list[Row]) -> list[Row]:
    known = []
    for row in rows:
        is_planted = regime.drop > 0 and world.class_ids.index(row["class_id"]) < regime.num_planted
        is_right = (row["common"], row["counter"]) == world.groups[1:3]
        truth = world.truth(row["class_id"], row["common"], row["counter"])
        known.append(row | {"truth": truth, "is_planted": is_planted, "is_right": is_planted and is_right})
    return known


def by_place(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """One build whose units are made of observers and places, as curation does."""
    return build(regime, world.by_place(), seed)


def rebuilt(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """Six builds of a world that grows by 15 % of its first photos between each; the rows of all of them."""
    shares = 1 + 0.15 * np.arange(6)
    return [row for share in shares / shares[-1] for row in build(regime, world.kept(world.arrival < share), seed)]


def named(num_selectors: int) -> str:
    """The selectors, in a regime's name."""
    return f"{num_selectors} selector{'s' if num_selectors > 1 else ''}"


def in_series(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """Six looks of one series at a world that grows as in `rebuilt`; the rows of all of them."""
    shares = 1 + 0.15 * np.arange(6)
    most = SelectConfig(**regime.config).max_q_value
    looks, rows = table_of(LOOKS, []), []
    for share in shares / shares[-1]:
        series = after(looks, is_same_look=False)
        level = series.level(most)
        held = {class_id: (pair.common, pair.counter) for class_id, pair in series.held.items()}
        now = replace(regime, config=regime.config | {"max_q_value": level})
        found = build(now, world.kept(world.arrival < share), seed, held)
        pairs = table_of(PAIRS, [{name: row.get(name) for name in PAIRS.arrow().names} for row in found])
        looks = looks_until(looks, with_looks(pairs, series, level), "")
        rows += found
    return rows


def of_union(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """The same series, one row per class: where it was first confirmed, or else the last one."""
    rows: dict[str, Row] = {}
    for row in in_series(build, regime, world, seed):
        if row["class_id"] not in rows or rows[row["class_id"]]["verdict"] != "confirmed":
            rows[row["class_id"]] = row
    return list(rows.values())


ONE, HEAVY, HEAVIER = Geometric(1.0), Zipf(1.2), Zipf(1.5, 100)
UNEVEN = "one background's observers are more alike than another's"
NO_PLACES = "observers share places that the source does not tell"
CUT = "units of more than a tenth of a class are cut, and their places leak"
SKILL = "the groups do differ: in who photographs them"


def _halves(first: Any, second: Any) -> tuple[Any, ...]:
    return (first,) * 3 + (second,) * 3


NULL = (
    Regime("base"),
    Regime("base, rho 0.3", Crowd(rho=0.3)),
    Regime("base, rho 0", Crowd(rho=0.0)),
    Regime("observers keep to one group", Crowd(crossing=0.0)),
    Regime("observers keep to one group, rho 0.3", Crowd(rho=0.3, crossing=0.0)),
    Regime("observers go anywhere, luck is theirs, rho 0.3", Crowd(rho=0.3, crossing=1.0, sizes=HEAVY)),
    Regime("observers go anywhere, luck is the trip's, rho 0.3", Crowd(rho=0.3, crossing=1.0, across=0.0, sizes=HEAVY)),
    Regime("accuracy 0.97", base=(0.97, 0.97)),
    Regime("accuracy 0.03", base=(0.03, 0.03)),
    Regime("accuracy 0.995, rho 0.3", Crowd(rho=0.3), base=(0.995, 0.995)),
    Regime("one observer gave half of a group", Crowd(dominated=True)),
    Regime("one observer gave half of a group, rho 0.3", Crowd(rho=0.3, dominated=True)),
    Regime("two selectors", Crowd(num_models=2), num_selectors=2),
    Regime("two selectors, rho 0.3", Crowd(rho=0.3, num_models=2), num_selectors=2),
    Regime("30 to 3000 photos, low limits", photo_range=(30, 3000), config=LOW),
    Regime(
        "30 to 3000 photos, low limits, rho 0.3, heavy",
        Crowd(rho=0.3, sizes=HEAVIER),
        photo_range=(30, 3000),
        config=LOW,
    ),
    Regime("half of the groups by the prolific", Crowd(crossing=0.0, sizes=_halves(ONE, HEAVY)), photos=200),
    Regime(
        "half of the groups by the prolific, rho 0.3",
        Crowd(rho=0.3, crossing=0.0, sizes=_halves(ONE, HEAVY)),
        photos=200,
    ),
    Regime("rho 0.02 or 0.6 by class", Crowd(rho_by_class=(0.02, 0.6), sizes=HEAVY), photos=200),
    Regime("classes share observers, rho 0.3", Crowd(rho=0.3, is_pool=True)),
    Regime("2 groups", num_groups=2),
    Regime("15 groups", num_groups=15),
    Regime("50 photos, low limits", photos=50, config=LOW),
)
UNEVEN_NULL = (
    Regime(
        "rho 0 and 0.5 by group, 200 photos",
        Crowd(rho=_halves(0.0, 0.5), crossing=0.0, sizes=HEAVY),
        photos=200,
        waived=UNEVEN,
    ),
    Regime(
        "rho 0 and 0.5 by group, 600 and 200 photos",
        Crowd(rho=_halves(0.0, 0.5), crossing=0.0, sizes=HEAVY),
        photos=_halves(600, 200),
        waived=UNEVEN,
    ),
    Regime(
        "rho 0.6 in one small group of six",
        Crowd(rho=(0.0,) * 5 + (0.6,), crossing=0.0, sizes=HEAVY),
        photos=(600,) * 5 + (150,),
        waived=UNEVEN,
    ),
    Regime(
        "rho 0.05 and 0.25 by group, 600 and 150 photos",
        Crowd(rho=_halves(0.05, 0.25), crossing=0.0),
        photos=_halves(600, 150),
        waived=UNEVEN,
    ),
    Regime(
        "rho 0.05 and 0.25 by group, 600 and 150 photos, heavy",
        Crowd(rho=_halves(0.05, 0.25), crossing=0.0, sizes=HEAVY),
        photos=_halves(600, 150),
        waived=UNEVEN,
    ),
    Regime(
        "rho 0.05 and 0.25 by group, 600 and 150 photos, 8 classes",
        Crowd(rho=_halves(0.05, 0.25), crossing=0.0),
        photos=_halves(600, 150),
        num_classes=8,
        waived=UNEVEN,
    ),
    Regime(
        "rho 0.1 and 0.2 by group, 400 and 150 photos",
        Crowd(rho=_halves(0.1, 0.2), crossing=0.0),
        photos=_halves(400, 150),
        waived=UNEVEN,
    ),
)
UNEVEN_RULE = tuple(
    Regime(
        f"rho {low:g} and {high:g} in turn, 400 and 150 photos" + (f", {round(100 * drop)} points" if drop else ""),
        Crowd(rho=(low, high) * 3, crossing=0.0),
        photos=(400, 150) * 3,
        base=(0.55, 0.85),
        drop=drop,
        waived=UNEVEN if high > low else "",
    )
    for low, high in ((0.1, 0.1), (0.1, 0.15), (0.1, 0.2), (0.1, 0.3))
    for drop in (0.0, 0.2)
)
"""What the mark of uneven pairs catches and what it costs; the planted pair is a small group and a large one."""


def _places(per_place: int, rho: float, photos: int) -> tuple[Regime, Regime]:
    crowd = Crowd(rho=rho, crossing=0.0, observers_per_place=per_place, place_share=0.5)
    name = f"places of {per_place} observers, rho {rho:g}, {photos} photos"
    config = MANY | dict(min_units=3)
    return (
        Regime(f"{name}, unit observer", crowd, photos=photos, waived=NO_PLACES),
        Regime(f"{name}, unit place", crowd, photos=photos, config=config, procedure=by_place),
    )


PLACES = (
    *_places(5, 0.2, 150),
    *_places(10, 0.2, 300),
    *_places(20, 0.1, 600),
    Regime(
        "places of 10 observers, rho 0.2, 300 photos, a tenth of them on visits, unit place",
        Crowd(rho=0.2, crossing=0.0, observers_per_place=10, place_share=0.5, visiting=0.1),
        photos=300,
        config=MANY | dict(min_units=3),
        procedure=by_place,
        waived=CUT,
    ),
    Regime(
        "a feeder of 60 observers, rho 0.2, 100 photos, unit place",
        Crowd(rho=0.2, crossing=0.0, observers_per_place=60, place_share=0.5),
        config=MANY | dict(min_units=3),
        procedure=by_place,
        waived=CUT,
    ),
)
SKILLED = (
    Regime(
        "the skilled at home in one group",
        Crowd(skill=(0.08, 0.0, 0.0, 0.0, 0.0, -0.08)),
        photos=300,
        base=(0.6, 0.85),
        waived=SKILL,
    ),
    Regime(
        "the busy do better, and take other groups",
        Crowd(rho=0.2, crossing=0.0, ability=1.0, sizes=_halves(ONE, HEAVY)),
        photos=300,
        waived=SKILL,
    ),
)
PLANTED = tuple(
    Regime(
        f"{round(100 * drop)} points, {photos} photos", Crowd(crossing=0.2), photos=photos, base=(0.55, 0.85), drop=drop
    )
    for drop, photos in ((0.1, 100), (0.2, 100), (0.3, 100), (0.2, 150), (0.1, 300), (0.2, 300), (0.3, 300))
)
SPREAD = (
    Regime(
        "accuracies spread by 6 points, 150 photos", Crowd(crossing=0.2), photos=150, base=(0.55, 0.85), spread=0.06
    ),
)
MONTHS = (
    Regime(
        "six rebuilds of a growing world",
        Crowd(crossing=0.2),
        photos=140,
        procedure=rebuilt,
        waived="each look spends all of the error",
    ),
    Regime("six looks of one series", Crowd(crossing=0.2), photos=140, procedure=in_series),
    *(
        Regime(
            f"six looks of one series, 20 points, 140 photos, {name}",
            Crowd(crossing=0.2),
            photos=140,
            base=(0.55, 0.85),
            drop=0.2,
            procedure=procedure,
            waived="a class's row is the one that was confirmed",
        )
        for name, procedure in (("union", of_union), ("all looks", in_series))
    ),
)
LATENT = Crowd(rho=0.17, crossing=0.2, sizes=Geometric(), is_normal=True, num_models=3, likeness=0.65)
"""Worlds of three models with normal margins, on which procedures are compared; outcomes correlate by 0.1."""
MARGINS = (
    *(
        Regime(
            f"normal margins, {round(100 * drop)} points, {photos} photos, {named(1)}",
            LATENT,
            photos=photos,
            base=(0.7, 0.7),
            drop=drop,
        )
        for drop, photos in ((0.0, 100), (0.2, 100), (0.3, 100), (0.2, 150), (0.1, 300), (0.2, 300))
    ),
    *(
        Regime(
            f"normal margins, {round(100 * drop)} points, {photos} photos, accuracy {base:g}, {named(3)}",
            LATENT,
            photos=photos,
            base=(base, base),
            drop=drop,
            num_selectors=3,
        )
        for drop, photos, base in ((0.0, 100, 0.7), (0.1, 1000, 0.7), (0.2, 150, 0.85))
    ),
)

REGIMES: tuple[Regime, ...] = (
    *NULL,
    *UNEVEN_NULL,
    *UNEVEN_RULE,
    *PLACES,
    *SKILLED,
    *PLANTED,
    *SPREAD,
    *MONTHS,
    *MARGINS,
)
