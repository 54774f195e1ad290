"""Worlds in which slices are proposed on discover and tested on confirm: how often a slice of nothing is confirmed.

    python -m tests.proofs.slices --worlds 500

Answers of two classes, by units of one to six rows whose luck is alike and shared by both classes; half of the slices
are made of units, half of rows, each of 5 to 40 % of them. `at random` proposes any; `adaptive` looks at ten times as
many on discover, outcomes and all, and proposes those that are worst there. A planted slice is worse by 25 points.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.slices import LEVEL, judge_slices, unit_correlation

DROP, NUM_DEALS = 0.25, 999
LOOKED_AT = 10
"""Slices that an adaptive proposer looks at for each that it proposes."""
LEAST_ROWS = 10


@dataclass(frozen=True)
class Kind:
    """Worlds of one kind."""

    num_slices: int
    is_adaptive: bool = False
    drop: float = 0.0
    num_units: int = 1_000


KINDS = tuple(Kind(number, adaptive) for adaptive in (False, True) for number in (10, 100, 1_000)) + tuple(
    Kind(number, drop=DROP) for number in (10, 100, 1_000)
)


def run(kind: Kind, seed: int, num_deals: int = NUM_DEALS) -> tuple[int, bool]:
    """How many slices of nothing were confirmed in world number `seed`, and whether the planted one was."""
    rng = np.random.default_rng([kind.num_slices, kind.is_adaptive, int(100 * kind.drop), seed])
    unit = np.repeat(np.arange(kind.num_units), rng.integers(1, 7, kind.num_units))
    stratum = rng.integers(0, 2, len(unit))
    number = kind.num_slices * (LOOKED_AT if kind.is_adaptive else 1)
    share = rng.uniform(0.05, 0.4, (number, 1)).astype(np.float32)
    members = np.empty((number, len(unit)), np.bool_)
    members[::2] = (rng.random((len(share[::2]), kind.num_units), np.float32) < share[::2])[:, unit]
    members[1::2] = rng.random((len(share[1::2]), len(unit)), np.float32) < share[1::2]
    level = rng.beta(3, 1, kind.num_units)[unit] * np.where(stratum == 0, 1.0, 0.8)
    correct = rng.random(len(unit)) < level - kind.drop * (members[0] if kind.drop else 0)
    on_discover = (rng.random(kind.num_units) < DISCOVER_SHARE)[unit]
    correlation = unit_correlation(correct, stratum, unit)
    if kind.is_adaptive:
        seen = members[:, on_discover]
        accuracy = (seen @ correct[on_discover].astype(np.float32)) / np.maximum(seen.sum(axis=1), 1)
        members = members[np.argsort(accuracy)[: kind.num_slices]]
    members = members[:, ~on_discover]
    is_tested = members.sum(axis=1) >= LEAST_ROWS
    is_found = np.zeros(len(members), np.bool_)
    judged = judge_slices(
        correct[~on_discover],
        stratum[~on_discover],
        unit[~on_discover],
        [*members[is_tested]],
        correlation=correlation,
        rng=rng,
        num_deals=num_deals,
    )
    is_found[is_tested] = [slice.is_confirmed for slice in judged]
    return int(is_found[1 if kind.drop else 0 :].sum()), bool(is_found[0] and kind.drop)


def summary(kind: Kind, worlds: list[tuple[int, bool]]) -> dict[str, float]:
    """Shares of worlds: with a false confirmation, with its standard error at 5 %; and with the planted slice."""
    return {
        "false": float(np.mean([false > 0 for false, _ in worlds])),
        "error": float(np.sqrt(LEVEL * (1 - LEVEL) / len(worlds))),
        "planted": float(np.mean([planted for _, planted in worlds])) if kind.drop else float("nan"),
    }


def main() -> int:
    """Print one row per kind; 1 where more than 5 % of the worlds have a false confirmation, beyond two errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=500)
    options = parser.parse_args()
    is_good = True
    print("| slices | proposed | worlds | false worlds | planted slice confirmed |\n|---|---|---|---|---|", flush=True)
    for kind in KINDS:
        found = summary(kind, [run(kind, seed) for seed in range(options.worlds)])
        is_good &= found["false"] <= LEVEL + 2 * found["error"]
        planted = f"{100 * found['planted']:.1f} %" if kind.drop else ""
        how = "adaptive" if kind.is_adaptive else "one planted" if kind.drop else "at random"
        false = f"{100 * found['false']:.1f} %"
        print(f"| {kind.num_slices:,} | {how} | {options.worlds} | {false} | {planted} |", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
