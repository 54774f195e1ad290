"""What the benchmarks are held to: `floors.toml`, read and compared here for all of them; and `make bench`.

    python benchmarks/floors.py [--large] [--only NAME ...] [--folder .bench]

runs the benchmark of each section of `floors.toml` as its `run` says, one after the other, with `--floors NAME`, and
ends with an error if one failed or was below a floor; the others run all the same. Sections that say `large` are left
out, for they take hours: `--large` runs these and no others. What benchmarks write is kept in the folder.

A floor is an exact count (`exact`), the least that a figure may be (`least`: ratios to another program in the same run)
or the most (`most`). A figure of a floor that was not measured is below it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FLOORS = Path(__file__).with_name("floors.toml")
KINDS = {"exact": "", "least": "at least ", "most": "at most "}


def add_floors(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the argument `--floors`."""
    parser.add_argument("--floors", metavar="NAME", help="hold what is measured to this section of floors.toml")


def section(name: str | None) -> dict[str, Any]:
    """A section of `floors.toml`; of no name, no floors."""
    return tomllib.loads(FLOORS.read_text(encoding="utf-8"))[name] if name else {}


def below(figures: Mapping[str, float], floors: Mapping[str, Any]) -> list[str]:
    """The floors that are not kept to, a sentence each.

    Args:
        figures: what was measured, by name.
        floors: `exact`, `least` and `most`, each by name of a figure.
    """
    said = []
    for kind, words in KINDS.items():
        for name, floor in floors.get(kind, {}).items():
            found = figures.get(name)
            if found is None:
                said.append(f"{name} was not measured")
            elif not {"exact": found == floor, "least": found >= floor, "most": found <= floor}[kind]:
                said.append(f"{name} is {found:.10g}, and the floor says {words}{floor:.10g}")
    return said


def peak_mb() -> float:
    """The most memory that this process has held; not ru_maxrss, which begins with what the process that started it
    had held."""
    rows = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM")) / 1024


def hold(name: str | None, figures: Mapping[str, float]) -> None:
    """End the benchmark with an error where its figures do not keep to its section; without a name they do."""
    end(below(figures, section(name)))


def end(said: list[str]) -> None:
    """Say which floors were not kept to, and end with an error if there are any."""
    sys.stdout.write("".join(f"BELOW THE FLOOR: {sentence}\n" for sentence in said))
    sys.stdout.flush()
    if said:
        sys.exit(1)


def main() -> None:
    """Run the benchmarks, and say at the end how each went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="the sections that take hours, instead of the others")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these sections")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="what benchmarks keep")
    arguments = parser.parse_args()
    floors = tomllib.loads(FLOORS.read_text(encoding="utf-8"))
    names = arguments.only or [name for name, of in floors.items() if of.get("large", False) == arguments.large]
    went = {}
    for name in names:
        file, *rest = shlex.split(floors[name]["run"].format(folder=arguments.folder.resolve()))
        command = [sys.executable, str(FLOORS.with_name(file)), *rest, "--floors", name]
        sys.stdout.write(f"== {name}: {file} {shlex.join(rest)}\n")
        sys.stdout.flush()
        begun = time.perf_counter()
        # Ratios are of one thread each, so that they do not depend on how many processors are free.
        code = subprocess.run(command, env={"OMP_NUM_THREADS": "1"} | os.environ, check=False).returncode
        went[name] = f"{'kept to its floors' if not code else 'FAILED'}, {time.perf_counter() - begun:.0f} s", code
    sys.stdout.write("".join(f"{name:20s} {words}\n" for name, (words, _) in went.items()))
    sys.exit(int(any(code for _, code in went.values())))


if __name__ == "__main__":
    main()
