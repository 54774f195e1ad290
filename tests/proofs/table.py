"""The tables of docs/method.md, from what `run` has kept of both editions: nothing is drawn here.

python -m tests.proofs.table [--records FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .margins import MARGINS, PICKED
from .regimes import REGIMES, UNEVEN_RULE, Regime
from .run import RECORDS, Records, Tally, broken, summary

Figures = dict[str, float]

NULL = "| null worlds | worlds | false worlds, % | coverage, % | bias, points | broken |"
PLANTED = (
    "| planted worlds | worlds | confirmed, % | with the planted pair | best possible: margins / answers "
    "| false discoveries, % | coverage, % | bias, points | broken |"
)
CONFIRMED = (
    "| among confirmed classes | confirmed | true drop | bias of `drop` | of `drop_shrunken` | coverage, %: plain "
    "| adjusted | shrunken | another model's drop on confirm: bias over all tested | over confirmed |"
)

UNEVEN = (
    "| large and small groups, 400 and 150 photos | worlds | marked, % | false worlds, %: with the rule | without "
    "| 20 points confirmed, %: with the rule | without |"
)


def of_both(now: list[Tally], first: list[Tally]) -> tuple[Figures, Figures | None]:
    """Today's figures, and those of the first edition where it was drawn."""
    return summary(now), summary(first) if first else None


def both(found: Figures, before: Figures | None, name: str, digits: int, scale: float = 100.0) -> str:
    """`before / now ± error`; one of them where there is no other."""
    error = found.get(f"{name}_error")
    now = f"{scale * found[name]:.{digits}f}" + (f" ± {scale * error:.{digits}f}" if error is not None else "")
    if before is None:
        return now
    return f"{scale * before[name]:.{digits}f} / {now}"


def null_row(regime: Regime, found: Figures, before: Figures | None) -> str:
    """One row of the first table."""
    worlds = both({"worlds": found["worlds"]}, before, "worlds", 0, 1)
    false = both({"false_worlds": found["false_worlds"]}, before, "false_worlds", 1)
    cells = [worlds, false, both(found, before, "coverage", 1), both(found, before, "bias", 2)]
    return "| " + " | ".join([regime.name, *cells, verdict(regime, found)]) + " |"


def planted_row(regime: Regime, found: Figures, before: Figures | None) -> str:
    """One row of the second table."""
    cells = [both({"worlds": found["worlds"]}, before, "worlds", 0, 1)]
    has_pair = not np.isnan(found["power"])
    cells += [both(found, before, "power", 0), f"{100 * found['recovered']:.0f}"] if has_pair else ["–", ""]
    is_known = regime.drop and regime.crowd.is_normal and regime.procedure is None
    cells.append(f"{100 * found['best']:.0f} / {100 * found['best_answers']:.0f}" if is_known else "")
    cells.append(both({"false_discoveries": found["false_discoveries"]}, before, "false_discoveries", 1))
    cells += [both(found, before, "coverage", 1), both(found, before, "bias", 2)]
    return "| " + " | ".join([regime.name, *cells, verdict(regime, found)]) + " |"


def confirmed_row(regime: Regime, found: Figures) -> str:
    """One row of the third table."""
    points = [f"{100 * found['truth_of_confirmed']:.1f}"]
    points += [f"{100 * found[name]:+.1f}" for name in ("bias_of_confirmed", "bias_of_shrunken")]
    kinds = ("coverage_confirmed", "coverage_adjusted", "coverage_shrunken")
    coverage = [f"{100 * found[name]:.1f} ± {100 * found[f'{name}_error']:.1f}" for name in kinds]
    other = [f"{100 * found[f'bias_of_other_model{name}']:+.1f}" for name in ("", "_confirmed")]
    return "| " + " | ".join([regime.name, f"{found['confirmations']:.0f}", *points, *coverage, *other]) + " |"


def uneven_row(null: Regime, found: Figures, planted: Figures) -> str:
    """One row of the fourth table, of null worlds and of planted ones."""
    false = (found["false_worlds"], found["false_worlds"] + found["worlds_spared"])
    power = (planted["power"], planted["power"] + planted["lost_to_uneven"])
    cells = [null.name.partition(" in turn")[0], f"{found['worlds']:.0f}"]
    cells += [f"{100 * value:.0f}" for value in (found["uneven"], *false, *power)]
    return "| " + " | ".join(cells) + " |"


def verdict(regime: Regime, found: Figures) -> str:
    """What is broken, in brackets where nothing is promised."""
    said = ", ".join(broken(regime, found))
    return f"({said})" if regime.waived and said else said


def lines(path: Path) -> Iterator[str]:
    """The four tables, row by row."""
    records = {edition: Records(path, edition) for edition in ("now", "first")}
    tables: dict[str, list[str]] = {NULL: [], PLANTED: [], CONFIRMED: [], UNEVEN: []}
    for null, planted in zip(UNEVEN_RULE[::2], UNEVEN_RULE[1::2], strict=True):
        drawn = [list(records["now"].known(regime).values()) for regime in (null, planted)]
        if all(drawn):
            tables[UNEVEN].append(uneven_row(null, *map(summary, drawn)))
    for regime in (*REGIMES, *MARGINS):
        kept = {edition: list(of.known(regime).values()) for edition, of in records.items()}
        if not kept["now"] or regime in UNEVEN_RULE:
            continue
        found, before = of_both(kept["now"], kept["first"])
        if regime in PICKED:
            tables[CONFIRMED].append(confirmed_row(regime, found))
        elif regime.drop or regime.spread:
            tables[PLANTED].append(planted_row(regime, found, before))
        else:
            tables[NULL].append(null_row(regime, found, before))
    for head, rows in tables.items():
        yield from (head, "|---" * (head.count("|") - 1) + "|", *rows, "")


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=Path, default=RECORDS)
    sys.stdout.write("\n".join(lines(parser.parse_args().records)) + "\n")


if __name__ == "__main__":
    main()
