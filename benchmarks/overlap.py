"""Does the model wait for a slow host, or the host for the model? One real build for each delay of the photo host.

    python benchmarks/overlap.py --photos-per-class 250 --delays-ms 0 40 160

For each delay: seconds of the shard stages from first to last, seconds in which a download,
an embedding, or both ran, and the bound that perfect overlap would reach (the longer of the two plus
what cannot overlap: the first download and the last embedding).
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from counterset.demo.server.look_alike import LookAlikeServer, Reply
from counterset.demo.world.observations import demo_catalog


class SlowServer(LookAlikeServer):
    """A photo host that takes its time before every photo."""

    delay_s = 0.0

    def reply(self, target: str) -> Reply:
        if target.startswith("/photos/"):
            time.sleep(self.delay_s)
        return super().reply(target)


def _serve(photos_per_class: int, delay_s: float, ready: Connection) -> None:
    server = SlowServer(demo_catalog(photos_per_class, 0)[0])
    server.delay_s = delay_s
    ready.send(server.url)
    server.serve_forever()


@contextmanager
def slow_host(photos_per_class: int, delay_s: float) -> Iterator[str]:
    """The address of the host, a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(photos_per_class, delay_s, theirs), daemon=True
    )
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


class Spans(logging.Handler):
    """Keeps when each shard's stage ran."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.spans: list[tuple[str, float, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = record.__dict__
        if "seconds" in fields and "stage" in fields:
            self.spans.append((fields["stage"], record.created - fields["seconds"], record.created))


def covered_s(spans: list[tuple[float, float]]) -> float:
    """Seconds covered by at least one span."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def measure(photos_per_class: int, shard_size: int, delay_s: float) -> dict[str, float]:
    """One build; seconds by what ran."""
    from counterset_flows.build import build

    from counterset.demo.start import Demo

    spans = Spans()
    log = logging.getLogger("counterset_flows.shards")
    log.setLevel(logging.INFO)
    log.addHandler(spans)
    with tempfile.TemporaryDirectory() as folder, slow_host(photos_per_class, delay_s) as url:
        config = Demo(photos_per_class).config(Path(folder), url)
        config = config.model_copy(update={"download": config.download.model_copy(update={"shard_size": shard_size})})
        build(config)
    log.removeHandler(spans)
    downloads = [(start, stop) for stage, start, stop in spans.spans if stage == "download"]
    embeds = [(start, stop) for stage, start, stop in spans.spans if stage == "embed"]
    whole = [(start, stop) for _, start, stop in spans.spans]
    download_s, embed_s = covered_s(downloads), covered_s(embeds)
    first_s = downloads[0][1] - downloads[0][0]
    last_s = max(stop for _, stop in embeds) - max(stop for _, stop in downloads)
    return {
        "delay_ms": 1000 * delay_s,
        "shards": len(downloads),
        "whole_s": max(stop for _, stop in whole) - min(start for start, _ in whole),
        "download_s": download_s,
        "embed_s": embed_s,
        "both_s": download_s + embed_s - covered_s(downloads + embeds),
        "bound_s": max(download_s + max(0.0, min(last_s, embed_s / len(downloads))), first_s + embed_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos-per-class", type=int, default=250)
    parser.add_argument("--shard-size", type=int, default=200)
    parser.add_argument("--delays-ms", type=float, nargs="+", default=[0, 40, 160])
    options = parser.parse_args()
    rows = [measure(options.photos_per_class, options.shard_size, ms / 1000) for ms in options.delays_ms]
    print("  ".join(f"{name:>10}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value:10.1f}" for value in row.values()))


if __name__ == "__main__":
    main()
