"""Things by name: ours by file, others' by entry point; nothing is imported before it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from counterset.errors import ConfigError, ExtensionError
from counterset.registry import Registry

from .toy_packages import add_package

GROUP = "counterset.shapes"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, with the package `shapes` of two things."""
    package = tmp_path / "shapes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "square.py").write_text("shape = 'four corners'\n")
    (package / "circle.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("shapes", "shapes.square", "outside", "other"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


def shapes() -> Registry:
    return Registry(GROUP, "shapes", "shape", "shape")


def test_a_file_is_a_thing_and_is_imported_when_asked_for(site: Path) -> None:
    assert list(shapes()) == ["circle", "square"]
    assert "shapes.square" not in sys.modules
    assert shapes()["square"] == "four corners"
    with pytest.raises(RuntimeError, match="imported"):  # ours must not break; that it does is told as it is
        shapes()["circle"]


def test_a_package_from_outside_adds_one(site: Path) -> None:
    add_package(site, "outside", code="made = 'three corners'\n", entry_points={GROUP: {"triangle": "made"}})
    found = shapes()
    assert list(found) == ["circle", "square", "triangle"]
    assert len(found) == 3
    assert "outside" not in sys.modules
    assert found["triangle"] == "three corners"
    assert found.version("triangle") == ["outside", "1.0"]
    assert found.version("square") == []


def test_an_unknown_name_is_answered_with_the_nearest(site: Path) -> None:
    with pytest.raises(ConfigError) as told:
        shapes()["sqare"]
    assert str(told.value) == "unknown shape 'sqare'; did you mean 'square'? The choices are circle, square"
    with pytest.raises(ConfigError, match=r"unknown shape 'xyz'; use one of circle, square$"):
        shapes().check("xyz")


def test_a_package_that_cannot_be_imported_is_named(site: Path) -> None:
    add_package(site, "outside", code="import nothing_of_that_name\n", entry_points={GROUP: {"triangle": "made"}})
    with pytest.raises(ExtensionError, match=r"shape 'triangle' of outside 1\.0 cannot be loaded .*nothing_of_that"):
        shapes()["triangle"]


def test_a_name_has_one_owner(site: Path) -> None:
    add_package(site, "outside", code="made = 1\n", entry_points={GROUP: {"square": "made", "star": "made"}})
    add_package(site, "other", code="made = 2\n", entry_points={GROUP: {"star": "made"}})
    with pytest.raises(ExtensionError, match=r"'square' comes from outside 1\.0 and counterset; uninstall all but one"):
        shapes()["square"]
    with pytest.raises(ExtensionError, match=r"'star' comes from o.* 1\.0 and o.* 1\.0"):
        shapes().check("star")


def test_a_summary_is_read_without_importing(site: Path) -> None:
    (site / "shapes" / "circle.py").write_text('"""No corners.\n\nMore."""\nraise RuntimeError("imported")\n')
    add_package(site, "outside", code="1 / 0", entry_points={GROUP: {"star": "x"}}, version="2.0")
    assert {name: shapes().summary(name) for name in shapes()} == {
        "circle": "No corners.",
        "square": "",
        "star": "of outside 2.0",
    }
