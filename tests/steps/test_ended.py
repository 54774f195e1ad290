"""A build that finds how the same build ended does nothing more; whatever differs, it looks the longer way."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from counterset.config import parse_config
from counterset.release.checksums import METADATA, SUMS
from counterset.release.versions.followed import Followed
from counterset.review import log
from counterset.schemas import CANDIDATES, IMAGES, REJECTS, RejectReason
from counterset.steps import ended
from counterset.steps.ended import ended_key, how_it_ended, keep, warnings_kept
from counterset.steps.keys import Build
from counterset.tables import table_of, write_table

STAGES = ("pairs", "group_accuracy")


class Home:
    """A workspace with one class's crawl, two finished tables and a release that holds them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        build = self.build()
        for spec in build.specs:
            write_table(
                table_of(CANDIDATES, []), CANDIDATES, build.workspace.file("crawl", build.crawl_key, self.name(spec))
            )
            self.reject(build, spec, [])
        write_table(
            table_of(REJECTS, []), REJECTS, build.workspace.file("withdrawn", build.crawl_key, build.snapshot_name)
        )
        for stage in STAGES:
            self.write(stage, b"x")
        self.publish("1.0.0")

    def name(self, spec: object) -> str:
        return self.build().crawl_name(spec)  # type: ignore[arg-type]

    def reject(self, build: Build, spec: object, rows: list[dict[str, object]]) -> None:
        path = build.workspace.file("crawl_rejects", build.crawl_key, self.name(spec))
        write_table(table_of(REJECTS, rows), REJECTS, path)

    def build(self) -> Build:
        settings = {
            "name": "mine",
            "classes": {"list": "demo", "only": ["ice_bear", "lion"]},
            "source": {"contact": "a@example.org"},
            "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
            "evaluate": {"label_space": "classes"},
        }
        return Build(parse_config(settings, base=self.folder, origin="a test"))

    def write(self, stage: str, content: bytes) -> None:
        path = self.build().workspace.file(stage, "0" * 16, "all")
        write_table(table_of(IMAGES, [{"photo_id": "a", "image": content}]), IMAGES, path)

    def publish(self, version: str) -> None:
        folder = self.folder / "releases" / "mine" / version
        folder.mkdir(parents=True)
        (folder / METADATA).write_text(version)
        (folder / SUMS).write_text(version)

    def newest(self, _: object = None) -> Followed | None:
        folder = max((self.folder / "releases" / "mine").glob("[0-9]*"), default=None)
        if folder is None:
            return None
        sums = hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
        return Followed(folder, sums, {}, {METADATA: ""})

    def key(self) -> str:
        build = self.build()
        crawls = [build.ref("crawl", build.crawl_key, build.crawl_name(spec)) for spec in build.specs]
        return ended_key(build, crawls, [], [], {})

    def keep(self) -> None:
        build = self.build()
        tables = {stage: build.ref(stage, "0" * 16, "all") for stage in STAGES}
        keep(
            build,
            self.key(),
            self.folder / "releases" / "mine" / "1.0.0",
            tables=tables,
            num_photos=7,
            num_predictions=14,
            keys={"0" * 16},
            told=["look at the names"],
        )

    def found(self) -> ended.Ended | None:
        return how_it_ended(self.build(), self.key())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path)
    monkeypatch.setattr(ended, "newest_release", made.newest)
    monkeypatch.setattr(Build, "newest_release", property(made.newest))
    return made


def test_it_is_as_it_was_kept(home: Home) -> None:
    assert home.found() is None
    home.keep()
    found = home.found()
    assert found is not None
    assert (found.version, found.num_photos, found.num_predictions) == ("1.0.0", 7, 14)
    assert (found.keys, found.told) == (("0" * 16,), ("look at the names",))
    assert set(found.tables) == set(STAGES)


def removed(path: Path) -> None:
    for inner in sorted(path.rglob("*"), reverse=True):
        inner.unlink()
    path.rmdir()


CHANGES: dict[str, Callable[[Home], object]] = {
    "a table is another": lambda home: home.write("pairs", b"y"),
    "a table is gone": lambda home: home.build().workspace.file("group_accuracy", "0" * 16, "all").unlink(),
    "a table is damaged": lambda home: home.build().workspace.file("pairs", "0" * 16, "all").write_bytes(b"no table"),
    "a file of the release was touched": lambda home: (
        home.folder / "releases" / "mine" / "1.0.0" / METADATA
    ).write_text("1.0.1"),
    "a file of the release is gone": lambda home: (home.folder / "releases" / "mine" / "1.0.0" / METADATA).unlink(),
    "another release is newer": lambda home: home.publish("1.1.0"),
    "the release is gone": lambda home: removed(home.folder / "releases" / "mine" / "1.0.0"),
    "a reviewer has spoken": lambda home: log.append(
        home.build().workspace, [log.Decision(class_id="lion", photo_id="a", answer="none", reviewer="one")]
    ),
    "the crawl turned a photo away": lambda home: home.reject(
        home.build(),
        home.build().specs[0],
        [{"photo_id": "a", "class_id": "lion", "stage": "crawl", "reason": RejectReason.LICENSE, "detail": ""}],
    ),
    "what was kept is cut short": lambda home: ended._path(home.build(), home.key()).write_bytes(b"{"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_nothing_counts_as_done_once_anything_differs(what: str, home: Home) -> None:
    home.keep()
    assert home.found() is not None
    CHANGES[what](home)
    assert home.found() is None


def test_how_a_build_ended_is_not_kept_of_a_release_that_is_not_the_newest(home: Home) -> None:
    home.publish("2.0.0")
    home.keep()
    assert home.found() is None


def test_warnings_of_the_steps_are_kept() -> None:
    logger = logging.getLogger("counterset.steps.a_step")
    with warnings_kept() as told:
        logger.warning("%d names are doubted", 2)
        logger.info("a line")
    logger.warning("after it")
    assert told == ["2 names are doubted"]
