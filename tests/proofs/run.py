"""Do the statistics keep their promises in worlds of known truth?

    python -m tests.proofs.run [REGIME ...] [--worlds 200] [--jobs 2] [--edition first]

Run from the checkout. Each world's tally is one line of JSON in `.proofs/statistics.jsonl`; a run that was stopped
goes on from there, and worlds are drawn anew once the statistics, the generator or the regime changed (comments and
docstrings do not count). `--edition first` does what the first edition did with the same worlds. Prints one row
per regime, and ends with 1 where a promise is broken: more than 5 % of the worlds of a null regime with a false
confirmation, coverage outside 93 to 97 %, or a bias of more than 0.3 points, each beyond two standard errors; regimes
that are waived are shown and not judged.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import counterset

from . import counted, first, worlds
from .best import best_confirmed
from .margins import MARGINS
from .naming import NAMES
from .regimes import BUILDS, REGIMES, Regime, Row

Tally: TypeAlias = dict[str, float]
"""Counts and sums of one world."""
Line: TypeAlias = dict[str, Any]

ALL: tuple[Regime, ...] = (*REGIMES, *MARGINS, *NAMES)

RECORDS = Path(".proofs/statistics.jsonl")
CHUNK = 5
MOST_FALSE, COVERAGE, MOST_BIAS = 0.05, (0.93, 0.97), 0.003
ERRORS = 2.0
"""Standard errors within which a promise counts as kept."""


DECIDING = (
    "after_selection",
    "carving",
    "choice",
    "intervals",
    "observers",
    "permutation",
    "resplit",
    "selector_margin",
)
"""Modules of `counterset.statistics` that tallies depend on."""


def revision() -> str:
    """12 hex digits that change with the code that decides tallies, whatever is said about it."""
    package = Path(counterset.__file__).parent
    files = [package / "stages" / f"{name}.py" for name in ("naming", "select")]
    files += [package / "statistics" / f"{name}.py" for name in DECIDING]
    files += [Path(str(module.__file__)) for module in (counted, first, worlds)]
    digest = hashlib.sha256()
    for file in files:
        tree = ast.parse(file.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                node.body = [part for part in node.body if not _is_text(part)]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def tally(rows: list[Row]) -> Tally:
    """What the rows of one world say: counts of pairs, and sums over them."""
    confirmed = [row for row in rows if row["verdict"] == "confirmed"]
    found = [row for row in confirmed if row["is_planted"]]
    uneven = [row for row in rows if "more alike in the smaller group" in (row.get("reason") or "")]

    def inside(kept: Iterable[Row], low: str = "drop_low", high: str = "drop_high") -> int:
        return sum(row[low] <= row["truth"] <= row[high] for row in kept if row.get(low) is not None)

    def beyond(kept: Iterable[Row], name: str = "drop") -> float:
        return float(sum(row[name] - row["truth"] for row in kept if row.get(name) is not None))

    return {
        "tested": len(rows),
        "confirmed": len(confirmed),
        "false": sum(row["truth"] <= 0 for row in confirmed),
        "planted": sum(row["is_planted"] for row in rows),
        "planted_confirmed": len(found),
        "planted_right": sum(row["is_right"] for row in found),
        "inside": inside(rows),
        "inside_confirmed": inside(confirmed),
        "inside_adjusted": inside(confirmed, "drop_adjusted_low", "drop_adjusted_high"),
        "inside_shrunken": inside(confirmed, "drop_shrunken_low", "drop_shrunken_high"),
        "bias_shrunken": beyond(confirmed, "drop_shrunken"),
        "bias_other": beyond(rows, "drop_other"),
        "bias_other_confirmed": beyond(confirmed, "drop_other"),
        "truth": float(sum(row["truth"] for row in rows)),
        "truth_confirmed": float(sum(row["truth"] for row in confirmed)),
        "bias": beyond(rows),
        "bias_confirmed": beyond(confirmed),
        "bias_confirm": beyond(rows, "drop_confirm"),
        "bias_confirm_confirmed": beyond(confirmed, "drop_confirm"),
        "uneven": sum(bool(row.get("is_uneven")) for row in rows),
        "uneven_spared": sum(row["truth"] <= 0 for row in uneven),
        "uneven_lost": sum(row["is_planted"] for row in uneven),
        "width": float(sum(row["drop_high"] - row["drop_low"] for row in rows)),
        "correlation": float(sum(row["observer_correlation"] for row in rows)),
    }


def run_worlds(regime: Regime, seeds: list[int], edition: str = "now") -> list[tuple[int, Tally]]:
    """The tallies of some of a regime's worlds."""
    tallies = []
    for seed in seeds:
        world = regime.draw(seed)
        tallies.append((seed, tally(regime.run(world, seed, BUILDS[edition])) | best_confirmed(regime, world)))
    return tallies


