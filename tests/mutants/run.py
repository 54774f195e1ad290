"""Do the tests notice faults? Change a module in one place, run its own tests, and see that one fails.

    python -m tests.mutants.run [MODULE ...] [--number 40] [--jobs 2] [--minutes 60]

Run from the checkout. One process imports the libraries that the tests use once, then forks for every mutant; the
child gets the changed module in place of the module and runs its tests until the first failure. So a mutant costs
its tests, not the seconds of a start. The mutants of a module are a sample: those whose salted hashes are smallest.
Results are lines of JSON; a run that was stopped goes on from there, and begins a module anew once it or its tests
changed. mutmut changes function bodies alone (no SQL, no patterns, no tables of a module) and draws no sample;
cosmic-ray starts pytest for every mutant, which takes longer here than most modules' tests.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
import tomllib
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import psutil

from .operators import Mutant, mutants_of

HERE = Path(__file__).resolve().parent
FLOOR = 0.9
"""The lowest share of a module's mutants that its tests must notice."""
NUM_MUTANTS = 40
MAX_MINUTES = 60.0
MIN_TIMEOUT_S = 5.0
MAX_MEMORY_BYTES = 6 * 2**30
SALT = "counterset"

CAUGHT, SURVIVED, TIMEOUT, MEMORY = "caught", "survived", "timeout", "memory"


class TestsFail(Exception):
    """The tests of a module fail without any change, so they tell nothing."""


