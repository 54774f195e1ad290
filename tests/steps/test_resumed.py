"""A build stands on one release of its series, however often it is run, killed or has lost its files."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from counterset.config import parse_config
from counterset.demo.world.observations import demo_catalog
from counterset.load import load
from counterset.release.checksums import METADATA, SUMS, render_sums
from counterset.release.publish import writer
from counterset.release.publish.publisher import Turn
from counterset.steps.keys import Build
from counterset.storage import Place
from counterset.tables import sha256_of

from ..s3_server import BUCKET, s3_server
from .whole_build import run

CONFIG = """
name = "bears"
classes = { list = "demo", only = ["ice_bear", "lion"] }
source = { kind = "folder", path = "photos", photos_per_class = 1000 }
models = { annotator = "demo:annotator", selectors = ["demo:selector"] }
annotate.vocabulary = "demo"
evaluate = { label_space = "classes", compare_templates = [] }
select = { min_photos = 2, min_units = 2, num_permutations = 200 }
publish.thumbnails_per_group = 0
"""
FIRST, ALL = 30, 40
"""Photos of each class at the first look and later on."""


class Stopped(BaseException):
    """The build was killed."""


@pytest.fixture(scope="module")
def offered() -> dict[str, bytes]:
    """Path -> content of all photos, those of the first look first."""
    catalog, truth = demo_catalog(ALL, 5)
    whole = [row for row in truth.to_pylist() if row["fault"] is None and row["class_id"] in ("ice_bear", "lion")]
    return {f"{row['class_id']}/{row['photo_id']}.jpg": catalog.original_bytes(row["photo_id"]) for row in whole}


class Home:
    """A folder with photos, a workspace and releases."""

    def __init__(self, folder: Path, offered: dict[str, bytes]) -> None:
        self.folder = folder
        self.offered = offered
        self.at = "releases"
        self.releases = folder / "releases" / "bears"

    def offer(self, share: float) -> None:
        """Put the first photos into the folder, and take the others out."""
        shutil.rmtree(self.folder / "photos", ignore_errors=True)
        for class_id in ("ice_bear", "lion"):
            names = [name for name in self.offered if name.startswith(class_id)]
            for name in names[: round(share * len(names))]:
                path = self.folder / "photos" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.offered[name])

    def build(self, *, refresh: bool = False, **select: Any) -> tuple[Place, bool]:
        settings = tomllib.loads(CONFIG)
        settings |= {"releases": self.at, "select": settings["select"] | select}
        build = Build(parse_config(settings, base=self.folder))
        if refresh:
            build.refresh()
        return run(build)

    def look(self, share: float) -> tuple[Place, bool]:
        """A build of a look at so many photos."""
        self.offer(share)
        return self.build(refresh=True)

    @property
    def made(self) -> dict[str, int]:
        """Every file of the workspace, and when it was written."""
        files = (path for path in (self.folder / "workspace").rglob("*.parquet"))
        return {str(path): path.stat().st_mtime_ns for path in files}

    def nothing_is_made(self) -> None:
        """Another run changes neither the workspace nor the releases."""
        made, sums = self.made, self.sums
        assert self.build() == (max(self.releases.glob("[0-9]*")), False)
        assert (self.made, self.sums) == (made, sums)

    @property
    def sums(self) -> dict[str, str]:
        return {path.parent.name: path.read_text() for path in sorted(self.releases.glob(f"*/{SUMS}"))}


def series_of(release: Place) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((release / METADATA).read_bytes())["series"]
    return said


@pytest.fixture
def home(tmp_path: Path, offered: dict[str, bytes]) -> Home:
    return Home(tmp_path, offered)


@pytest.fixture(scope="module")
def first_look(tmp_path_factory: pytest.TempPathFactory, offered: dict[str, bytes]) -> Path:
    """A folder after its first look."""
    folder = tmp_path_factory.mktemp("first")
    Home(folder, offered).look(0.7)
    return folder


@pytest.fixture
def looked(first_look: Path, tmp_path: Path, offered: dict[str, bytes]) -> Home:
    """A copy of it."""
    return Home(Path(shutil.copytree(first_look, tmp_path, dirs_exist_ok=True)), offered)


def test_each_look_stands_on_the_release_before(home: Home) -> None:
    first, _ = home.look(0.7)
    assert (series_of(first)["look"], series_of(first)["base"]) == (1, None)
    home.nothing_is_made()
    second, _ = home.look(1.0)
    assert series_of(second)["look"] == 2
    assert series_of(second)["base"] == {"version": first.name, "sha256sums": sha256_of(first / SUMS)}
    assert series_of(second)["made_from"] != series_of(first)["made_from"]
    home.nothing_is_made()
    third, _ = home.look(0.7)  # the photos of the first look, after another one
    assert series_of(third)["look"] == 3 and series_of(third)["base"]["version"] == second.name
    assert series_of(third)["made_from"] == series_of(first)["made_from"]
    home.nothing_is_made()


def test_other_limits_on_the_same_photos_are_the_same_look(looked: Home) -> None:
    looked.look(1.0)
    before = looked.made
    again, is_new = looked.build(min_photos=1)
    assert is_new and series_of(again)["look"] == 2 and series_of(again)["base"]["version"] == "1.0.0"
    new = {Path(path).relative_to(looked.folder / "workspace").parts[0] for path in looked.made.keys() - before.keys()}
    assert new == {"pairs", "group_accuracy", "sensitivity"}, "members stand on the same release"


@pytest.mark.parametrize("look", [1, 2])
def test_a_build_killed_around_its_release_goes_on_to_the_undisturbed_bytes(
    look: int, first_look: Path, tmp_path: Path, offered: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = {name: Home(tmp_path / name, offered) for name in ("undisturbed", "before it", "after it")}
    for home in homes.values():
        if look == 2:
            shutil.copytree(first_look, home.folder)
        else:
            home.folder.mkdir()
    undisturbed = homes.pop("undisturbed")
    undisturbed.look(1.0)
    assert len(undisturbed.sums) == look
    commit = Turn.commit
    for name, home in homes.items():
        is_published = name == "after it"

        def killed(turn: Turn, *arguments: Any, is_published: bool = is_published) -> None:
            if is_published:
                commit(turn, *arguments)
            raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr(writer.Turn, "commit", killed)
            with pytest.raises(Stopped):
                home.look(1.0)
        made = home.made
        _, is_new = home.build()
        assert is_new is not is_published
        assert home.made == made, "all files were there"
        assert home.sums == undisturbed.sums


def test_looks_of_releases_on_s3(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.at = f"s3://{BUCKET}/looks"
    with s3_server() as s3:
        for name, value in s3.items():
            monkeypatch.setenv(name, value)
        first, _ = home.look(0.7)
        second, is_new = home.look(1.0)
        base = {"version": first.name, "sha256sums": hashlib.sha256((first / SUMS).read_bytes()).hexdigest()}
        assert is_new and series_of(second)["look"] == 2 and series_of(second)["base"] == base
        made = home.made
        assert home.build() == (second, False)
        assert home.made == made


def test_lost_files_and_a_release_that_was_moved_away_change_no_release(looked: Home) -> None:
    looked.look(1.0)
    sums = looked.sums
    shutil.rmtree(looked.folder / "workspace")
    assert not looked.build()[1]
    assert looked.sums == sums
    (looked.releases / "1.0.0").rename(looked.folder / "moved away")
    assert not looked.build()[1]
    looked.nothing_is_made()


def test_a_release_of_before_series_is_the_first_look(looked: Home) -> None:
    first = looked.releases / "1.0.0"
    metadata = json.loads((first / METADATA).read_text())
    del metadata["series"]
    for name in ("looks.parquet", "replication.parquet"):
        del metadata["files"][name]
        (first / name).unlink()
    (first / METADATA).write_text(json.dumps(metadata))
    digests = {path.name: sha256_of(path) for path in first.iterdir() if path.is_file() and path.name != SUMS}
    digests |= {name: entry["sha256"] for name, entry in metadata["files"].items()}
    (first / SUMS).write_text(render_sums(digests))
    second, is_new = looked.look(1.0)
    assert is_new and series_of(second)["look"] == 2
    assert set(load(second).table("looks")["look"].to_pylist()) == {1, 2}
    halves = [
        dict(zip(*(table[name].to_pylist() for name in ("photo_id", "half")), strict=True))
        for table in (load(first).all_photos, load(second).all_photos)
    ]
    assert halves[0].items() <= halves[1].items()
    looked.nothing_is_made()