class Records:
    """Tallies by edition and regime, kept as lines of JSON; those of other code or another regime are passed over."""

    def __init__(self, path: Path, edition: str) -> None:
        self.path, self.edition, self.code = path, edition, revision()
        path.parent.mkdir(parents=True, exist_ok=True)

    def _is_ours(self, line: Line, regime: Regime) -> bool:
        return bool((line["edition"], line["code"], line["regime"]) == (self.edition, self.code, regime.key))

    def known(self, regime: Regime) -> dict[int, Tally]:
        """The tallies of a regime's worlds, by their number."""
        known: dict[int, Tally] = {}
        for text in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                line: Line = json.loads(text)
            except ValueError:  # a run was stopped while it wrote
                continue
            if self._is_ours(line, regime):
                known[line["world"]] = line["tally"]
        return known

    def add(self, regime: Regime, tallies: Iterable[tuple[int, Tally]]) -> None:
        """Keep some worlds' tallies."""
        with self.path.open("a", encoding="utf-8") as file:
            for world, of_world in tallies:
                line = {"edition": self.edition, "code": self.code, "regime": regime.key, "world": world}
                file.write(json.dumps(line | {"tally": of_world}) + "\n")


def summary(tallies: list[Tally]) -> dict[str, float]:
    """A regime's figures: shares and means over worlds, each with its standard error (`_error`)."""
    table = {name: np.array([of_world[name] for of_world in tallies], np.float64) for name in tallies[0]}
    root = np.sqrt(len(tallies))

    def ratio(name: str, part: str, whole: str) -> dict[str, float]:
        total = table[whole].sum()
        if not total:
            return {name: float("nan"), f"{name}_error": float("nan")}
        value = table[part].sum() / total
        scatter = table[part] - value * table[whole]  # worlds are independent, classes of one world are not
        return {name: float(value), f"{name}_error": float(scatter.std() * root / total)}

    has_false = table["false"] > 0
    return {
        "worlds": len(tallies),
        "tested": float(table["tested"].mean()),
        "confirmations": float(table["confirmed"].sum()),
        "false_worlds": float(has_false.mean()),
        "false_worlds_error": float(np.sqrt(MOST_FALSE * (1 - MOST_FALSE)) / root),
        "false_discoveries": float((table["false"] / np.maximum(table["confirmed"], 1)).mean()),
        **ratio("power", "planted_confirmed", "planted"),
        **ratio("recovered", "planted_right", "planted"),
        **ratio("coverage", "inside", "tested"),
        **ratio("coverage_confirmed", "inside_confirmed", "confirmed"),
        **ratio("coverage_adjusted", "inside_adjusted", "confirmed"),
        **ratio("coverage_shrunken", "inside_shrunken", "confirmed"),
        **ratio("truth", "truth", "tested"),
        **ratio("truth_of_confirmed", "truth_confirmed", "confirmed"),
        **ratio("bias_of_shrunken", "bias_shrunken", "confirmed"),
        **ratio("bias_of_other_model", "bias_other", "tested"),
        **ratio("bias_of_other_model_confirmed", "bias_other_confirmed", "confirmed"),
        **ratio("bias", "bias", "tested"),
        **ratio("bias_of_confirmed", "bias_confirmed", "confirmed"),
        **ratio("bias_of_confirm_half", "bias_confirm", "tested"),
        **ratio("bias_of_confirm_half_confirmed", "bias_confirm_confirmed", "confirmed"),
        **ratio("best", "best", "planted"),
        **ratio("best_answers", "best_answers", "planted"),
        **ratio("uneven", "uneven", "tested"),
        "worlds_spared": float(((table["uneven_spared"] > 0) & ~has_false).mean()),
        **ratio("lost_to_uneven", "uneven_lost", "planted"),
        **ratio("width", "width", "tested"),
        **ratio("correlation", "correlation", "tested"),
    }


