"""Balanced captions: a million of them over 500,000 entries, beside a plain loop and, where installed, Aho-Corasick.

    python benchmarks/captions.py [--captions 1000000] [--entries 500000]

Captions and entries are generated: words of 1 to 10 letters whose frequency falls with their rank (Zipf). The plain
loop asks of each entry whether a caption has it; its time is of 20 captions. Times are processor seconds of one thread,
memory is the process's peak. `--floors NAME` holds the ratios and what is kept to `floors.toml`.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from floors import add_floors, hold, peak_mb

from counterset.sources.balanced_lists import Balanced, balance_lists
from counterset.sources.matching import Phrases, words_of

BATCH = 20_000


def generated(rng: np.random.Generator, words: np.ndarray, lengths: list[int], num: int) -> list[str]:
    """`num` texts of some number of words, the n-th of which is 1 / n as frequent as the first."""
    ranks = 1 / np.arange(1, len(words) + 1)
    sizes = rng.choice(lengths, num)
    drawn = words[np.searchsorted(np.cumsum(ranks) / ranks.sum(), rng.random(int(sizes.sum())))]
    return [" ".join(part) for part in np.split(drawn, np.cumsum(sizes)[:-1])]


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Generate, balance, and print a line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=500_000)
    add_floors(parser)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.unique(
        ["".join(rng.choice(letters, rng.integers(1, 11))) for _ in range(min(200_000, 4 * args.entries))]
    )
    words = rng.permutation(words)
    num_single = args.entries * 3 // 10
    phrases = dict.fromkeys([*words[:num_single], *generated(rng, words, [2, 2, 2, 3, 3, 4, 5], args.entries * 2)])
    entries = list(phrases)[: args.entries]
    captions = generated(rng, words, [4, 6, 8, 10, 12, 14, 16, 20], args.captions)
    some = captions[:200_000]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "entries.txt").write_text("\n".join(entries))
        ids = [f"https://photos.example/{number}.jpg" for number in range(len(captions))]
        pq.write_table(pa.table({"url": ids, "caption": captions}), folder / "captions.parquet")
        before = peak_mb()
        balanced: list[Balanced] = []

        def whole() -> None:
            paths = [folder / "captions.parquet"], folder / "entries.txt", folder / "balanced"
            balanced.append(balance_lists(*paths, t=20_000, seed=0))

        took = seconds(whole)
        print(balanced[0])
        print(f"counterset balance, all of it: {took:.1f} s, {len(captions) / took:,.0f} captions per second")
        above_mb = peak_mb() - before
        print(f"peak memory {above_mb + before:,.0f} MB, of which {before:,.0f} MB before it began")
    made: list[Phrases] = []
    print(f"reading {len(entries):,} entries: {seconds(lambda: made.append(Phrases(entries))):.1f} s")

    def walk() -> None:
        for start in range(0, len(some), BATCH):
            made[0].find([caption] for caption in some[start : start + BATCH])

    walked = len(some) / seconds(walk)
    print(f"the walk alone: {walked:,.0f} captions per second")
    if importlib.util.find_spec("ahocorasick_rs"):
        import ahocorasick_rs

        spaced = [f" {' '.join(words_of(entry))} " for entry in entries]
        machine = ahocorasick_rs.AhoCorasick(spaced, store_patterns=False)

        def search() -> None:
            for caption in some:
                machine.find_matches_as_indexes(f" {' '.join(words_of(caption))} ", overlapping=True)

        print(f"ahocorasick_rs: {len(some) / seconds(search):,.0f} captions per second")
    plain = [f" {entry} " for entry in entries]
    few = captions[:20]
    looped = len(few) / seconds(lambda: [[entry for entry in plain if entry in f" {caption} "] for caption in few])
    print(f"a plain loop: {looped:,.0f} captions per second")
    figures = {"of_plain_loop": walked / looped, "peak_mb": above_mb, "kept": balanced[0].num_kept}
    hold(args.floors, figures)


if __name__ == "__main__":
    main()
