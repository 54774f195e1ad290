"""Exact search over shards: 1, 2 and 4 million base vectors against 13,000 queries of 512 dimensions.

    python benchmarks/similarity.py FOLDER [--millions 1 2 4] [--ways nearest torch faiss] [--json FILE]

Shards of 250,000 float16 vectors are made in FOLDER (1 GB a million) and kept there. Every way runs
in its own process and is measured whole, reading included:

    nearest     each query's most similar vector (what an audit and the reference side of pruning do)
    near        the base vectors above their queries' thresholds (near-pruning)
    far         each base vector's most similar query (far-pruning)
    torch       plain torch: chunks of the base in float32, matrix multiplication, topk, merged
    torch-bf16  the same in bfloat16: its nearest vectors are not exact
    faiss       FAISS's exact index (IndexFlatIP), filled and asked a shard at a time

The machine's limit is the largest rate of a 4096-cubed product in the way's precision, measured
before and after each way in the same process; `share` is the way's own rate (2 Q N D) over it, both
a CPU second, so that it says the same on a machine that others use too; `wall share` is by the clock.
Peak memory is the process's largest anonymous memory (pages of the shards that the
kernel keeps for it, and may take back, do not count), sampled. `--floors NAME` holds `nearest` at the largest size to
`floors.toml`: its rate per processor second beside torch's and FAISS's, and that it gives the same similarities.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from floors import add_floors, hold

ROWS, DIM, QUERIES = 250_000, 512, 13_000
WAYS = ("nearest", "near", "far", "torch", "torch-bf16", "faiss")


def make(folder: Path, millions: float) -> None:
    """Shards of clustered unit vectors, as embeddings are: a few hundred directions with spread around them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    centres = np.random.default_rng(0).standard_normal((400, DIM), np.float32)

    def draw(seed: int, count: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        vectors = centres[generator.integers(0, len(centres), count)]
        vectors += 1.2 * generator.standard_normal((count, DIM), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    if not (folder / "queries.npy").is_file():
        np.save(folder / "queries.npy", draw(1, QUERIES))
    for shard in range(int(millions * 1e6) // ROWS):
        path = folder / f"base-{shard:03d}" / f"{shard:03d}.npy"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            pq.write_table(
                pa.table({"id": [f"{shard:03d}-{row:06d}" for row in range(ROWS)]}), path.with_suffix(".parquet")
            )
            aside = path.with_name("part.npy")
            np.save(aside, draw(100 + shard, ROWS).astype(np.float16))
            aside.rename(path)


class Peak:
    """The largest anonymous memory of this process while the block runs, in MB."""

    def __enter__(self) -> Peak:
        self.megabytes, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            anonymous = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.megabytes = max(self.megabytes, anonymous / 1024)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def limits() -> dict[str, float]:
    """GFLOP a CPU second of one large product in both precisions."""
    import torch

    found = {}
    for precision in (torch.bfloat16, torch.float32):
        square = torch.randn(4096, 4096).to(precision)
        seconds = []
        for _ in range(4):
            started = time.process_time()
            torch.mm(square, square)
            seconds.append(time.process_time() - started)
        found[str(precision).removeprefix("torch.")] = 2 * 4096**3 / min(seconds) / 1e9
    return found


def run(folder: Path, millions: float, way: str) -> dict[str, object]:
    """One way in this process."""
    import torch

    from counterset.similarity.embedding_sets import EmbeddingSet, open_embeddings
    from counterset.similarity.search import exceeding, fastest_precision, nearest

    queries = np.load(folder / "queries.npy")
    sets = [open_embeddings(folder / f"base-{n:03d}", "toy") for n in range(int(millions * 1e6) // ROWS)]
    before = limits()
    checksum = 0.0

    def tiles(one: EmbeddingSet):  # type: ignore[no-untyped-def]
        return one.tiles(one.shards[0])

    with Peak() as peak:
        started, cpu = time.perf_counter(), time.process_time()
        if way == "nearest":
            best = np.full(QUERIES, -np.inf, np.float32)
            for one in sets:  # a shard at a time, as tasks do
                best = np.maximum(best, nearest(queries, tiles(one)).similarity[:, 0])
            checksum = float(best.astype(np.float64).sum())
        elif way == "near":
            # Limits as a reference set of a tenth leaves them: the nearest of the first 25,000 vectors.
            first = next(sets[0].tiles(sets[0].shards[0], 25_000))
            thresholds = nearest(queries, [first]).similarity[:, 0]
            found = sum(
                int((exceeding(tile, queries, thresholds).query >= 0).sum()) for one in sets for tile in tiles(one)
            )
            checksum = float(found)
        elif way == "far":
            for one in sets:
                for tile in tiles(one):
                    checksum += float(nearest(tile, [queries]).similarity.astype(np.float64).sum())
        elif way == "faiss":
            import faiss

            most = np.full(QUERIES, -np.inf, np.float32)
            for one in sets:
                index = faiss.IndexFlatIP(DIM)
                for tile in tiles(one):
                    index.add(tile)
                most = np.maximum(most, index.search(queries, 1)[0][:, 0])
            checksum = float(most.astype(np.float64).sum())
        else:
            precision = torch.bfloat16 if way == "torch-bf16" else torch.float32
            asked = torch.from_numpy(queries).to(precision)
            top = torch.full((QUERIES, 1), -2.0, dtype=precision)
            for one in sets:
                array = np.load(one.shards[0].vectors, mmap_mode="r")
                for start in range(0, len(array), 4_096):
                    chunk = torch.from_numpy(array[start : start + 4_096].astype(np.float32))
                    chunk = torch.nn.functional.normalize(chunk).to(precision)
                    found_top = (asked @ chunk.T).topk(1, dim=1).values
                    top = torch.maximum(top, found_top)
            checksum = float(top.double().sum())
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    after = limits()
    best_limits = {name: max(before[name], after[name]) for name in before}
    gflop = 2 * QUERIES * millions * 1e6 * DIM / 1e9
    precision_name = {"torch": "float32", "faiss": "float32", "torch-bf16": "bfloat16"}.get(
        way, str(fastest_precision()).removeprefix("torch.")
    )
    return {
        "way": way,
        "millions": millions,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_mb": round(peak.megabytes),
        "threads": torch.get_num_threads(),
        "gflop_a_second": round(gflop / seconds),
        "limit_gflop_a_cpu_second": {name: round(value) for name, value in best_limits.items()},
        "share": round(gflop / cpu_seconds / best_limits[precision_name], 3),
        "wall_share": round(gflop / seconds / best_limits[precision_name] / torch.get_num_threads(), 3),
        "checksum": checksum,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Run every way for every size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 2, 4])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    add_floors(parser)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run(args.folder, float(args.one[0]), args.one[1])))
        return
    make(args.folder, max(args.millions))
    rows = []
    for millions in args.millions:
        for way in args.ways:
            command = [sys.executable, __file__, str(args.folder), "--one", str(millions), way]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            row = rows[-1]
            print(
                f"{row['way']:<11} {row['millions']:g} M  {row['seconds']:>7.1f} s  cpu {row['cpu_seconds']:>7.1f} s  "
                f"peak {row['peak_mb']:>5} MB  share {row['share']:.2f} of {row['limit_gflop_a_cpu_second']} "
                f"GFLOP a CPU second (wall share {row['wall_share']:.2f})"
                f"  checksum {row['checksum']:.6f}  load {row['load']:.1f}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    largest = {row["way"]: row for row in rows if row["millions"] == max(args.millions)}
    figures = {"nearest_share": largest["nearest"]["share"]} if "nearest" in largest else {}
    for peer in largest.keys() & {"torch", "faiss"} if figures else ():
        ours, other = largest["nearest"], largest[peer]
        figures[f"nearest_of_{peer}"] = other["cpu_seconds"] / ours["cpu_seconds"]
        figures[f"difference_from_{peer}"] = abs(ours["checksum"] - other["checksum"]) / QUERIES
    sys.stdout.write("".join(f"{name} {value:.6g}\n" for name, value in sorted(figures.items())))
    hold(args.floors, figures)


if __name__ == "__main__":
    main()