def broken(regime: Regime, figures: dict[str, float]) -> list[str]:
    """The promises that the figures break, in words."""
    said = []
    is_null = not regime.drop and not regime.spread
    share = figures["false_worlds"] if is_null else figures["false_discoveries"]
    if share > MOST_FALSE + ERRORS * figures["false_worlds_error"]:
        said.append("false")
    low, high = COVERAGE
    slack = ERRORS * figures["coverage_error"]
    if not low - slack <= figures["coverage"] <= high + slack:
        said.append("coverage")
    if abs(figures["bias"]) > max(MOST_BIAS, ERRORS * figures["bias_error"]):
        said.append("bias")
    return said


COLUMNS = (
    "| regime | worlds | false worlds | power | with its pair | coverage | of confirmed | bias | of confirmed | ρ | |"
)


def shown(regime: Regime, figures: dict[str, float]) -> str:
    """The regime's row of the table: per cent, and points."""

    def cell(name: str, digits: int = 1) -> str:
        value, error = figures[name], figures.get(f"{name}_error", 0.0)
        return "" if np.isnan(value) else f"{100 * value:.{digits}f} ± {100 * error:.{digits}f}"

    names = ("false_worlds", "power", "recovered", "coverage", "coverage_confirmed")
    cells = [cell(name) for name in names] + [cell("bias", 2), cell("bias_of_confirmed", 1)]
    said = ", ".join(broken(regime, figures))
    verdict = f"({said})" if regime.waived and said else said
    parts = [regime.name, f"{figures['worlds']:.0f}", *cells, f"{figures['correlation']:.3f}", verdict]
    return "| " + " | ".join(parts) + " |"


def prove(
    regimes: Iterable[Regime], records: Records, *, num_worlds: int, jobs: int
) -> Iterator[tuple[Regime, list[Tally]]]:
    """Run what is missing, and give each regime with its tallies as soon as they are complete."""
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        for regime in regimes:
            known = records.known(regime)
            missing = [seed for seed in range(num_worlds) if seed not in known]
            chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
            for done in as_completed([pool.submit(run_worlds, regime, chunk, records.edition) for chunk in chunks]):
                records.add(regime, done.result())
                known |= dict(done.result())
            yield regime, [known[seed] for seed in range(num_worlds)]


def main() -> int:
    """Run what was asked for; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("regimes", nargs="*", help="names, or parts of names; none = all")
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--edition", choices=[*BUILDS], default="now")
    options = parser.parse_args()
    asked = [regime for regime in ALL if not options.regimes or any(name in regime.name for name in options.regimes)]
    if not asked:
        parser.error(f"no regime is named so: {', '.join(options.regimes)}")
    print(COLUMNS + "\n" + "|---" * COLUMNS.count(" |") + "|", flush=True)
    is_good = True
    for regime, tallies in prove(
        asked, Records(options.records, options.edition), num_worlds=options.worlds, jobs=options.jobs
    ):
        figures = summary(tallies)
        is_good &= bool(regime.waived) or not broken(regime, figures)
        print(shown(regime, figures), flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
