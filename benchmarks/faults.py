"""Break a build in every way that machines and networks do, run it again, and compare with an undisturbed one.

    make faults                                     all of it, about half an hour on two cores
    python benchmarks/faults.py --only kill --kills 5

Every build is the command line's, against the look-alike server. After each fault the rerun must give the
undisturbed build's release byte for byte and its workspace file for file (nothing lost, nothing twice), or
the command must have refused in one sentence; and no process may stay behind. One table row a case; the exit
code is 1 if any failed. Disk full needs the right to mount a tmpfs, the clock needs `faketime`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import requests

from counterset.demo.serve import ServerProcess

MARK = "COUNTERSET_FAULTS"
TIMEOUT_S = 900.0
TRANSIENT = ("crawl_state", "download_scratch", "failed", "runs", "published", "prefect", "download_attempts")
"""Folders of a workspace that tell of the way and not of the result."""

CONFIG = """
name = "faulty"
workspace = "work/workspace"
releases = "releases"
[classes]
list = "demo"
only = ["ice_bear", "lion", "red_fox"]
[source]
api_url = "{url}/v1"
photo_url = "{url}"
contact = "faults@localhost"
photos_per_class = 1000
requests_per_minute = 6000
requests_per_day = 100000
[download]
shard_size = 60
[models]
annotator = "demo:annotator"
selectors = ["demo:selector"]
[annotate]
vocabulary = "demo"
[evaluate]
label_space = "classes"
[select]
min_photos = 2
min_units = 2
[publish]
with_images = true
"""


class Gate(ThreadingHTTPServer):
    """Stands before the look-alike: passes requests on, loses a share of the photos, or is away altogether.

    Attributes:
        lost_share: of photos, by hash of their path, answered with 500.
        is_away: connections are closed without an answer.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Through)
        self.upstream = upstream
        self.lost_share = 0.0
        self.is_away = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def is_lost(self, path: str) -> bool:
        """Whether the photo at `path` is among the lost."""
        share = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4]) / 2**32
        return not path.startswith("/v1") and share < self.lost_share


