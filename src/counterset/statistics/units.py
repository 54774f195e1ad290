"""Who counts as one independent unit: photographers and the places they share, joined within a class.

Photos of one colony, feeder or famous animal share a background whoever took them. So within a
class observers who have a photo in one place are one unit: a unit is a connected component of
observers and places. An observer is always in one unit of a class, and a unit has one half.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from counterset.statistics.observers import Bools, Ints

MAX_SHARE = 0.1
"""Largest share of a class's photos that a unit of several observers may have."""
NONE = -1
"""No place; no published unit; no half yet."""


class Published(NamedTuple):
    """The units of one class in the last release.

    Attributes:
        unit: (N,) index of the published unit that each photo was in; NONE = the photo was not published.
        half: (U,) the half of each published unit, DISCOVER or CONFIRM.
    """

    unit: Ints
    half: Ints


class Units(NamedTuple):
    """The units of one class's photos.

    Attributes:
        unit: (N,) unit of each photo, numbered from 0.
        continues: (units,) the published unit that each goes on, the one of the lowest index where it joins several;
            NONE = the unit is new.
        bridges: (N,) whether the photo would join units of different halves, so that it may not stay.
        is_cut: (N,) whether photos of several units lie in the photo's place.
    """

    unit: Ints
    continues: Ints
    bridges: Bools
    is_cut: Bools


def join(observer: Ints, place: Ints, published: Published | None = None, max_share: float = MAX_SHARE) -> Units:
    """The units of one class.

    Photos join their observer with their place. What was published stays: an observer remains in the published unit,
    a place belongs to the published unit that has most photos there, and only new photos join anything. Two things
    keep observers of one place apart:

    - Halves of published units never change. A new photo that would join two of different halves bridges them;
      of several photos that do so together the first stay.
    - A component of more than `max_share` of the photos is cut: in it, whatever has more than d neighbours joins
      nothing, for the largest d that leaves no part above that share. One observer's photos are never cut
      apart, nor are those of a published unit.

    Args:
        observer: (N,) index of each photo's observer, from 0.
        place: (N,) index of its place, from 0; NONE = none.
        published: what the last release held; None = there is none.
        max_share: in (0, 1].
    """
    if published is None:
        published = Published(np.full(len(observer), NONE), np.zeros(0, np.int64))
    num_published = len(published.half)
    first = _owners(observer, published.unit, num_published)
    num_owners = max(int(first.max(initial=NONE)) + 1, num_published)  # published units, new observers; then places
    second = np.where(place == NONE, first, _owners(place, published.unit, num_published, num_owners))
    num_nodes = int(second.max(initial=num_owners - 1)) + 1
    half_of = np.append(published.half, np.full(num_nodes - num_published, NONE))
    is_new = published.unit == NONE
    is_known = np.isin(observer * num_nodes + place, (observer * num_nodes + place)[~is_new])
    joins = is_new & ~is_known & (first != second)
    bridges = _bridging(first, second, joins, half_of)
    joins &= ~bridges
    unit, continues = _cut(first, second, joins, ~bridges, num_owners, num_published, max_share)
    return Units(unit, continues, bridges, _shared(place, unit, ~bridges))


def _owners(index: Ints, unit: Ints, num_published: int, first_new: int | None = None) -> Ints:
    """(N,) the published unit that has most photos of the same index, or else a number of its own from `first_new` on.

    Args:
        index: (N,) observers or places; NONE is given nothing that counts.
        unit: (N,) published units.
        num_published: published units.
        first_new: None = behind the published units.
    """
    known = (unit != NONE) & (index != NONE)
    size = int(index.max(initial=NONE)) + 1
    pairs, photos = np.unique(np.stack([index[known], unit[known]]), axis=1, return_counts=True)
    order = np.lexsort((-pairs[1], photos))  # most photos last; of equal ones the lowest unit
    owner = (num_published if first_new is None else first_new) + np.arange(size)
    owner[pairs[0, order]] = pairs[1, order]
    return owner[index] if size else index


