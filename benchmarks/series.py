"""How a series of looks may share out its error: rules beside one another, on worlds of known truth.

    python benchmarks/series.py --worlds 500

45 classes of 6 equal groups, three quarters of the photos in discover, each look 15 % of the first one's photos more.
Group means are normal and their scale is known, so a p-value is read from a table of the statistic under the null.
15 classes have a pair whose gap is z standard errors at the first look. Printed: worlds with a false confirmation at
any look; planted classes confirmed at the first look and by the last; false discoveries among all ever confirmed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.series import share_spent

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

CLASSES, GROUPS, PLANTED, LOOKS = 45, 6, 15, 6
ALPHA = 0.05
SIZE = 1 + 0.15 * np.arange(LOOKS)
"""Photos of a group at each look; the first has 1."""
NEW = np.diff(SIZE, prepend=0.0)


class Worlds(NamedTuple):
    """Sums of outcomes by world, look, class and group, and the pair that each look would choose.

    Attributes:
        total: (W, L, K, G) over all photos so far.
        added: (W, L, K, G) over those that came with the look.
        common, counter: (W, L, K) the pair that discover chooses.
        statistic: (W, L, K) its drop in standard errors.
    """

    total: Floats
    added: Floats
    common: Ints
    counter: Ints
    statistic: Floats


def draw(rng: np.random.Generator, num_worlds: int, z: float) -> Worlds:
    """Worlds in which group 1 is above group 2 by z standard errors in the first classes."""
    mean = np.zeros((CLASSES, GROUPS))
    mean[:PLANTED, 1:3] = np.array([0.5, -0.5]) * z * np.sqrt(2)
    parts = []
    for share in (DISCOVER_SHARE, 1 - DISCOVER_SHARE):
        photos = (NEW * share)[:, None, None]
        noise = rng.standard_normal((num_worlds, LOOKS, CLASSES, GROUPS))
        parts.append(mean * photos + np.sqrt(photos) * noise)
    discover, added = parts[0].cumsum(axis=1), parts[0] + parts[1]
    total = added.cumsum(axis=1)
    common, counter = discover.argmax(axis=-1), discover.argmin(axis=-1)
    return Worlds(total, added, common, counter, gap(total, common, counter, SIZE[:, None]))


def gap(sums: Floats, common: Ints, counter: Ints, photos: Floats | float) -> Floats:
    """The difference of two groups in standard errors."""
    first, second = (np.take_along_axis(sums, group[..., None], axis=-1)[..., 0] for group in (common, counter))
    return np.asarray((first - second) / np.sqrt(2 * np.asarray(photos)))


def null_table(rng: np.random.Generator, number: int = 4_000_000) -> Floats:
    """The statistic of a chosen pair where no group differs, ascending."""
    discover = rng.standard_normal((number, GROUPS)) * np.sqrt(DISCOVER_SHARE)
    total = discover + rng.standard_normal((number, GROUPS)) * np.sqrt(1 - DISCOVER_SHARE)
    return np.sort(gap(total, discover.argmax(axis=-1), discover.argmin(axis=-1), 1.0))


def discoveries(values: Floats, level: float) -> Bools:
    """(W, K) Benjamini-Hochberg at one level."""
    rank = np.arange(1, CLASSES + 1)
    number = np.where(np.sort(values, axis=-1) <= level * rank / CLASSES, rank, 0).max(axis=-1)
    return np.asarray(values <= (level * number / CLASSES)[:, None])


def spending(levels: list[float], null: Floats, *, is_held: bool = True) -> Callable[[Worlds], Bools]:
    """One level per look. Confirmed pairs are tested again as the same pair, or else left out."""

    def p_value(statistic: Floats) -> Floats:
        return np.asarray((len(null) - np.searchsorted(null, statistic) + 1) / (len(null) + 1))

    def confirmed(worlds: Worlds) -> Bools:
        done = np.zeros((len(worlds.total), CLASSES), np.bool_)
        pair = np.zeros((2, *done.shape), np.int64)
        looks = []
        for look, level in enumerate(levels):
            again = p_value(gap(worlds.total[:, look], *pair, SIZE[look])) if is_held else np.ones(done.shape)
            new = discoveries(np.where(done, again, p_value(worlds.statistic[:, look])), level) & ~done
            pair = np.where(new, np.stack([worlds.common[:, look], worlds.counter[:, look]]), pair)
            done = done | new
            looks.append(done)
        return np.stack(looks, axis=1)

    return confirmed


def e_values(first: float, null: Floats) -> Callable[[Worlds], Bools]:
    """Part of the error for the first look; the rest for e-BH on likelihood ratios of those who came since, of the pair
    that all before them would choose, mixed over effects of 2, 3.5 and 5 standard errors."""

    def confirmed(worlds: Worlds) -> Bools:
        done = spending([first * ALPHA], null)(worlds)[:, 0]
        log_ratio = np.zeros((*done.shape, 3))
        looks = [done]
        for look in range(1, LOOKS):
            before = worlds.total[:, look - 1]
            z = gap(worlds.added[:, look], before.argmax(axis=-1), before.argmin(axis=-1), NEW[look])
            effect = np.array([2.0, 3.5, 5.0]) * np.sqrt(NEW[look])
            log_ratio += z[..., None] * effect - effect**2 / 2
            done = done | discoveries(np.exp(-np.log(np.exp(log_ratio).mean(axis=-1))), (1 - first) * ALPHA)
            looks.append(done)
        return np.stack(looks, axis=1)

    return confirmed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=500)
    number = parser.parse_args().worlds
    rng = np.random.default_rng(5)
    null = null_table(rng)
    spent = [ALPHA * share_spent(look) for look in range(1, LOOKS + 1)]
    rules = {
        "each look spends all": spending([ALPHA] * LOOKS, null),
        "6 / (pi k)^2": spending(spent, null),
        "6 / (pi k)^2, confirmed pairs left out": spending(spent, null, is_held=False),
        "sixths": spending([ALPHA / LOOKS] * LOOKS, null),
        "halves": spending([ALPHA * 0.5**look for look in range(1, LOOKS + 1)], null),
    }
    for first in (0.5, 0.8):
        rest = [(1 - first) * ALPHA * share_spent(look) for look in range(1, LOOKS)]
        rules[f"first look {first:.0%}"] = spending([first * ALPHA, *rest], null)
    rules |= {f"e-values, first look {first:.0%}": e_values(first, null) for first in (0.5, 0.7)}
    nothing = draw(rng, 4 * number, 0.0)
    planted = {z: draw(rng, number, z) for z in (3.0, 4.0, 5.0)}
    print("| rule | null worlds false |" + "".join(f" z = {z:g}: first look | last | false |" for z in planted))
    for name, rule in rules.items():
        cells = [f"{100 * rule(nothing)[:, -1].any(axis=-1).mean():.1f}"]
        for worlds in planted.values():
            ever = rule(worlds)
            shares = [ever[:, look, :PLANTED].mean() for look in (0, -1)]
            number_false = ever[:, -1, PLANTED:].sum(axis=-1) / np.maximum(ever[:, -1].sum(axis=-1), 1)
            cells += [f"{100 * value:.1f}" for value in (*shares, number_false.mean())]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
