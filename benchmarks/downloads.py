"""The download stage with all its guards, shard by shard, against one plain img2dataset run over the same list.

    python benchmarks/downloads.py --photos 10000 --shard-size 5000 --size-bytes 60000 --times 3

A process of its own serves equal bytes for every URL, so that all meet the same host. Each way is
timed from nothing to finished: process start, download, and the tables that the next stage reads (for
plain img2dataset its own Parquet shards). The ways take turns, and each round gives a ratio of its own, for
other work on the machine changes from minute to minute. `gate` is the gate's client in threads without
img2dataset: what img2dataset's share of the work costs. `--floors NAME` holds the medians to `floors.toml`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from floors import add_floors, hold

from counterset.config import DownloadConfig
from counterset.download.photos import download_photos
from counterset.fetching.addresses import HostRules, netloc_of_number
from counterset.fetching.gate import Gate
from counterset.schemas import IMAGES
from counterset.tables import table_of, write_table

PLAIN = "import json, sys; from img2dataset import download; download(**json.loads(sys.argv[1]))"


def _serve(size_bytes: int, version: str, ready: Connection) -> None:
    content = b"\xff\xd8" + bytes(size_bytes - 2)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = version  # 1.1 keeps connections open

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(size_bytes))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


@contextmanager
def host(size_bytes: int, version: str) -> Iterator[str]:
    """The address of the host."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(size_bytes, version, theirs), daemon=True
    )
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def plain(urls: pa.Table, folder: Path, shard_size: int, config: DownloadConfig) -> int:
    """img2dataset alone; photos downloaded."""
    pq.write_table(urls.select(["photo_id", "url"]), folder / "urls.parquet")
    options = {
        "url_list": str(folder / "urls.parquet"),
        "input_format": "parquet",
        "output_folder": str(folder / "out"),
        "output_format": "parquet",
        "disable_all_reencoding": True,
        "save_additional_columns": ["photo_id"],
        "thread_count": config.threads,
        "processes_count": 1,
        "number_sample_per_shard": shard_size,
        "timeout": config.timeout_s,
        "retries": config.retries,
        "extract_exif": False,
        "compute_hash": None,
    }
    with (folder / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", PLAIN, json.dumps(options)], stdout=log, stderr=log, check=True)
    return sum(json.loads(path.read_text())["successes"] for path in (folder / "out").glob("*_stats.json"))


def ours(urls: pa.Table, folder: Path, shard_size: int, config: DownloadConfig) -> int:
    """The stage, and its tables written as the build writes them; photos downloaded."""
    count = 0
    for number, start in enumerate(range(0, urls.num_rows, shard_size)):
        result = download_photos(urls.slice(start, shard_size), folder / "scratch", config, user_agent="counterset")
        write_table(result.images, IMAGES, folder / f"{number}.parquet")
        count += result.images.num_rows
    return count


def gate(urls: pa.Table, folder: Path, shard_size: int, config: DownloadConfig) -> int:
    """The gate's client in threads, and the same tables; photos downloaded."""
    rules = HostRules((), ["*", *set(map(netloc_of_number, urls["url"].to_pylist()))])
    client = Gate(rules, "counterset", timeout_s=config.timeout_s, tries=config.retries + 1, connections=config.threads)
    count = 0
    for number, start in enumerate(range(0, urls.num_rows, shard_size)):
        part = urls.slice(start, shard_size)
        with ThreadPoolExecutor(config.threads) as pool:
            found = list(pool.map(lambda url: client.get(url, config.max_size_bytes).content, part["url"].to_pylist()))
        table = table_of(IMAGES, {"photo_id": part["photo_id"].to_pylist(), "image": found})
        write_table(table, IMAGES, folder / f"{number}.parquet")
        count += len(found)
    return count


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--shard-size", type=int, default=5_000)
    parser.add_argument("--size-bytes", type=int, default=60_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--keep-alive", action="store_true", help="the host keeps connections open")
    add_floors(parser)
    options = parser.parse_args()
    config = DownloadConfig(threads=32)
    ways = {"img2dataset": plain, "stage": ours, "gate": gate}
    ratios: dict[str, list[tuple[float, float]]] = {"stage": [], "gate": []}
    with host(options.size_bytes, "HTTP/1.1" if options.keep_alive else "HTTP/1.0") as url:
        ids = [f"{number:07d}" for number in range(options.photos)]
        urls = pa.table(
            {"photo_id": ids, "class_id": ["a"] * len(ids), "url": [f"{url}/{photo_id}.jpg" for photo_id in ids]}
        )
        for _ in range(options.times):
            took: dict[str, tuple[float, float]] = {}
            for name, way in ways.items():
                with tempfile.TemporaryDirectory() as folder:
                    began, cpu = time.perf_counter(), cpu_s()
                    count = way(urls, Path(folder), options.shard_size, config)
                    took[name] = time.perf_counter() - began, cpu_s() - cpu
                assert count == options.photos, f"{name}: {count} photos"
                seconds, processors = took[name]
                print(
                    f"{name:12} {count} photos, {count * options.size_bytes / 1e6:,.0f} MB  {seconds:6.1f} s  "
                    f"{count / seconds:7.0f} a second  {processors:6.1f} s of processors",
                    flush=True,
                )
            for name in ratios:
                wall, cpu = (took["img2dataset"][part] / took[name][part] for part in (0, 1))
                ratios[name].append((wall, cpu))
                print(f"{name} beside img2dataset: {wall:.2f} of its photos a second, {cpu:.2f} a processor second")
    figures: dict[str, float] = {}
    for name, found in ratios.items():
        wall, cpu = (statistics.median(pair[part] for pair in found) for part in (0, 1))
        print(f"{name}: ratio {wall:.2f} by the clock, {cpu:.2f} by processor seconds (medians of {len(found)} rounds)")
        figures |= {f"{name}_of_img2dataset": wall, f"{name}_of_img2dataset_by_processor": cpu}
    hold(options.floors, figures)


if __name__ == "__main__":
    main()