def _components(links: Ints, num_nodes: int) -> Ints:
    """(num_nodes,) the connected component of each node, from (2, L) links."""
    graph = coo_array((np.ones(links.shape[1], np.int8), (links[0], links[1])), shape=(num_nodes, num_nodes))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _bridging(first: Ints, second: Ints, joins: Bools, half_of: Ints) -> Bools:
    """(N,) the photos that would join nodes of different halves when photos are added one by one.

    Only components that hold both halves are gone through, which is rare.
    """
    bridges = np.zeros(len(first), np.bool_)
    component = _components(np.stack([first, second])[:, joins], len(half_of))
    mixed = np.intersect1d(component[half_of == 0], component[half_of == 1])
    rows = np.flatnonzero(joins & np.isin(component[first], mixed))
    sets = DisjointSet(np.concatenate([first[rows], second[rows]]).tolist())
    half = {node: int(half_of[node]) for node in sets}
    for row in rows:
        roots = sets[int(first[row])], sets[int(second[row])]
        halves = {half[root] for root in roots} - {NONE}
        bridges[row] = len(halves) == 2
        if not bridges[row]:
            sets.merge(*roots)
            half[sets[roots[0]]] = halves.pop() if halves else NONE
    return bridges


def _cut(
    first: Ints, second: Ints, joins: Bools, kept: Bools, num_owners: int, num_published: int, max_share: float
) -> tuple[Ints, Ints]:
    """(N,) the unit of each photo and (units,) the published unit it continues: components, the large ones cut."""
    num_nodes = max(int(second.max(initial=NONE)) + 1, num_owners)
    photos = np.bincount(first[kept], minlength=num_nodes)
    limit = max_share * kept.sum()
    links = np.unique(np.stack([first, second])[:, joins], axis=1)
    degree = np.bincount(links.ravel(), minlength=num_nodes)
    busiest = degree[links].max(axis=0, initial=0)
    stays = np.ones(len(busiest), np.bool_)
    component = _components(links, num_nodes)
    for number in np.flatnonzero(_too_large(component, photos, num_owners, limit)):
        own = component[links[0]] == number
        steps = np.unique(busiest[own])

        def is_too_coarse(step: int, own: Bools, steps: Ints) -> bool:
            part = _components(links[:, own & (busiest <= steps[step])], num_nodes)
            return bool(_too_large(part, photos, num_owners, limit).any())

        num_fine = bisect_left(range(len(steps)), True, key=partial(is_too_coarse, own=own, steps=steps))
        stays[own] = busiest[own] <= (steps[num_fine - 1] if num_fine else 0)
    component = _components(links[:, stays], num_nodes)
    names, unit = np.unique(component[first], return_inverse=True)
    lowest = np.full(num_nodes, num_nodes)
    np.minimum.at(lowest, component[:num_published], np.arange(num_published))
    continues = np.where(lowest[names] < num_nodes, lowest[names], NONE)
    return unit.astype(np.int64), continues.astype(np.int64)


def _too_large(component: Ints, photos: npt.NDArray[np.intp], num_owners: int, limit: float) -> Bools:
    """(components,) whether each joins several observers or published units and has more than `limit` photos."""
    size = int(component.max(initial=NONE)) + 1
    owners = np.bincount(component[:num_owners], minlength=size)
    return np.asarray((owners > 1) & (np.bincount(component, photos, size) > limit))


def _shared(place: Ints, unit: Ints, kept: Bools) -> Bools:
    """(N,) whether photos of several units lie in the photo's place."""
    placed = kept & (place != NONE)
    pairs = np.unique(np.stack([place[placed], unit[placed]]), axis=1)
    units = np.bincount(pairs[0], minlength=int(place.max(initial=NONE)) + 1)
    shared = np.zeros(len(place), np.bool_)
    shared[placed] = units[place[placed]] > 1
    return shared
