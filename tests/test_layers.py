"""Who may import whom, read from the sources themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "flows").rglob("*.py"))

FOUNDATION = {
    "schemas",
    "spreadsheet",
    "config",
    "config_sections",
    "content",
    "deprecation",
    "digests",
    "errors",
    "fetching",
    "pictures",
    "picture_files",
    "stamps",
    "storage",
    "tables",
    "manifests",
    "marks",
    "naming",
    "outputs",
    "parquet_sql",
    "photo_rows",
    "registry",
    "runners",
    "classes",
    "csv_rows",
    "backgrounds",
    "places",
    "build_records",
    "lease",
    "machine",
    "licenses",
    "version",
    "wide_rows",
    "workspace",
    "workspace_files",
    "workspace_photos",
}
MAY_IMPORT = {
    "foundation": {"foundation"},
    "statistics": {"foundation", "statistics"},
    "causes": {"foundation", "statistics", "causes"},
    "models": {"foundation", "models"},
    "download": {"foundation", "download"},
    "stages": {"stages", "foundation", "statistics", "similarity"},
    "sources": {"foundation", "sources"},
    "review": {"foundation", "statistics", "load", "review"},
    "release": {"foundation", "causes", "release", "statistics"},
    "load": {"foundation", "release"},
    "similarity": {"foundation", "statistics", "release", "load", "similarity"},
    "evaluation": {"foundation", "causes", "statistics", "models", "stages", "release", "load", "evaluation"},
    "demo": {"foundation", "demo"},
    "verdicts": {"foundation", "statistics", "stages", "verdicts"},
    "steps": {
        "foundation",
        "statistics",
        "causes",
        "models",
        "download",
        "stages",
        "sources",
        "review",
        "release",
        "load",
        "similarity",
        "steps",
    },
    "flows": {
        "foundation",
        "flows",
        "load",
        "similarity",
        "demo",
        "steps",
    },
    "api": {"foundation", "release", "load", "similarity", "steps", "flows"},
    "cli": {
        "api",
        "causes",
        "review",
        "foundation",
        "statistics",
        "models",
        "stages",
        "sources",
        "release",
        "flows",
        "load",
        "similarity",
        "evaluation",
        "verdicts",
        "demo",
        "steps",
        "cli",
    },
}
"""Layer -> the layers it may import."""

EFFECTS = {"os", "shutil", "subprocess", "tempfile", "socket", "urllib", "httpx", "fcntl", "filelock"}
EFFECTS |= {"counterset.lease", "counterset.fetching"}
"""What no stage imports: it is a pure function of tables."""


def layer_of(module: str) -> str | None:
    if module.startswith("counterset_flows"):
        return "flows"
    if not module.startswith("counterset"):
        return None
    first = [*module.split("."), ""][1]
    return "foundation" if first in FOUNDATION or not first else first


def module_name(path: Path) -> str:
    base = ROOT / ("src" if path.is_relative_to(ROOT / "src") else "flows")
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_run_one_way(path: Path) -> None:
    module = module_name(path)
    layer = layer_of(module)
    if module == "counterset":
        return  # the package's front door names what it exports
    assert layer in MAY_IMPORT, f"{module} belongs to no layer; give it one here and in docs/design.md"
    for imported in imports_of(path):
        other = layer_of(imported)
        if other is not None:
            assert other in MAY_IMPORT[layer], f"{module} ({layer}) may not import {imported} ({other})"


def test_every_permission_is_used() -> None:
    used = {
        (layer_of(module_name(path)), layer_of(imported))
        for path in SOURCES
        if module_name(path) != "counterset"
        for imported in imports_of(path)
    }
    unused = [(layer, other) for layer, others in MAY_IMPORT.items() for other in others if (layer, other) not in used]
    assert not unused, f"take these permissions away: {unused}"


def test_no_modules_import_each_other() -> None:
    """Imports inside functions and for type checkers count too."""
    files = {module_name(path): path for path in SOURCES}
    arrows = {
        module: {
            imported
            for name in imports_of(path)
            # `from package import module` imports the module; any other name is the package's own.
            if (imported := name if name in files else name.rpartition(".")[0]) in files and imported != module
        }
        for module, path in files.items()
    }
    try:
        list(TopologicalSorter(arrows).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {error.args[1]}; move what both need to a module of its own")


def test_no_stage_touches_the_world() -> None:
    for path in (ROOT / "src/counterset/stages").rglob("*.py"):
        touched = {name for name in imports_of(path) for effect in EFFECTS if f"{name}.".startswith(f"{effect}.")}
        assert not touched, f"the stage {module_name(path)} imports {touched}; let a step do it"


def test_no_stage_imports_another() -> None:
    stages = ROOT / "src/counterset/stages"
    for path in stages.rglob("*.py"):
        own = path.relative_to(stages).parts[0].removesuffix(".py")
        others = {name.split(".")[2] for name in imports_of(path) if name.startswith("counterset.stages.")}
        assert others <= {own}, f"{path.name} imports the stages {others}"


def test_only_flows_import_prefect() -> None:
    for path in SOURCES:
        if any(name.split(".")[0] == "prefect" for name in imports_of(path)):
            assert path.is_relative_to(ROOT / "flows"), f"{path} imports prefect"


def test_files_are_short() -> None:
    long = {module_name(path): count for path in SOURCES if (count := len(path.read_text().splitlines())) > 400}
    assert not long, f"over 400 lines, likely two things: {long}"