class _Through(BaseHTTPRequestHandler):
    server: Gate

    def do_GET(self) -> None:
        if self.server.is_away:
            self.close_connection = True
            return
        if self.server.is_lost(self.path):
            self.send_error(500)
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        answer = requests.get(self.server.upstream + self.path, headers=headers, timeout=60)
        self.send_response(answer.status_code)
        for name in ("Content-Type", "Retry-After", "Location"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(answer.content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Ended:
    """How a build ended: its exit code, and the last line it wrote to stderr."""

    code: int
    said: str

    @property
    def is_refusal(self) -> bool:
        """Exit code 2 and one sentence."""
        return self.code == 2 and self.said.startswith("counterset: ")


class Case:
    """One build's folder, and what is done to it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.mark = str(folder.resolve())
        self.log = folder / f"stderr-{time.monotonic_ns()}.txt"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "my.toml").write_text(CONFIG.format(url=url))

    def start(self, prefix: tuple[str, ...] = (), arguments: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Begin the build."""
        environment = os.environ | {MARK: self.mark, "PREFECT_HOME": str(self.folder / "prefect")}
        log = self.log.open("w")
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "counterset.cli", "build", "my.toml", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
            start_new_session=True,
        )

    def finish(self, build: subprocess.Popen[str]) -> Ended:
        """Wait for a build."""
        code = build.wait(timeout=TIMEOUT_S)
        lines = self.log.read_text().strip().splitlines()
        return Ended(code, next((line for line in reversed(lines) if line.startswith("counterset: ")), "")[:300])

    def run(self, prefix: tuple[str, ...] = (), arguments: tuple[str, ...] = ()) -> Ended:
        """Build to the end."""
        return self.finish(self.start(prefix, arguments))

    def processes(self) -> list[psutil.Process]:
        """What the build has started and still lives."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill_tree(self) -> None:
        """kill -9 of every process of the build at once."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def left_behind(self) -> int:
        """Processes that still live after 30 seconds."""
        end = time.monotonic() + 30
        while (number := len(self.processes())) and time.monotonic() < end:
            time.sleep(0.1)
        return number

    @property
    def workspace(self) -> Path:
        return self.folder / "work" / "workspace"

    def release(self, version: str = "1.0.0") -> Path:
        """The folder of its release."""
        return self.folder / "releases" / "faulty" / version

    def result(self) -> dict[str, str]:
        """sha256 of every file of the release and of every finished file of the workspace."""
        sums = self.release() / "SHA256SUMS"
        found = {"SHA256SUMS": sums.read_text() if sums.is_file() else "no release"}
        for path in sorted(self.workspace.glob("*/*/**/*")):
            stage = path.relative_to(self.workspace).parts[0]
            if path.is_file() and stage not in TRANSIENT:
                name = path.relative_to(self.workspace).as_posix()
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


@dataclass
class Faults:
    """All cases beside one undisturbed build."""

    folder: Path
    gate: Gate
    kills: int
    rng: random.Random
    whole_s: float = 0.0
    expected: Mapping[str, str] | None = None
    number: int = 0
    failed: int = 0

    def case(self) -> Case:
        """A fresh folder."""
        self.number += 1
        folder = self.folder / f"case{self.number:03d}"
        shutil.rmtree(folder, ignore_errors=True)
        return Case(folder, self.gate.url)

    def say(self, name: str, is_good: bool | None, what: str) -> None:
        """One row of the table; None = could not be run here."""
        self.failed += is_good is False
        word = {True: "yes", False: "NO", None: "not run"}[is_good]
        sys.stdout.write(f"| {name} | {word} | {what} |\n")
        sys.stdout.flush()

    def differs(self, case: Case) -> str:
        """What is not as in the undisturbed build; empty = all is."""
        found, expected = case.result(), self.expected or {}
        names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        return f"{len(names)} files differ, e.g. {names[0]}" if names else ""

    def judge(self, name: str, case: Case, ended: Ended, what: str) -> None:
        """The rerun must have ended well with the undisturbed build's bytes, and left nothing behind."""
        left, differs = case.left_behind(), self.differs(case)
        is_good = ended.code == 0 and not differs and not left
        told = what if is_good else f"{what}; exit {ended.code} {ended.said}; {differs}; {left} processes left"
        self.say(name, is_good, told)
        if is_good:
            shutil.rmtree(case.folder, ignore_errors=True)

    def undisturbed(self) -> None:
        """The build that all others are compared with, twice."""
        first, second = self.case(), self.case()
        begun = time.monotonic()
        ended = first.run()
        self.whole_s = time.monotonic() - begun
        self.expected = first.result()
        self.say("undisturbed", ended.code == 0, f"{self.whole_s:.0f} s, {len(self.expected)} files; {ended.said}")
        self.judge("undisturbed, in another folder", second, second.run(), "the same bytes")

    def interrupted(self, name: str, number: int, stop: Callable[[Case, subprocess.Popen[str]], None]) -> None:
        """Stop builds at random moments, then run them again."""
        for attempt in range(number):
            case = self.case()
            moment = self.rng.uniform(0.03, 0.97) * self.whole_s
            build = case.start()
            time.sleep(moment)
            was_running = build.poll() is None
            stop(case, build)
            build.wait(timeout=TIMEOUT_S)
            left = case.left_behind()
            ended = "" if was_running else " (it had ended)"
            what = f"after {moment:.1f} s{ended}, {left} left behind"
            self.judge(f"{name} {attempt + 1}", case, case.run(), what)

    def kill(self) -> None:
        """kill -9 of the whole process tree."""
        self.interrupted("kill -9 of all", self.kills, lambda case, build: case.kill_tree())

    def kill_parent(self) -> None:
        """kill -9 of the build alone: what it started must end by itself."""
        self.interrupted("kill -9 of the build", max(self.kills // 5, 1), lambda case, build: build.kill())

    def terminate(self) -> None:
        """SIGTERM and Ctrl-C."""
        for name, number in (("SIGTERM", signal.SIGTERM), ("SIGINT", signal.SIGINT)):
            self.interrupted(name, max(self.kills // 10, 1), partial(_send, number))

    def disk_full(self) -> None:
        """A workspace, then a folder of releases, on a disk that is too small, then large enough."""
        for name in ("work", "releases"):
            case = self.case()
            disk = case.folder / name
            disk.mkdir()
            size = sum(path.stat().st_size for path in (self.folder / "case001" / name).rglob("*") if path.is_file())
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size // 3}", "tmpfs", str(disk)]).returncode:
                self.say(f"disk of {name} full", None, "no right to mount a small disk here")
                return
            try:
                ended = case.run()
                self.say(f"disk of {name} full: refused", ended.is_refusal, f"exit {ended.code}, {ended.said}")
                subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
                what = f"{size // 3:,} of {size:,} bytes at first"
                self.judge(f"disk of {name} full, then room", case, case.run(), what)
            finally:
                subprocess.run(["umount", str(disk)], check=False)

    def read_only(self) -> None:
        """A workspace that cannot be written."""
        case = self.case()
        disk = case.folder / "work"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]).returncode:
            self.say("read-only", None, "no right to mount here")
            return
        try:
            ended = case.run()
            self.say("read-only: refused", ended.is_refusal, f"exit {ended.code}, {ended.said}")
        finally:
            subprocess.run(["umount", str(disk)], check=False)
        self.judge("read-only, then not", case, case.run(), "the same folder, writable")

    def server_gone(self) -> None:
        """The host goes away during the downloads and comes back."""
        case = self.case()
        build = case.start()
        _wait(lambda: any(case.workspace.glob("images/*/*.parquet")), TIMEOUT_S)
        self.gate.is_away = True
        threading.Timer(15, lambda: setattr(self.gate, "is_away", False)).start()
        ended = case.finish(build)
        what = f"away for 15 s: first exit {ended.code} {ended.said}"
        again = 0
        while ended.code and again < 5:
            again += 1
            ended = case.run()
        self.judge("server gone for a while", case, ended, f"{what}; {again} reruns")

    def failing_photos(self) -> None:
        """30 % of the photos fail: they are rejects, the same each time; a refresh after it brings them."""
        self.gate.lost_share = 0.3
        try:
            first, second = self.case(), self.case()
            codes = [case.run().code for case in (first, second)]
        finally:
            self.gate.lost_share = 0.0
        whole = self.folder / "case001" / "releases" / "faulty" / "1.0.0"
        ids = [_photo_ids(release / "all_photos.parquet") for release in (whole, first.release(), second.release())]
        lost = 1 - len(ids[1]) / max(len(ids[0]), 1)
        is_same = first.result()["SHA256SUMS"] == second.result()["SHA256SUMS"]
        copies = _photo_ids(whole / "rejects.parquet", stage="curate")  # of a lost photo, they take its place
        is_good = codes == [0, 0] and is_same and ids[1] != ids[0] and ids[1] <= ids[0] | copies and 0.2 < lost < 0.4
        self.say("30 % failing photos", is_good, f"exit {codes}, {lost:.0%} lost, two builds equal: {is_same}")
        first.run(arguments=("--refresh",))
        versions = sorted(first.release().parent.glob("[0-9]*"))
        back = _photo_ids(versions[-1] / "all_photos.parquet")
        self.say("then fixed, refresh", back == ids[0], f"{len(back)} of {len(ids[0])} photos, as {versions[-1].name}")

    def damaged(self) -> None:
        """Finished files that a disk or a person spoiled, in an unfinished build."""
        for stage in ("shards", "images", "photos", "embeddings"):
            for how, spoil in (("cut short", _truncate), ("one byte changed", _flip)):
                case = self.case()
                build = case.start()
                _wait(lambda case=case: any(case.workspace.glob("embeddings/*/*.parquet")), TIMEOUT_S)  # type: ignore[misc]
                case.kill_tree()
                build.wait(timeout=TIMEOUT_S)
                path = sorted(case.workspace.glob(f"{stage}/*/*.parquet"))[0]
                spoil(path)
                ended, what = case.run(), "seen and done again"
                if ended.is_refusal:
                    what = f"refused: {ended.said.replace(str(case.folder), '.')[:160]}"
                    path.unlink()
                    ended = case.run()
                if stage == "shards" and ended.code == 0:  # its photos get a new shard; the release is the same
                    is_same = case.result()["SHA256SUMS"] == (self.expected or {})["SHA256SUMS"]
                    self.say(f"{stage} file {how}", is_same, f"{what}; equal releases: {is_same}")
                else:
                    self.judge(f"{stage} file {how}", case, ended, what)

    def clock(self) -> None:
        """The clock jumps forward and back between a kill and the rerun."""
        if shutil.which("faketime") is None:
            self.say("clock jumps", None, "faketime is not installed")
            return
        for shift in ("+40d", "-40d"):
            case = self.case()
            build = case.start()
            _wait(lambda case=case: any(case.workspace.glob("photos/*/*.parquet")), TIMEOUT_S)  # type: ignore[misc]
            case.kill_tree()
            build.wait(timeout=TIMEOUT_S)
            ended = case.run(prefix=("faketime", "-m", "-f", shift))
            self.judge(f"clock jumps {shift}", case, ended, "killed at work, rerun at the other time")

    def two_at_once(self) -> None:
        """Two builds of one config on one workspace."""
        case = self.case()
        first = case.start()
        _wait(lambda: case.workspace.joinpath(".lock").exists() and any(case.workspace.glob("crawl*/*/*")), TIMEOUT_S)
        second = Case(case.folder, self.gate.url).run()
        self.say("two at once: the second", second.is_refusal, f"exit {second.code}, {second.said}")
        self.judge("two at once: the first", case, Ended(first.wait(timeout=TIMEOUT_S), ""), "undisturbed")


def _send(number: int, case: Case, build: subprocess.Popen[str]) -> None:
    if build.poll() is None:
        build.send_signal(number)


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def _photo_ids(path: Path, **where: str) -> set[str]:
    filters = [(name, "==", value) for name, value in where.items()] or None
    return set(pq.read_table(path, columns=["photo_id"], filters=filters)["photo_id"].to_pylist())


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


CASES = (
    "kill",
    "kill_parent",
    "terminate",
    "disk_full",
    "read_only",
    "server_gone",
    "failing_photos",
    "damaged",
    "clock",
    "two_at_once",
)


@contextlib.contextmanager
def _world(folder: Path | None) -> Iterator[tuple[Path, Gate]]:
    with ServerProcess("--photos-per-class", "60", "--seed", "5") as server:
        gate = Gate(server.url)
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                yield folder.resolve(), gate
            else:
                with tempfile.TemporaryDirectory(prefix="counterset-faults-") as temporary:
                    yield Path(temporary), gate
        finally:
            gate.shutdown()


def main() -> int:
    """Run the cases named, one table row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--kills", type=int, default=20, help="kill -9 of the whole tree at so many random moments")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="work here and keep what failed")
    arguments = parser.parse_args()
    with _world(arguments.folder) as (folder, gate):
        faults = Faults(folder, gate, arguments.kills, random.Random(arguments.seed))
        sys.stdout.write("| case | as undisturbed | what happened |\n|---|---|---|\n")
        faults.undisturbed()
        for name in arguments.only:
            getattr(faults, name)()
    sys.stdout.write(f"\n{faults.failed} of all rows failed\n")
    return int(faults.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
