"""What stays compatible: the names of `counterset` and what they take. A change here is a line in the changelog."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.resources import files

import pytest

import counterset

PINNED = {  # without quotes, for annotations bear them or not
    "audit": """(release: Release | str | Path, against: str | Path, *, queries: str | Path | None = None,
        threshold: float = 0.95, bands: int = 10, index: str = exact, model: str | None = None,
        id_column: str | None = None, normalise: bool = False, mirrors: Sequence[str] = (), runner: str = threads,
        seed: int = 0, output: str | Path = audits, name: str | None = None) -> Folder""",
    "build": "(config: Config | str | Path, *, refresh: bool = False) -> BuildResult",
    "diff": "(old: Release | str | Path, new: Release | str | Path) -> ReleaseDiff",
    "load": """(name_or_path: str | Path, version: str | None = None, *, verdicts: Sequence[str] | None = None,
        naming: Sequence[str] | None = None,
        verify: bool = True, cache: str | Path | None = None, mirrors: Sequence[str] = (),
        allowed_hosts: Sequence[str] = (), accept_changed: bool = False,
        max_bytes: int = 100000000000) -> Release""",
    "evaluate": """(release: Release | str | Path, models: Sequence[str] = (), *, predict: Predict | None = None,
        name: str = , version: str = , label_space: str = , templates: str = paper, half: str = , scale: str = logit,
        output: str | Path = evaluations, selector: str = , seed: int = 0, batch_size: int = 64, shard_size: int = 512,
        parallel: int = 8, price: Price | None = None, progress: Say | None = None) -> Evaluation""",
    "intervene": """(release: Release | str | Path, models: Sequence[str], *, animals: str | Path | Segmenter,
        label_space: str = , templates: str = paper, half: str = , output: str | Path = evaluations, save: int = 0,
        seed: int = 0, batch_size: int = 64, shard_size: int = 512, progress: Say | None = None) -> Interventions""",
    "verdict": """(table: pa.Table | str | Path, *, layout: str = generic, columns: Mapping[str, str] | None = None,
        where: tuple[str, str] | None = None, predictions: pa.Table | str | Path | None = None,
        slices: pa.Table | str | Path | Propose | None = None, min_rows: int = 10, min_units: int = 3,
        num_permutations: int = 20000, seed: int = 0) -> GroupedVerdict""",
}

RELEASE = """all_photos attribution captions changed_photos class_names common counter export fetch group_names groups
labels name named pairs parts photo photos predictions rejects table to_hf to_polars to_torch tombstones version"""


def test_the_names_are_these() -> None:
    assert counterset.__all__ == [
        "Release",
        "__version__",
        "audit",
        "build",
        "diff",
        "errors",
        "evaluate",
        "intervene",
        "load",
        "verdict",
    ]
    assert {*counterset.__all__} <= {*dir(counterset)}
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = counterset.nothing


@pytest.mark.parametrize("name", PINNED)
def test_what_they_take(name: str) -> None:
    found = str(inspect.signature(getattr(counterset, name))).replace("'", "").replace('"', "")
    assert found == " ".join(PINNED[name].split())


def test_what_a_release_offers() -> None:
    assert sorted(name for name in vars(counterset.Release) if not name.startswith("_")) == RELEASE.split()


def test_each_is_described() -> None:
    for name in PINNED:
        assert "Args:" in inspect.getdoc(getattr(counterset, name))


def test_both_packages_say_that_they_are_typed() -> None:
    for package in ("counterset", "counterset_flows"):
        assert files(package).joinpath("py.typed").is_file()


def test_the_version_is_told() -> None:
    command = [sys.executable, "-m", "counterset.cli", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told == f"counterset {counterset.__version__}\n"
