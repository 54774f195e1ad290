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

from counterset.statistics.observers import CONFIRM, DISCOVER, Bools, Ints

MAX_SHARE = 0.1
"""Largest share of a class's photos that one unit of several observers may have."""
UNKNOWN = -1
"""No place, or no half yet."""


class Units(NamedTuple):
    """The units of one class's photos.

    Attributes:
        unit: (N,) unit of each photo, numbered from 0.
        half: (N,) the half that the unit's published photos have; UNKNOWN = none of them is published.
        bridges: (N,) whether the photo would join units of different halves, so that it may not stay.
        is_cut: (N,) whether the photo's place holds photos of other units too, because a unit was cut.
    """

    unit: Ints
    half: Ints
    bridges: Bools
    is_cut: Bools


def join(observer: Ints, place: Ints, published: Ints | None = None, max_share: float = MAX_SHARE) -> Units:
    """The units of one class.

    Observers and places are joined by photos. Two things keep observers of one place apart:

    - A component with more than `max_share` of the photos is cut: in it, observers and places with more
      than d neighbours join nothing, for the largest d that leaves no part of several observers above
      that share. One observer's photos are never cut apart.
    - Halves of published units never change. A photo that would join two units of different halves bridges
      them; of several such photos the first ones stay. What an earlier cut has separated stays separated.

    Args:
        observer: (N,) index of each photo's observer, from 0.
        place: (N,) index of its place, from 0; UNKNOWN = none.
        published: (N,) the half under which the photo is in the last release; UNKNOWN = it is not.
            All of an observer's have the same. None = there is no last release.
        max_share: in (0, 1].
    """
    num_observers = int(observer.max(initial=-1)) + 1
    num_places = int(place.max(initial=UNKNOWN)) + 1
    if published is None:
        published = np.full(len(observer), UNKNOWN)
    half_of = _halves(observer, place, published, num_observers, num_places)
    node = np.where(place == UNKNOWN, observer, num_observers + place)  # a photo without a place joins nothing
    ends = half_of[observer], half_of[node]
    differ = (ends[0] != UNKNOWN) & (ends[1] != UNKNOWN) & (ends[0] != ends[1])
    links = observer * len(half_of) + node
    is_old_cut = differ & np.isin(links, links[published != UNKNOWN])
    bridges = differ & ~is_old_cut
    joined = ~differ
    component = _components(observer[joined], node[joined], len(half_of))
    for mixed in _mixed(component, half_of):
        rows = np.flatnonzero(joined & (component[observer] == mixed))
        late = rows[_bridging(observer[rows], node[rows], published[rows], half_of)]
        bridges[late], joined[late] = True, False
    component = _components(observer[joined], node[joined], len(half_of))
    unit = _cut(observer, node, joined, ~bridges, component, num_observers, max_share)
    known = np.full(unit.max(initial=-1) + 1, UNKNOWN)
    np.maximum.at(known, unit, half_of[observer])
    return Units(unit, known[unit], bridges, _shared(place, unit, ~bridges))


def _halves(observer: Ints, place: Ints, published: Ints, num_observers: int, num_places: int) -> Ints:
    """(observers + places,) the half of each by its published photos; that of most where a place has both."""
    half_of = np.full(num_observers + num_places, UNKNOWN)
    for start, index in ((0, observer), (num_observers, place)):
        known = (published != UNKNOWN) & (index != UNKNOWN)
        votes = [np.bincount(index[known & (published == half)], minlength=1) for half in (DISCOVER, CONFIRM)]
        size = max(map(len, votes))
        discover, confirm = (np.pad(vote, (0, size - len(vote))) for vote in votes)
        seen = np.flatnonzero(discover + confirm)
        half_of[start + seen] = np.where(confirm[seen] > discover[seen], CONFIRM, DISCOVER)
    return half_of


def _components(first: Ints, second: Ints, num_nodes: int) -> Ints:
    """(num_nodes,) the connected component of each node."""
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(num_nodes, num_nodes))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _mixed(component: Ints, half_of: Ints) -> Ints:
    """The components that hold both halves."""
    return np.intersect1d(component[half_of == DISCOVER], component[half_of == CONFIRM])


def _bridging(observer: Ints, node: Ints, published: Ints, half_of: Ints) -> npt.NDArray[np.intp]:
    """Which photos of one component would join what has different halves when they are added one by one, published
    ones first."""
    sets = DisjointSet(np.concatenate([observer, node]).tolist())
    half = {name: int(half_of[name]) for name in sets}
    late = []
    for row in np.argsort(published == UNKNOWN, kind="stable"):
        roots = sets[int(observer[row])], sets[int(node[row])]
        halves = {half[root] for root in roots} - {UNKNOWN}
        if len(halves) == 2:
            late.append(row)
            continue
        sets.merge(*roots)
        half[sets[roots[0]]] = halves.pop() if halves else UNKNOWN
    return np.array(late, np.intp)


def _cut(
    observer: Ints, node: Ints, joined: Bools, kept: Bools, component: Ints, num_observers: int, max_share: float
) -> Ints:
    """(N,) the unit of each photo: its observer's component, the large ones cut."""
    num_nodes = len(component)
    photos = np.bincount(observer[kept], minlength=num_nodes)
    limit = max_share * kept.sum()
    first, second = np.unique(np.stack([observer, node])[:, joined & (node >= num_observers)], axis=1)
    degree = np.bincount(first, minlength=num_nodes) + np.bincount(second, minlength=num_nodes)
    busiest = np.maximum(degree[first], degree[second])
    stays = np.ones(len(first), np.bool_)
    for number in np.flatnonzero(_too_large(component, photos, num_observers, limit)):
        own = component[first] == number
        steps = np.unique(busiest[own])

        def is_too_coarse(step: int, own: Bools, steps: Ints) -> bool:
            kept_links = own & (busiest <= steps[step])
            part = _components(first[kept_links], second[kept_links], num_nodes)
            return bool(_too_large(part, photos, num_observers, limit).any())

        num_fine = bisect_left(range(len(steps)), True, key=partial(is_too_coarse, own=own, steps=steps))
        stays[own] = busiest[own] <= (steps[num_fine - 1] if num_fine else 0)
    found = _components(first[stays], second[stays], num_nodes)[observer]
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _too_large(component: Ints, photos: npt.NDArray[np.intp], num_observers: int, limit: float) -> Bools:
    """(components,) whether each has several observers and more than `limit` photos."""
    size = int(component.max(initial=-1)) + 1
    observers = np.bincount(component[:num_observers], minlength=size)
    return np.asarray((observers > 1) & (np.bincount(component, photos, size) > limit))


def _shared(place: Ints, unit: Ints, kept: Bools) -> Bools:
    """(N,) whether photos of several units lie in the photo's place."""
    placed = kept & (place != UNKNOWN)
    pairs = np.unique(np.stack([place[placed], unit[placed]]), axis=1)
    units = np.bincount(pairs[0], minlength=int(place.max(initial=UNKNOWN)) + 1)
    shared = np.zeros(len(place), np.bool_)
    shared[placed] = units[place[placed]] > 1
    return shared
