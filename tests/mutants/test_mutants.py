"""The mutation run: what it changes, what it leaves, how it ends and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .operators import mutants_of

CHECKOUT = Path(__file__).resolve().parents[2]

TOY = '''
def spend(purse, price):
    """What is left, nothing below 0."""
    left = purse
    while left >= price and price > 0:
        left -= price
    return left
'''
TOY_TESTS = """
from toy import spend

def test_it_spends():
    assert spend(7, 3) == 1
"""
TOY_LIST = """
[[module]]
name = "toy"
path = "src/toy.py"
tests = ["checks/test_toy.py"]
"""


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in mutants_of(source)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return a < b", "return a <= b"),
        ("return a < b", "return a >= b"),
        ("return x is None", "return x is not None"),
        ("return a and (not b)", "return a or not b"),
        ("return a and (not b)", "return a"),
        ("return a - 1", "return a + 1"),
        ("return a - 1", "return a - 2"),
        ("return f(a, key=1)", "return f(a)"),
        ("return f(a, key=1)", "return None"),
        ("return min(a, b)", "return max(a, b)"),
        ("return sorted(a)", "return list(a)"),
        ("return name.lower()", "return name"),
        ("return [x for x in a if x]", "return [x for x in a if True]"),
        ("return ('a', 'b')", "return ('b',)"),
        ("return {'a': 1, 'b': 2}", "return {'a': 1}"),
        ("x = f(x)", "pass"),
        ("found.add(x)", "pass"),
        ("return 'SELECT a FROM b WHERE c >= 1 ORDER BY d'", "return 'SELECT a FROM b WHERE c > 1 ORDER BY d'"),
        ("return f'SELECT max(a) FROM {b}'", "return f'SELECT min(a) FROM {b}'"),
        ("return re.compile('^a+$')", "return re.compile('a+$')"),
        ("return re.compile('^a+$')", "return re.compile('^a+')"),
        ("return re.search('(a|b|c)', x)", "return re.search('(a|c)', x)"),
        ("return re.fullmatch('a', x)", "return re.match('a', x)"),
    ],
)
def test_meaningful_changes(before: str, after: str) -> None:
    assert (before, after) in changes(f"def f(a, b, c, x, found, name):\n    {before}\n")


@pytest.mark.parametrize(
    "left_alone",
    [
        "'''A docstring of 1 line.'''",
        "from a import b",
        "logger.info('%d of %d', len(a), 1 + 1)",
        "raise ValueError(f'{a + 1} is not below {b}')",
        "count: dict[str, 1 | 2]",
        "__all__ = ['a', 'b']",
    ],
)
def test_what_only_people_read_is_left_alone(left_alone: str) -> None:
    assert not changes(left_alone)


def test_ids_do_not_change_with_other_lines() -> None:
    """Or a sample would be another one after every commit."""
    before = mutants_of("def f(a):\n    return a + 1\n")
    after = {mutant.id for mutant in mutants_of("B = 3\n\n\ndef f(a):\n    return a + 1\n")}
    assert {mutant.id for mutant in before} < after
    assert len(after) == len(mutants_of("B = 3\n\n\ndef f(a):\n    return a + 1\n"))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The run, with short time-outs."""
    code = "import sys; from tests.mutants import run; run.MIN_TIMEOUT_S = 0.5; sys.exit(run.main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), "src", os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    for name, text in (("src/toy.py", TOY), ("checks/test_toy.py", TOY_TESTS), ("list.toml", TOY_LIST)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    options = ("--list", "list.toml", "--records", "records.jsonl", "--number", "0")

    out_of_time = run(tmp_path, *options, "--minutes", "0")
    assert out_of_time.returncode == 1, out_of_time.stderr
    assert "time is up" in out_of_time.stdout

    whole = run(tmp_path, *options, "--survivors")
    rows = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    results = {(row["before"], row["after"]): row["result"] for row in rows}
    assert results["left -= price", "left += price"] == "timeout"
    assert results["return left", "return None"] == "caught"
    assert ("while left >= price and price > 0:", "while left > price and price > 0:") in results
    survivors = [change for change, result in results.items() if result == "survived"]
    assert ("while left >= price and price > 0:", "while left >= price and price >= 0:") in survivors
    assert f"| toy | {len(rows)} | {len(rows) - len(survivors)} |" in whole.stdout
    assert whole.returncode == (len(survivors) / len(rows) > 0.1)
    assert "+ while left >= price and price >= 0:" in whole.stdout

    lines = (tmp_path / "records.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "records.jsonl").write_text("".join(lines[:-2]) + lines[-2][:20] + "\n")
    again = run(tmp_path, *options)
    assert again.stdout.splitlines()[2].split("|")[:5] == whole.stdout.splitlines()[2].split("|")[:5]
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == len(lines) + 1

    equivalent = [row for row in rows if row["result"] == "survived"]
    entries = (f'[[equivalent]]\nmodule = "toy"\nid = "{row["id"]}"\nreason = "so it is"\n' for row in equivalent)
    (tmp_path / "equivalent.toml").write_text("".join(entries))
    assert run(tmp_path, *options).returncode == 0

    (tmp_path / "checks" / "test_toy.py").write_text(TOY_TESTS.replace("== 1", "== 2"))
    broken = run(tmp_path, *options)
    assert broken.returncode == 1
    assert "its tests fail without any change" in broken.stderr


def test_a_few_mutants_of_a_real_module(tmp_path: Path) -> None:
    done = run(CHECKOUT, "intervals", "--number", "3", "--records", str(tmp_path / "records.jsonl"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| intervals | 3 |" in done.stdout


def test_every_module_and_its_tests_are_there() -> None:
    from .run import HERE, read_equivalent, read_modules

    modules = read_modules(HERE / "modules.toml")
    for module in modules:
        assert all((CHECKOUT / path).exists() for path in (module.path, *module.tests)), module
    assert set(read_equivalent(HERE / "equivalent.toml")) <= {module.name for module in modules}
