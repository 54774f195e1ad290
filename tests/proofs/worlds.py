"""Worlds of known truth: who took which photo of what, and how sure each model is of it.

    world = draw_world(rng, accuracies, Crowd(rho=0.1, sizes=Zipf(2.0)))
    members, backgrounds, predictions = world.tables(discover_share=0.75)
    result = select_pairs(members, backgrounds, predictions, config, selectors=world.models, label_space=LABELS,
                          class_ids=world.class_ids, seed=0)

A `World` has one element per photo: class, group, observer, place, time of arrival, and one margin per model. A
photo is right where its margin is above 0. The tables are those that the select stage reads, so that the same world
goes through any version of it: the halves are cut from one uniform draw per unit, at whatever share a version uses.

A margin is the sum of the observer's own level in that group and of the photo's noise. The level follows a beta law
(the observer's accuracy is beta distributed around the group's, so that two photos of one observer in one group
correlate by `rho` exactly) or a normal one. Change margins, groups or anything else by `dataclasses.replace`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import betaincinv, ndtr, ndtri

from counterset.schemas import BACKGROUNDS, MEMBERS, PREDICTIONS, Half, TableSchema
from counterset.statistics.units import MAX_SHARE, NONE, join

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LABELS = "labels"
"""The label space of every world's predictions."""
NOWHERE = -1
LUCK = np.linspace(-5.0, 5.0, 2001)
FARTHEST = 8.0
"""Levels end here: an observer who is always right has no higher one."""


class Sizes(Protocol):
    """How many photos each observer gave."""

    def draw(self, rng: np.random.Generator, total: int) -> Ints:
        """Photos of each observer, `total` in sum; the last observer has what is left."""
        ...


@dataclass(frozen=True)
class Zipf:
    """Heavy tails: n photos with a chance that falls as n ** -exponent."""

    exponent: float = 2.0
    largest: int = 50

    def draw(self, rng: np.random.Generator, total: int) -> Ints:
        """Photos of each observer."""
        chance = np.cumsum(np.arange(1, self.largest + 1, dtype=np.float64) ** -self.exponent)
        return _cut(1 + np.searchsorted(chance / chance[-1], rng.random(total)), total)


@dataclass(frozen=True)
class Geometric:
    """Light tails around a mean; 1 = everyone gave one photo."""

    mean: float = 3.0

    def draw(self, rng: np.random.Generator, total: int) -> Ints:
        """Photos of each observer."""
        return _cut(rng.geometric(1 / self.mean, total), total)


def _cut(sizes: Ints, total: int) -> Ints:
    cut = np.diff(np.minimum(np.cumsum(sizes), total), prepend=0)
    return np.asarray(cut[cut > 0], np.int64)


@dataclass(frozen=True)
class Crowd:
    """Who takes the photos, and how alike those of one observer are.

    Attributes:
        rho: correlation of two photos of one observer in one group; one per group where they differ.
        rho_by_class: drawn anew for every class out of these, in place of `rho`.
        sizes: photos per observer; one law per group where they differ.
        crossing: share of each group's photos by observers who go to any group.
        across: correlation of an observer's luck between groups: 1 = lucky in all or in none; 0 = the trip's.
        dominated: one observer gave half of a random group of each class.
        skill: added to the accuracy of every observer at home in that group, one per group.
        ability: how much better the busy are: the slope of luck on the logarithm of an observer's photos.
        observers_per_place: observers at home in a group who share a place; 0 = nobody has a place.
        place_share: share of the variance of luck that is the place's.
        visiting: share of the photos that observers with a place took in another place of the same group.
        is_pool: all classes share one pool of observers, each with one luck and one half.
        is_normal: luck is added to the margin as it is; `rho` is then the correlation of margins, not of outcomes.
        num_models: models that look at every photo.
        likeness: correlation between two models of what is the photo's own.
    """

    rho: float | tuple[float, ...] = 0.1
    rho_by_class: tuple[float, ...] = ()
    sizes: Sizes | tuple[Sizes, ...] = Zipf()
    crossing: float = 0.3
    across: float = 1.0
    dominated: bool = False
    skill: tuple[float, ...] = ()
    ability: float = 0.0
    observers_per_place: int = 0
    place_share: float = 0.5
    visiting: float = 0.0
    is_pool: bool = False
    is_normal: bool = False
    num_models: int = 1
    likeness: float = 0.6


