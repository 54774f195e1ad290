"""Loading a release of 100,000 photos, beside `datasets.load_dataset` on the same files.

    python benchmarks/load.py [--photos 100000]

Each way runs in its own process, cold (a new cache) and again (the cache kept), three
times; the medians are printed: milliseconds from the start of the call to the first row of
`common`, the same with the modules' imports, and the process's peak memory.
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

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3

MEASURE = """
import json, sys, time
folder, cache = sys.argv[1:3]
started = time.perf_counter()
{imports}
imported = time.perf_counter()
{call}
row = {row}
done = time.perf_counter()
assert row["photo_id"], row
# Not ru_maxrss, which begins with the size of the process that started this one.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({{"call_ms": (done - imported) * 1e3, "total_ms": (done - started) * 1e3, "peak_mb": peak}}))
"""

WAYS = {
    "counterset.load": (
        "import counterset",
        "release = counterset.load(folder, cache=cache)",
        "release.common.slice(0, 1).to_pylist()[0]",
    ),
    "counterset.load(verify=False)": (
        "import counterset",
        "release = counterset.load(folder, cache=cache, verify=False)",
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
    photos = parser.parse_args().photos
    with tempfile.TemporaryDirectory() as name:
        folder = build(Path(name), photos)
        rows = json.loads((folder / "release.json").read_text())["counts"]
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        print(f"release of {rows['photos']:,} photos ({rows['common']:,} common, {rows['counter']:,} counter)")
        print(f"{size:.0f} MB on disk\n")
        print(f"{'':34}{'cold':>26}{'again':>26}")
        print(f"{'':34}" + f"{'call':>8}{'+import':>9}{'peak':>9}" * 2)
        for way, code in WAYS.items():
            cold, warm = [], []
            for run in range(RUNS):
                cache = Path(name) / f"cache-{len(way)}-{run}"
                cold.append(measure(code, folder, cache))
                warm.append(measure(code, folder, cache))
            print(f"{way:34}" + line(cold) + line(warm))


def line(runs: list[dict[str, float]]) -> str:
    """Medians as one cell."""
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return f"{median['call_ms']:5.0f} ms{median['total_ms']:6.0f} ms{median['peak_mb']:6.0f} MB"


def measure(code: tuple[str, str, str], folder: Path, cache: Path) -> dict[str, float]:
    """One way in a process of its own."""
    imports, call, row = code
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src"), HF_HUB_OFFLINE="1", HF_HOME=str(cache / "hf"))
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
