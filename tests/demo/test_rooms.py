"""The demo's rooms, read from the sources themselves: imports run one way, without a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import counterset.demo

HOME = Path(counterset.demo.__file__).parent
MAY_IMPORT = {
    "server": set(),
    "world": {"server.catalog"},
    "training": {"world"},
    "": {"server", "world", "truth_report", "serve", "start"},
}
"""Room -> what it may import of the demo's other rooms; "" stands for the modules beside them, which use the rooms."""


def imported_by(path: Path) -> set[str]:
    """The demo's modules that a file imports, with the last name where it may be a module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("counterset.demo"):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("counterset.demo")}
    return {name.removeprefix("counterset.demo").removeprefix(".") for name in names} & set(MODULES)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {module_of(path): path for path in sorted(HOME.rglob("*.py"))}


def room_of(module: str) -> str:
    return module.split(".")[0] if (HOME / module.split(".")[0]).is_dir() else ""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_rooms_import_one_way(module: str) -> None:
    room = room_of(module)
    for other in imported_by(MODULES[module]) - {""}:
        if room_of(other) != room or not room:
            allowed = MAY_IMPORT[room]
            assert other in allowed or other.split(".")[0] in allowed, f"{module} may not import {other}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module: imported_by(path) - {module, ""} for module, path in MODULES.items()}).prepare()