@dataclass(frozen=True)
class World:
    """Photos of known truth, one element per photo.

    Attributes:
        accuracies: (K, G) true accuracy of each group, over observers.
        class_index: (N,) from 0.
        group: (N,) from 0, within the class.
        observer: (N,) from 0, over all classes.
        place: (N,) from 0, over all classes; NOWHERE = none is known.
        arrival: (N,) in [0, 1): when the observer's photos came; all of one observer's come together.
        coin: (O,) in [0, 1): the draw of each observer that says which half it is in.
        margin: (N, M) of each model; above 0 = right.
    """

    accuracies: Floats
    class_index: Ints
    group: Ints
    observer: Ints
    place: Ints
    arrival: Floats
    coin: Floats
    margin: Floats

    @property
    def class_ids(self) -> tuple[str, ...]:
        """(K,) names, in the order of `accuracies`."""
        return tuple(f"class{index:04d}" for index in range(len(self.accuracies)))

    @property
    def groups(self) -> tuple[str, ...]:
        """(G,) names."""
        return tuple(f"group{index:02d}" for index in range(self.accuracies.shape[1]))

    @property
    def models(self) -> tuple[str, ...]:
        """(M,) names; the first ones select."""
        return tuple(f"model{index}" for index in range(self.margin.shape[1]))

    def truth(self, class_id: str, common: str, counter: str) -> float:
        """The true drop of a pair."""
        row = self.accuracies[self.class_ids.index(class_id)]
        return float(row[self.groups.index(common)] - row[self.groups.index(counter)])

    def kept(self, rows: Bools) -> World:
        """The world with some of its photos only."""
        return replace(
            self,
            class_index=self.class_index[rows],
            group=self.group[rows],
            observer=self.observer[rows],
            place=self.place[rows],
            arrival=self.arrival[rows],
            margin=self.margin[rows],
        )

    def by_place(self, max_share: float = MAX_SHARE) -> World:
        """The world with units in place of observers, as curation makes them of observers and places."""
        unit = np.empty_like(self.observer)
        first = 0
        for number in range(len(self.accuracies)):
            own = self.class_index == number
            observer, place = (
                np.unique(part[own], return_inverse=True)[1].astype(np.int64) for part in (self.observer, self.place)
            )
            has_place = self.place[own] != NOWHERE
            found = join(observer, np.where(has_place, place, NONE), max_share=max_share).unit
            unit[own] = first + found
            first += int(found.max()) + 1
        return replace(self, observer=unit, coin=self.coin[self.observer[np.unique(unit, return_index=True)[1]]])

    def tables(self, discover_share: float = 0.5) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Members, backgrounds and predictions, as the select stage reads them.

        Args:
            discover_share: observers whose coin is below it are in the discover half.
        """
        number = len(self.group)
        photo = pa.array(np.arange(number)).cast(pa.string())
        class_id = pa.array(self.class_ids).take(pa.array(self.class_index))
        group = pa.array(self.groups).take(pa.array(self.group))
        observer = pa.array(self.observer).cast(pa.string())
        is_confirm = (self.coin >= discover_share)[self.observer].astype(np.int64)
        half = pa.array([Half.DISCOVER.value, Half.CONFIRM.value]).take(pa.array(is_confirm))
        members = {
            "photo_id": photo,
            "class_id": class_id,
            "observation_id": photo,
            "observer": observer,
            "unit": observer,
            "half": half,
        }
        backgrounds = {
            "photo_id": photo,
            "class_id": class_id,
            "background": group,
            "margin": pa.array(np.ones(number, np.float32)),
            "group": group,
            "is_confident": pa.array(np.ones(number, np.bool_)),
        }
        predictions = []
        for index, model in enumerate(self.models):
            margin = self.margin[:, index]
            columns = {
                "photo_id": photo,
                "model": pa.array([model]).take(pa.array(np.zeros(number, np.int64))),
                "label_space": pa.array([LABELS]).take(pa.array(np.zeros(number, np.int64))),
                "predicted": class_id,
                "is_correct": pa.array(margin > 0),
                "rank_of_truth": pa.array(np.where(margin > 0, 1, 2).astype(np.int32)),
                "margin": pa.array(margin.astype(np.float32)),
            }
            predictions.append(_read(PREDICTIONS, columns))
        return _read(MEMBERS, members), _read(BACKGROUNDS, backgrounds), pa.concat_tables(predictions)


def with_names_at_random(world: World, rng: np.random.Generator, share: float) -> World:
    """The world with a share of its photos put into another group, whatever the outcome."""
    number = len(world.group)
    other = (world.group + rng.integers(1, world.accuracies.shape[1], number)) % world.accuracies.shape[1]
    return replace(world, group=np.where(rng.random(number) < share, other, world.group))


def with_wrong_photos_moved(world: World, rng: np.random.Generator, share: float, target: int) -> World:
    """The world with a share of the photos that the first model gets wrong moved from all other groups to one."""
    is_moved = (world.margin[:, 0] <= 0) & (world.group != target) & (rng.random(len(world.group)) < share)
    return replace(world, group=np.where(is_moved, target, world.group))


def _read(schema: TableSchema, columns: dict[str, pa.Array]) -> pa.Table:
    """The columns that the schema has; select reads no others."""
    return pa.table({name: column for name, column in columns.items() if name in schema.arrow().names})


def planted(
    rng: np.random.Generator,
    num_classes: int,
    num_groups: int,
    *,
    base: tuple[float, float] = (0.5, 0.9),
    drop: float = 0.0,
    num_planted: int = 15,
) -> Floats:
    """(K, G) true accuracies: one base per class, uniform in hundredths; in the first classes group 1 is half a drop
    above it and group 2 below."""
    level = np.round(rng.uniform(*base, num_classes), 2)
    accuracies = np.repeat(level[:, None], num_groups, axis=1)
    if drop:
        accuracies[:num_planted, 1] += drop / 2
        accuracies[:num_planted, 2] -= drop / 2
    return np.clip(accuracies, 0.001, 0.999)


def draw_world(rng: np.random.Generator, accuracies: Floats, photos: Ints | int, crowd: Crowd) -> World:
    """Photos of every class.

    Args:
        rng: all draws are its own.
        accuracies: (K, G) true ones.
        photos: (K, G), (G,) or one number: photos of each group.
        crowd: who took them.
    """
    num_classes, num_groups = accuracies.shape
    photos = np.broadcast_to(np.asarray(photos, np.int64), accuracies.shape)
    rho = np.broadcast_to(np.asarray(crowd.rho, np.float64), accuracies.shape)
    if crowd.rho_by_class:
        rho = np.broadcast_to(rng.choice(crowd.rho_by_class, num_classes)[:, None], accuracies.shape)
    taken = _taken_from_pool if crowd.is_pool else _taken_by_class
    class_index, group, observer, home = taken(rng, photos, crowd)
    size = np.bincount(observer)
    luck = rng.standard_normal(len(size))
    if crowd.ability:
        luck = ndtri(ndtr(luck) ** (1 / (1 + crowd.ability * np.log(np.maximum(size, 1)))))
    place = np.full(len(size), NOWHERE)
    if crowd.observers_per_place:
        place = _places(rng, class_index, observer, home, crowd.observers_per_place)
        of_place = np.append(rng.standard_normal(int(place.max()) + 1), 0.0)
    else:
        of_place = np.zeros(1)
    taken_at = _visited(rng, class_index * num_groups + group, place[observer], crowd.visiting)
    # (N,) photos -> (cells,) observers in one group and place
    keys = ((observer * num_classes + class_index) * num_groups + group) * len(of_place) + taken_at + 1
    first, inverse = np.unique(keys, return_index=True, return_inverse=True)[1:]
    cell_observer, cell_class, cell_group = observer[first], class_index[first], group[first]
    share = np.where(taken_at[first] == NOWHERE, 0.0, crowd.place_share)
    own = rng.standard_normal(len(first))
    luck = np.sqrt(share) * of_place[taken_at[first]] + np.sqrt(1 - share) * luck[cell_observer]
    cell_luck = np.sqrt(crowd.across) * luck + np.sqrt(1 - crowd.across) * own
    mean = accuracies[cell_class, cell_group]
    if crowd.skill:
        at_home = home[cell_observer]
        mean = np.clip(mean + np.where(at_home >= 0, np.asarray(crowd.skill)[at_home], 0.0), 0.001, 0.999)
    level = _levels(mean, rho[cell_class, cell_group], cell_luck, is_normal=crowd.is_normal)[inverse]
    noise = np.sqrt(crowd.likeness) * rng.standard_normal((len(group), 1))
    noise = noise + np.sqrt(1 - crowd.likeness) * rng.standard_normal((len(group), crowd.num_models))
    if crowd.is_normal:
        noise *= np.sqrt(1 - rho[class_index, group])[:, None]
    arrival, coin = rng.random(len(size)), rng.random(len(size))
    return World(accuracies, class_index, group, observer, taken_at, arrival[observer], coin, level[:, None] - noise)


def _visited(rng: np.random.Generator, stratum: Ints, place: Ints, share: float) -> Ints:
    """(N,) the place of each photo, a share of them in that of another photo of the same group of a class."""
    taken_at = place.copy()
    visits = np.flatnonzero((rng.random(len(place)) < share) & (place != NOWHERE)) if share else np.zeros(0, np.intp)
    for number in np.unique(stratum[visits]):
        rows = visits[stratum[visits] == number]
        taken_at[rows] = rng.choice(place[(stratum == number) & (place != NOWHERE)], len(rows))
    return taken_at


Taken = tuple[Ints, Ints, Ints, Ints]
"""(N,) class, (N,) group, (N,) observer, (O,) the group that the observer is at home in, or NOWHERE."""


def _taken_by_class(rng: np.random.Generator, photos: Ints, crowd: Crowd) -> Taken:
    """Every class has observers of its own."""
    num_classes, num_groups = photos.shape
    laws = crowd.sizes if isinstance(crowd.sizes, tuple) else (crowd.sizes,) * num_groups
    wandering = np.round(crowd.crossing * photos).astype(np.int64)
    class_index, group, sizes, home = [], [], [], []
    for number in range(num_classes):
        dominated = int(rng.integers(num_groups)) if crowd.dominated else NOWHERE
        for place in range(num_groups):
            own = int(photos[number, place] - wandering[number, place])
            largest = min(int(photos[number, place]) // 2, own) if place == dominated else 0
            drawn = laws[place].draw(rng, own - largest)
            drawn = np.concatenate([[largest], drawn]) if largest else drawn
            group.append(np.full(own, place))
            sizes.append(drawn)
            home.append(np.full(len(drawn), place))
        group.append(rng.permutation(np.repeat(np.arange(num_groups), wandering[number])))
        sizes.append(laws[0].draw(rng, int(wandering[number].sum())))
        home.append(np.full(len(sizes[-1]), NOWHERE))
        class_index.append(np.full(int(photos[number].sum()), number))
    each = np.concatenate(sizes).astype(np.int64)
    observer = np.repeat(np.arange(len(each)), each)
    return np.concatenate(class_index), np.concatenate(group), observer, np.concatenate(home)


def _taken_from_pool(rng: np.random.Generator, photos: Ints, crowd: Crowd) -> Taken:
    """All classes share 3,000 observers; each prefers one background and goes to others by `crossing`."""
    num_classes, num_groups = photos.shape
    size = 3_000
    home = rng.integers(0, num_groups, size)
    busy = np.minimum(rng.zipf(2.0, size), 200).astype(np.float64)
    class_index, group, observer = [], [], []
    for place in range(num_groups):
        chance = busy * np.where(home == place, 1.0, crowd.crossing / num_groups)
        number = int(photos[:, place].sum())
        class_index.append(np.repeat(np.arange(num_classes), photos[:, place]))
        group.append(np.full(number, place))
        observer.append(np.searchsorted(np.cumsum(chance / chance.sum()), rng.random(number)).clip(max=size - 1))
    of_all = np.concatenate(observer)
    used, observer_index = np.unique(of_all, return_inverse=True)
    return np.concatenate(class_index), np.concatenate(group), observer_index.astype(np.int64), home[used]


def _places(rng: np.random.Generator, class_index: Ints, observer: Ints, home: Ints, per_place: int) -> Ints:
    """(O,) a place of each observer who is at home somewhere; about `per_place` of one class and group share one."""
    class_of = np.zeros(len(home), np.int64)
    class_of[observer] = class_index
    block = class_of * (int(home.max()) + 1) + home
    is_home = home != NOWHERE
    num_places = np.maximum(np.bincount(block[is_home], minlength=int(block.max()) + 1) // per_place, 1)
    first = np.cumsum(num_places) - num_places
    place = np.full(len(home), NOWHERE)
    place[is_home] = (first[block] + rng.integers(0, num_places[block]))[is_home]
    return place


def _levels(mean: Floats, rho: Floats, luck: Floats, *, is_normal: bool) -> Floats:
    """The margin that an observer's photos have on average, in standard deviations of a photo's noise."""
    if is_normal:
        return np.asarray(ndtri(mean) + np.sqrt(rho) * luck)
    level = np.empty_like(mean)
    law, inverse = np.unique(np.column_stack([np.round(mean, 4), rho]), axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    for (of_mean, of_rho), rows in zip(
        law.tolist(), np.split(order, np.cumsum(np.bincount(inverse.ravel()))[:-1]), strict=True
    ):
        level[rows] = np.interp(luck[rows], LUCK, _beta_levels(of_mean, of_rho))
    return level


@functools.lru_cache(maxsize=4_000)
def _beta_levels(mean: float, rho: float) -> Floats:
    """The level at each point of LUCK: the normal score of an accuracy of the beta law with this mean and rho."""
    if rho <= 0:
        return np.full(len(LUCK), float(ndtri(mean)))
    precision = 1 / rho - 1
    accuracy = betaincinv(mean * precision, (1 - mean) * precision, ndtr(LUCK))
    return np.clip(ndtri(accuracy), -FARTHEST, FARTHEST)
