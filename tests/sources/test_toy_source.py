"""A package from outside adds a source in one file, which builds, resumes, and is in keys, releases and pages."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterset.config import parse_config
from counterset.config_sections import SOURCES
from counterset.errors import ConfigError
from counterset.load import load
from counterset.registry import Registry
from counterset.schemas import REJECTS
from counterset.steps import table_steps
from counterset.steps.keys import Build
from counterset.tables import table_of

from ..steps.test_keys import changed, keys_of
from ..steps.whole_build import run
from ..toy_packages import add_package

PAGE = Path(__file__).resolve().parents[2] / "docs/sources.md"
(MUSEUM,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
"""The page's own code, with what a test wants to see of it."""
WATCHED = """

class WatchedConfig(MuseumConfig):
    __doc__ = MuseumConfig.__doc__
    patience_s: Annotated[float, marks.TIRELESS] = 1.0
    seal: str = ""  # nobody thought of marking it


class Watched(Museum):
    settings = WatchedConfig

    def check(self, specs):
        super().check(specs)
        self.note("check")

    def crawl(self, spec):
        self.note(spec.class_id)
        return super().crawl(spec)

    def note(self, what):
        with (Path(self.config.catalogue).parent / "asked.txt").open("a") as file:
            file.write(what + "\\n")
"""
CONFIG = """
name = "museum"
classes.list = "demo"
classes.only = ["ice_bear", "lion"]
annotate.vocabulary = "demo"
evaluate = { label_space = "classes", compare_templates = [] }
curate.near_duplicate_bits = -1
publish.thumbnails_per_group = 0
models = { annotator = "demo:annotator", selectors = ["demo:selector"] }
[source]
kind = "museum"
catalogue = "museum/catalogue.json"
"""


def install(site: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """As pip would: what Python finds, and what the registry then reads of it."""
    entry_points = {SOURCES.group: {"museum": "Watched"}}
    add_package(site, "museum", code=MUSEUM + WATCHED, entry_points=entry_points, version=version)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "museum", raising=False)
    anew = Registry(SOURCES.group, SOURCES.package, SOURCES.attribute, SOURCES.what)
    monkeypatch.setitem(SOURCES.__dict__, "_entry_points", anew._entry_points)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a catalogue of 24 photos and one that is not there; the package is installed beside it."""
    install(tmp_path / "site", monkeypatch, "3.1")
    generator = np.random.default_rng(0)
    (tmp_path / "museum").mkdir()
    catalogue: dict[str, dict[str, str]] = {"ice_bear": {"99": "none.png"}, "lion": {}}
    for number in range(24):
        name = f"{number}.png"
        Image.fromarray(generator.integers(0, 256, (120, 120, 3), np.uint8)).save(tmp_path / "museum" / name)
        catalogue["ice_bear" if number % 2 else "lion"][str(number)] = name
    (tmp_path / "museum" / "catalogue.json").write_text(json.dumps(catalogue))
    return tmp_path


def build_of(folder: Path, **source: Any) -> Build:
    settings = tomllib.loads(CONFIG)
    settings["source"] |= source
    return Build(parse_config(settings, base=folder))


def test_a_source_from_outside_builds_a_release_and_resumes(folder: Path) -> None:
    release, is_new = run(build_of(folder))
    loaded = load(release)
    assert is_new and loaded.all_photos.num_rows == 24
    assert set(loaded.all_photos["source"].to_pylist()) == {"museum"}
    pages = dict(zip(*(loaded.attribution[name].to_pylist() for name in ("photo_id", "page_url")), strict=True))
    assert pages["museum-7"] == "https://museum.example/photos/7"
    reject = {name: values[0] for name, values in loaded.rejects.to_pydict().items()}
    assert (reject["photo_id"], reject["reason"], reject["detail"]) == ("museum-99", "url_refused", "is on loan")
    stated = loaded.metadata["config"]["source"]
    assert stated["kind"] == "museum" and stated["seal"] == "" and "api_url" not in stated
    assert stated["catalogue"].startswith("catalogue.json@") and str(folder) not in json.dumps(loaded.metadata)

    asked = (folder / "museum" / "asked.txt").read_text().split()
    assert asked == ["check", "ice_bear", "lion"]
    before = {path: path.stat().st_mtime_ns for path in (folder / "workspace").rglob("*.parquet")}
    assert run(build_of(folder)) == (release, False)
    assert (folder / "museum" / "asked.txt").read_text().split() == asked
    assert {path: path.stat().st_mtime_ns for path in (folder / "workspace").rglob("*.parquet")} == before


OFFERED = {"requests", "crawl", "members", "backgrounds", "predictions", "pairs", "names"}


def test_its_settings_inputs_and_version_are_in_the_keys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_steps, "of_several_classes", lambda _: table_of(REJECTS, []))  # nothing is crawled
    before = keys_of(build_of(folder))
    assert changed(before, keys_of(build_of(folder, is_on_show=True))) == OFFERED
    assert changed(before, keys_of(build_of(folder, patience_s=9.0))) == set()
    assert changed(before, keys_of(build_of(folder, seal="wax"))) == {*OFFERED, "pool", "photos", "features"}
    catalogue = folder / "museum" / "catalogue.json"
    text = catalogue.read_text()
    catalogue.write_text(text + " ")
    assert changed(before, keys_of(build_of(folder))) == OFFERED
    catalogue.write_text(text)
    install(folder / "newer", monkeypatch, "3.2")
    assert changed(before, keys_of(build_of(folder))) == OFFERED


def test_its_keys_are_told_as_ours_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"'source\.path' is no key of source\.kind = 'museum' but of 'folder' and"):
        build_of(folder, path="photos")
    with pytest.raises(ConfigError, match=r"unknown key 'source\.catalog'; did you mean 'catalogue'\?"):
        build_of(folder, catalog="photos")
    with pytest.raises(ConfigError, match=r"'source\.seal' is no key of source\.kind = 'folder' but of 'museum'"):
        parse_config(tomllib.loads(CONFIG) | {"source": {"kind": "folder", "seal": "wax"}}, base=folder)
    with pytest.raises(ConfigError, match=r"unknown source\.kind 'musem'; did you mean 'museum'\?"):
        build_of(folder, kind="musem")


def test_the_reference_shows_it(folder: Path) -> None:
    path = Path(__file__).resolve().parents[2] / "docs/reference.py"
    spec = importlib.util.spec_from_file_location("docs_reference_of_museum", path)
    assert spec and spec.loader
    reference = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = reference
    spec.loader.exec_module(reference)
    page = reference.config_page()
    assert "| `museum` | A museum's catalogue: a JSON file of numbers and files by class. | [`catalogue`]" in page
    assert "### `source.is_on_show`\n\nWhether only photos of the halls are offered, and none of the cellar.\n" in page
    assert "\n- Only for kinds: `museum`\n" in page
