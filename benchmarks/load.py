"""Loading a release of 100,000 photos, beside `datasets.load_dataset` on the same files.

    python benchmarks/load.py [--photos 100000] [--before CHECKOUT]

Each way runs in its own process, cold (a new cache) and again (the cache kept), in turns; the medians of three are
printed: milliseconds from the start of the call to the first row of `common`, the same with the imports, the whole
process's processor time without Python's own start, and its peak memory. `pyarrow alone` reads the same file with
its functions and nothing else. `--before` also loads with the sources of another checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from floors import add_floors, hold

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3

MEASURE = """
import json, sys, time
folder, cache = sys.argv[1:3]
cpu, started = time.process_time(), time.perf_counter()
{imports}
imported = time.perf_counter()
{call}
row = {row}
done = time.perf_counter()
cpu = time.process_time() - cpu
assert row["photo_id"], row
# Not ru_maxrss, which begins with the size of the process that started this one.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({{
    "call": (done - imported) * 1e3, "total": (done - started) * 1e3, "cpu": cpu * 1e3, "peak": peak,
}}))
"""
LOADED = (
    "import counterset",
    "release = counterset.load(folder, cache=cache)",
    "release.common.slice(0, 1).to_pylist()[0]",
)

WAYS = {
    "pyarrow alone": (
        "import pyarrow.compute, pyarrow.parquet",
        "table = pyarrow.parquet.ParquetFile(folder + '/data/common-00000-of-00001.parquet').read()",
        "table.slice(0, 1).to_pylist()[0]",
    ),
    "counterset.load": LOADED,
    "counterset.load(verify=False)": (
        "import counterset",
        "release = counterset.load(folder, cache=cache, verify=False)",
        "release.common.slice(0, 1).to_pylist()[0]",
    ),
    "counterset.load, arrow imported": (
        "import pyarrow.compute, pyarrow.parquet, counterset",
        "release = counterset.load(folder, cache=cache)",
        "release.common.slice(0, 1).to_pylist()[0]",
    ),
    "counterset.load, all tables": (
        "import counterset",
        "release = counterset.load(folder, cache=cache)\n"
        "tables = [release.common, release.counter, release.all_photos, release.pairs, release.groups,"
        " release.predictions, release.captions, release.rejects, release.attribution]",
        "release.common.slice(0, 1).to_pylist()[0]",
    ),
    "datasets.load_dataset": (
        "import datasets\ndatasets.disable_progress_bars()",
        "found = datasets.load_dataset(folder, cache_dir=cache)",
        "found['common'][0]",
    ),
}


def main() -> None:
    """Build the release, measure each way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--before", type=Path, help="another checkout, loaded with beside this one")
    add_floors(parser)
    asked = parser.parse_args()
    ways = {name: (code, ROOT) for name, code in WAYS.items()}
    if asked.before:
        ways["counterset.load, before"] = (LOADED, asked.before.resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = build(Path(name), asked.photos)
        rows = json.loads((folder / "release.json").read_text())["counts"]
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        print(f"release of {rows['photos']:,} photos ({rows['common']:,} common, {rows['counter']:,} counter)")
        print(f"{size:.0f} MB on disk\n")
        print(f"{'':34}{'cold':>37}{'again':>37}")
        print(f"{'':34}" + f"{'call':>8}{'+import':>9}{'CPU':>11}{'peak':>9}" * 2)
        for number, (code, checkout) in enumerate(ways.values()):  # compiled once, which is not counted
            measure(code, checkout, folder, Path(name) / f"cache-{number}")
        runs: dict[tuple[str, str], list[dict[str, float]]] = {}
        for run in range(RUNS):
            for number, (way, (code, checkout)) in enumerate(ways.items()):
                cache = Path(name) / f"cache-{number}-{run}"
                for state in ("cold", "again"):
                    runs.setdefault((way, state), []).append(measure(code, checkout, folder, cache))
        for way in ways:
            print(f"{way:34}" + line(runs[way, "cold"]) + line(runs[way, "again"]))
    cpu = {way: statistics.median(run["cpu"] for run in runs[way, "cold"]) for way in ways}
    ours = cpu["counterset.load"]
    ratios = {"of_pyarrow": ours / cpu["pyarrow alone"], "datasets_of_ours": cpu["datasets.load_dataset"] / ours}
    print(", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()) + ", by processor time")
    hold(asked.floors, ratios)


def line(runs: list[dict[str, float]]) -> str:
    """Medians as one cell."""
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return f"{median['call']:5.0f} ms{median['total']:6.0f} ms{median['cpu']:8.0f} ms{median['peak']:6.0f} MB"


def measure(code: tuple[str, str, str], checkout: Path, folder: Path, cache: Path) -> dict[str, float]:
    """One way in a process of its own."""
    imports, call, row = code
    environment = dict(os.environ, PYTHONPATH=str(checkout / "src"), HF_HUB_OFFLINE="1", HF_HOME=str(cache / "hf"))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once
    environment["PYTHONPYCACHEPREFIX"] = str(cache.parent / "compiled")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(imports=imports, call=call, row=row), str(folder), str(cache)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def build(folder: Path, photos: int) -> Path:
    """A synthetic release of 45 classes with about `photos` photos kept, one selector and no pictures."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "release")]
    from build_inputs import build_config, build_inputs, with_tables

    from counterset.release.publish.writer import publish

    config = build_config().model_copy(update={"releases": str(folder)})
    # The generator turns away 8 %, and its last class is small.
    inputs = build_inputs(45, int(photos / 44 / 0.92), with_photos=False)
    return publish(with_tables(inputs, config=config)).path


if __name__ == "__main__":
    main()
