"""One order of versions: which names are one, which is newer, which comes next; and that no other module has one."""

from __future__ import annotations

import ast
import random
import re
from pathlib import Path

import pytest

from counterset.release.versions.order import in_order, is_version, newest, next_version

NUMBER = r"(0\|)?(\[[01]-9\]|\\d)[^.\\\s]*?"
ROOT = Path(__file__).resolve().parents[3]
ORDERED = ["0.0.9", "0.1.0", "0.9.0", "0.10.0", "1.0.0", "1.0.10", "2.0.0", "9.9.9", "9.10.0", "10.0.0", "100.0.0"]


def test_versions_are_in_the_order_of_their_numbers() -> None:
    shuffled = ORDERED[:]
    random.Random(1).shuffle(shuffled)
    assert in_order(["x", *shuffled, ".part"]) == ORDERED
    for last in range(1, len(ORDERED) + 1):
        assert newest(random.Random(last).sample(ORDERED[:last], last)) == ORDERED[last - 1]


@pytest.mark.parametrize(
    "name",
    ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.00.0", "1.0.01", "1.0.x", "1.0.0\n", " 1.0.0",
     "-1.0.0", "1..0", "1.0.1234567890", "١.0.0", "1.١.0", "1.0.1١", ".part-2.0.0", "../1.0.0"],
)  # fmt: skip
def test_other_names_are_no_versions(name: str) -> None:
    assert not is_version(name)
    assert newest([name]) is None
    assert newest([name, "0.0.1", name]) == "0.0.1"
    assert next_version(name, "patch") == "1.0.0"


def test_nine_digits_are_a_number_and_no_names_have_no_newest() -> None:
    assert is_version("0.999999999.0")
    assert newest([]) is None and in_order([]) == []


@pytest.mark.parametrize(
    ("old", "level", "new"),
    [
        (None, "patch", "1.0.0"),
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "minor", "1.3.0"),
        ("3.4.5", "patch", "3.4.6"),
        ("new", "minor", "1.0.0"),
        ("9.9.9", "minor", "9.10.0"),
    ],
)
def test_next_version(old: str | None, level: str, new: str) -> None:
    assert next_version(old, level) == new


def _takes_versions_apart(path: Path) -> bool:
    """Whether a module splits names at dots, has a pattern of three numbers, or sorts what is called a version."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search(rf"{NUMBER}\\\.\(?{NUMBER}\\\.\(?{NUMBER}", node.value):
                return True
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if called in ("split", "rsplit") and any(getattr(value, "value", None) == "." for value in given):
                return True
            if called in ("sorted", "max", "min", "sort") and any(map(_says_version, given)):
                return True
    return False


def _says_version(value: ast.AST) -> bool:
    parts = list(ast.walk(value))
    names = [getattr(part, "id", getattr(part, "attr", getattr(part, "value", ""))) for part in parts]
    return any("version" in name.lower() for name in names if isinstance(name, str))


def test_one_module_takes_versions_apart() -> None:
    modules = [path for room in ("src", "flows") for path in sorted((ROOT / room).rglob("*.py"))]
    found = [path.relative_to(ROOT).as_posix() for path in modules if _takes_versions_apart(path)]
    assert found == ["src/counterset/release/versions/order.py"]
