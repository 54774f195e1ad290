"""The download stage, shard by shard, against one plain img2dataset run over the same list.

    python benchmarks/downloads.py --photos 10000 --shard-size 5000 --size-bytes 60000

A process of its own serves equal bytes for every URL, so that both meet the same host. Each way is
timed from nothing to finished: process start, download, and the tables that the next stage reads (for
plain img2dataset its own Parquet shards).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.config import DownloadConfig
from counterset.schemas import IMAGES
from counterset.stages.download import download_photos
from counterset.tables import write_table

PLAIN = "import json, sys; from img2dataset import download; download(**json.loads(sys.argv[1]))"


def _serve(size_bytes: int, ready: Connection) -> None:
    content = b"\xff\xd8" + bytes(size_bytes - 2)

    class Handler(BaseHTTPRequestHandler):
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
def host(size_bytes: int) -> Iterator[str]:
    """The address of the host."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(size_bytes, theirs), daemon=True)
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


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--shard-size", type=int, default=5_000)
    parser.add_argument("--size-bytes", type=int, default=60_000)
    parser.add_argument("--times", type=int, default=2)
    options = parser.parse_args()
    config = DownloadConfig(threads=32)
    with host(options.size_bytes) as url:
        ids = [f"{number:07d}" for number in range(options.photos)]
        urls = pa.table(
            {"photo_id": ids, "class_id": ["a"] * len(ids), "url": [f"{url}/{photo_id}.jpg" for photo_id in ids]}
        )
        for _ in range(options.times):
            for name, way in (("img2dataset", plain), ("stage", ours)):
                with tempfile.TemporaryDirectory() as folder:
                    began, cpu = time.perf_counter(), cpu_s()
                    count = way(urls, Path(folder), options.shard_size, config)
                    seconds = time.perf_counter() - began
                print(
                    f"{name:12} {count} photos  {seconds:6.1f} s  {count / seconds:7.0f} a second  "
                    f"{cpu_s() - cpu:6.1f} s of processors"
                )


if __name__ == "__main__":
    main()