@dataclass(frozen=True)
class Module:
    """A module to change, and the tests that must notice.

    Attributes:
        name: in the table.
        path: of its source.
        tests: files or folders of tests.
    """

    name: str
    path: str
    tests: tuple[str, ...]

    @property
    def source(self) -> str:
        return Path(self.path).read_text(encoding="utf-8")

    @property
    def imported_as(self) -> str:
        """Its name in imports."""
        parts = Path(self.path).with_suffix("").parts[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def key(self) -> str:
        """16 hex digits that change with the module and its tests."""
        digest = hashlib.sha256()
        files = [Path(self.path)]
        for found in map(Path, self.tests):
            files += sorted(found.rglob("*.py")) if found.is_dir() else [found]
            files += sorted(found.parent.glob("conftest.py"))
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()[:16]

    def sample(self, number: int | None, equivalent: Iterable[str] = ()) -> list[Mutant]:
        """`number` mutants, the same as long as their code is, or all; without those known to be equivalent.

        Args:
            number: None = all.
            equivalent: ids of mutants, or whole lines, all of whose mutants are.
        """
        left_out = set(equivalent)
        kept = [mutant for mutant in mutants_of(self.source) if not {mutant.id, mutant.before} & left_out]
        return sorted(kept, key=lambda mutant: hashlib.sha256(f"{SALT} {self.name} {mutant.id}".encode()).digest())[
            :number
        ]


@dataclass
class Score:
    """What became of a module's mutants: number by result, and those that survived."""

    num_mutants: int
    num_equivalent: int
    results: Counter[str] = field(default_factory=Counter)
    survivors: list[Mutant] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def num_run(self) -> int:
        return sum(self.results.values())

    @property
    def share(self) -> float:
        """Of the mutants that ran, those that were noticed."""
        return 1 - self.results[SURVIVED] / self.num_run if self.num_run else 0.0


class Records:
    """Results by module, its key and the mutant's id, kept as lines of JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known: dict[tuple[str, str], tuple[str, float]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
            except ValueError:  # the line that a killed run was writing
                continue
            self.known[row["key"], row["id"]] = row["result"], row["seconds"]

    def add(self, module: Module, key: str, mutant: Mutant, ended: _Ended) -> None:
        """Keep one result."""
        self.known[key, mutant.id] = ended.result, ended.seconds
        row = {
            "module": module.name,
            "key": key,
            "id": mutant.id,
            "operator": mutant.operator,
            "line": mutant.line,
            "before": mutant.before,
            "after": mutant.after,
            "result": ended.result,
            "by": ended.by,
            "seconds": round(ended.seconds, 2),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the changed code in place of the file's."""

    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Finder(importlib.abc.MetaPathFinder):
    """Gives the changed module to whoever imports it."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self.name, self.path, self.code = name, path, code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = _Loader(fullname, str(self.path))
        loader.code = self.code
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


class _Watch:
    """A pytest plugin: the tests that are likeliest to fail soonest come first; what failed and what took long is kept.

    Attributes:
        seconds: of each test, set-up and all.
        failed: the first test that failed.
    """

    def __init__(self, order: Mapping[str, tuple[int, float]]) -> None:
        self.order = order
        self.seconds: Counter[str] = Counter()
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self.order.get(item.nodeid, (0, 0.0)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid


@dataclass(frozen=True)
class _Ended:
    """How a child ended, the first test that failed in it, and what it took."""

    result: str
    by: str
    seconds: float


@dataclass(frozen=True)
class _Limits:
    """What a child may use."""

    cpu_s: float = 600.0
    wall_s: float = 900.0


@dataclass(frozen=True)
class _Child:
    mutant: Mutant | None
    pid: int
    begun: float
    scratch: Path

    def ended(self, limits: _Limits) -> _Ended | None:
        """How it ended; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return self._end(CAUGHT if os.waitstatus_to_exitcode(status) else SURVIVED)
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            used = process.cpu_times()
            # Processor time, for a busy machine must not pass for an endless loop; sleepers have their own limit.
            if used.user + used.system > limits.cpu_s or time.monotonic() - self.begun > limits.wall_s:
                return self._kill(TIMEOUT)
            if process.memory_info().rss > MAX_MEMORY_BYTES:
                return self._kill(MEMORY)
        return None

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self._kill(TIMEOUT)

    def _kill(self, result: str) -> _Ended:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return self._end(result)

    def _end(self, result: str) -> _Ended:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what its tests may have left behind
        failed = self.scratch / "failed.txt"
        by = failed.read_text(encoding="utf-8") if result == CAUGHT and failed.exists() else ""
        if self.mutant is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
        return _Ended(result, by, time.monotonic() - self.begun)


def _start(module: Module, mutant: Mutant | None, scratch: Path, order: Mapping[str, tuple[int, float]]) -> _Child:
    """Fork a child that runs the module's tests on a mutant, or on the module as it is."""
    sys.stdout.flush()
    begun = time.monotonic()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # the child may have been quicker
            os.setpgid(pid, pid)
        return _Child(mutant, pid, begun, scratch)
    code = 3
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)
        scratch.mkdir(parents=True)
        log = os.open(scratch / "log.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tempfile.tempdir = str(scratch)
        if mutant is not None:
            path = Path(module.path).resolve()
            changed = compile(mutant.tree(module.source), str(path), "exec", dont_inherit=True)
            sys.meta_path.insert(0, _Finder(module.imported_as, path, changed))
        import pytest

        watch = _Watch(order)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        places = [f"--basetemp={scratch / 'tests'}", f"--rootdir={Path.cwd()}"]
        code = int(pytest.main([*options, *places, *module.tests], plugins=[watch]))
        (scratch / "failed.txt").write_text(watch.failed, encoding="utf-8")
        if mutant is None:
            used = os.times()
            seen = {"imported": _installed(), "seconds": watch.seconds, "cpu_s": used.user + used.system}
            (scratch / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _installed() -> list[str]:
    """The modules of the standard library and of installed packages that this process has imported, in order."""
    paths = sysconfig.get_paths()
    homes = tuple(paths[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    files = [(name, getattr(module, "__file__", None)) for name, module in tuple(sys.modules.items())]
    return [name for name, file in files if file and file.startswith(homes) and name != "__main__"]


def _import_all(names: Iterable[str]) -> None:
    """Import what the children will, so that they need not."""
    for name in names:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or every child would go through all of that when it looks for garbage


def run_module(
    module: Module,
    records: Records,
    scratch: Path,
    *,
    number: int | None = NUM_MUTANTS,
    jobs: int = 1,
    deadline: float = float("inf"),
    equivalent: Iterable[str] = (),
) -> Score:
    """Run the module's tests on its mutants.

    Args:
        module: what to change.
        records: what is known, and where results are added.
        scratch: an empty folder.
        number: mutants to try; None = all.
        jobs: children at a time.
        deadline: on the monotonic clock; mutants not begun by then are left.
        equivalent: ids or lines of mutants that no test can notice.

    Raises:
        TestsFail: on the module as it is.
    """
    key = module.key
    sample = module.sample(number, equivalent)
    score = Score(len(sample), len(mutants_of(module.source)) - len(module.sample(None, equivalent)))
    missing = [mutant for mutant in sample if (key, mutant.id) not in records.known]
    if missing and time.monotonic() < deadline:
        _import_all(_as_it_is(module, scratch / "first")["imported"])
        seen = _as_it_is(module, scratch / "second")
        limits = _Limits(MIN_TIMEOUT_S + 4 * seen["cpu_s"], 20 * (MIN_TIMEOUT_S + sum(seen["seconds"].values())))
        _run_missing(module, key, missing, records, scratch, jobs, limits, seen["seconds"], deadline)
    for mutant in sample:
        if (key, mutant.id) in records.known:
            result, seconds = records.known[key, mutant.id]
            score.results[result] += 1
            score.seconds += seconds
            if result == SURVIVED:
                score.survivors.append(mutant)
    return score


def _as_it_is(module: Module, scratch: Path) -> dict[str, Any]:
    """What the tests import and take on the module as it is."""
    child = _start(module, None, scratch, {})
    while (ended := child.ended(_Limits())) is None:
        time.sleep(0.01)
    if ended.result != SURVIVED:
        said = (scratch / "log.txt").read_text(encoding="utf-8", errors="replace")
        raise TestsFail(f"{module.name}: its tests fail without any change:\n{said[-3000:]}")
    found: dict[str, Any] = json.loads((scratch / "seen.json").read_text(encoding="utf-8"))
    return found


def _run_missing(
    module: Module,
    key: str,
    missing: list[Mutant],
    records: Records,
    scratch: Path,
    jobs: int,
    limits: _Limits,
    seconds: Mapping[str, float],
    deadline: float,
) -> None:
    waiting, running = deque(missing), list[_Child]()
    caught_by: Counter[str] = Counter()
    try:
        while running or (waiting and time.monotonic() < deadline):
            while len(running) < jobs and waiting and time.monotonic() < deadline:
                order = {test: (-caught_by[test], took) for test, took in seconds.items()}
                running.append(_start(module, waiting.popleft(), scratch / str(len(waiting)), order))
            for child in tuple(running):
                ended = child.ended(limits)
                if ended is not None and child.mutant is not None:
                    running.remove(child)
                    caught_by[ended.by] += 1
                    records.add(module, key, child.mutant, ended)
            time.sleep(0.005)
    finally:
        for child in running:
            child.stop()


def read_modules(path: Path) -> list[Module]:
    """All modules of a list."""
    with path.open("rb") as file:
        return [Module(row["name"], row["path"], tuple(row["tests"])) for row in tomllib.load(file)["module"]]


def read_equivalent(path: Path) -> dict[str, set[str]]:
    """Ids and lines of equivalent mutants, by module."""
    found: dict[str, set[str]] = {}
    if path.exists():
        with path.open("rb") as file:
            for row in tomllib.load(file).get("equivalent", []):
                found.setdefault(row["module"], set()).add(row.get("id") or row["line"])
    return found


def main() -> int:
    """Run what was asked for; 1 when a module's score is too low or not all mutants could be tried."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", help="names of modules.toml; none = all")
    parser.add_argument("--number", type=int, default=NUM_MUTANTS, help="mutants a module; 0 = all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=MAX_MINUTES)
    parser.add_argument("--records", type=Path, default=Path(".proofs/mutants.jsonl"))
    parser.add_argument("--list", type=Path, default=HERE / "modules.toml", help="modules; equivalent.toml beside it")
    parser.add_argument("--survivors", action="store_true", help="show them")
    options = parser.parse_args()
    modules = [module for module in read_modules(options.list) if not options.modules or module.name in options.modules]
    if unknown := set(options.modules) - {module.name for module in modules}:
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    deadline = time.monotonic() + 60 * options.minutes
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # children and scratch files go with it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    records, equivalent = Records(options.records), read_equivalent(options.list.with_name("equivalent.toml"))
    is_good = True
    print("| module | mutants | caught | score | equivalent | s |\n|---|---|---|---|---|---|")
    total = Score(0, 0)
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        for module in modules:
            try:
                score = run_module(
                    module,
                    records,
                    Path(scratch) / module.name,
                    number=options.number or None,
                    jobs=options.jobs,
                    deadline=deadline,
                    equivalent=equivalent.get(module.name, ()),
                )
            except TestsFail as error:
                is_good = False
                print(f"| {module.name} | its tests fail without any change |", flush=True)
                print(error, file=sys.stderr)
                continue
            is_whole = score.num_run == score.num_mutants
            is_good &= is_whole and score.share >= FLOOR
            _tell(module.name, score, "" if is_whole else f" (of {score.num_mutants}: time is up)")
            for mutant in score.survivors if options.survivors else ():
                print(f"    {module.path}:{mutant.line} {mutant.operator} {mutant.id}")
                print("".join(f"      - {line}\n" for line in mutant.before.splitlines()), end="")
                print("".join(f"      + {line}\n" for line in mutant.after.splitlines()), end="", flush=True)
            total.results += score.results
            total.num_mutants += score.num_mutants
            total.num_equivalent += score.num_equivalent
            total.seconds += score.seconds
    _tell("all", total)
    return 0 if is_good else 1


def _tell(name: str, score: Score, remark: str = "") -> None:
    caught = score.num_run - score.results[SURVIVED]
    print(
        f"| {name} | {score.num_run}{remark} | {caught} | {score.share:.0%} | {score.num_equivalent} "
        f"| {score.seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
