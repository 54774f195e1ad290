"""Each setting and input changes the keys of the stages that depend on it, and of no others."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file

from counterset import backgrounds, workspace
from counterset.config import Config, parse_config
from counterset.config_sections import SOURCES
from counterset.content import STAGES, NotContent, content, marks_of
from counterset.models.open_clip_encoder import DEMO_WEIGHTS
from counterset.release.versions.followed import Followed
from counterset.review.schemas import DECISIONS
from counterset.schemas import REJECTS
from counterset.statistics.series import begin
from counterset.steps import keys as context
from counterset.steps import naming_steps, table_steps
from counterset.steps.ended import ended_key
from counterset.steps.keys import READS, REVISIONS, Build
from counterset.steps.series import Basis
from counterset.tables import TableRef, table_of
from counterset.workspace import digest

from .key_changes import ALL, INPUTS, SETTINGS, TABLES, table

PAGE = Path(__file__).resolve().parents[2] / "docs/keys.md"
CLASSES = """class_id,name,imagenet_index,taxon_ids,scientific_name,rank
fox,red fox,277,42069,Vulpes vulpes,species
lion,lion,291,41964,Panthera leo,species
"""
VOCABULARY = "background,phrases,excludes\ngrass,on grass,\nsnow,on snow|in the snow,\n"

NO_WORDS = table_of(DECISIONS, [])
SAID = dict(
    decision_id="1", class_id="fox", photo_id="a", mode="audit", answer="none", reviewer="one", origin="csv"
)  # fmt: skip

Settings = dict[str, Any]
Stages = dict[str, list[str]]


class Source:
    """A folder with all that a config names, and that config."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (("classes.csv", CLASSES), ("copy.csv", CLASSES), ("vocabulary.csv", VOCABULARY)):
            (folder / name).write_text(text)
        (folder / "vocabulary-copy.csv").write_text(VOCABULARY)
        (folder / "animals.csv").write_text("photo_id,x,y,width,height\n")
        (folder / "labels.txt").write_text("red fox\nlion\ntiger\n")
        (folder / "list.csv").write_text("url,class\nhttps://photos.example/1.jpg,fox\n")
        for class_id in ("fox", "lion"):
            (folder / "photos" / class_id).mkdir(parents=True)
            (folder / "photos" / class_id / "1.jpg").write_bytes(class_id.encode())
        shutil.copytree(DEMO_WEIGHTS / "selector", folder / "selector")
        (folder / "selector/tokenizer.json").write_text("{}")
        self.settings: Settings = {
            "name": "keys",
            "classes": {"list": "classes.csv"},
            "source": {"contact": "a@example.org"},
            "models": {"annotator": "demo:annotator", "selectors": ["local-dir:selector"]},
            "annotate": {"vocabulary": "vocabulary.csv"},
            "evaluate": {"label_space": "labels.txt", "compare_templates": []},
        }

    def change(self, section: str, **values: Any) -> None:
        self.settings[section] = self.settings.get(section, {}) | values

    def rewrite(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def keys(self) -> Stages:
        return keys_of(Build(parse_config(self.settings, base=self.folder, origin="a test")))


def keys_of(build: Build, basis: Basis = Basis()) -> Stages:  # noqa: B008
    """Stage -> the keys of all its files. A file's digest stands for its stage, key and name: what is made anew
    upstream is taken to come out changed."""

    def ref(stage: str, key: str, name: str) -> TableRef:
        return TableRef(f"/{key}/{name}", digest(stage, key, name), 1, 1)

    build.ref = ref  # type: ignore[method-assign]
    crawls = [ref("crawl", build.crawl_key, build.crawl_name(spec)) for spec in build.specs]
    photos = [ref("photos", build.photos_key, "s")]
    embedded = {model: [ref("embeddings", build.embed_key(model), "s")] for model in build.model_names}
    annotator = build.config.models.annotator
    members = ref("members", table_steps.members_key(build, crawls, photos, embedded[annotator], basis), "all")
    annotated = ref("backgrounds", table_steps.backgrounds_key(build, members), "all")
    made = {item: table_steps.predictions_key(build, members, *item) for item in build.evaluations}
    usual = build.config.evaluate.templates
    predicted = [ref("predictions", key, "all") for (_, templates), key in made.items() if templates == usual]
    others: dict[str, list[TableRef]] = {}
    for (_, templates), key in made.items():
        if templates != usual:
            others.setdefault(templates, []).append(ref("predictions", key, "all"))
    stability = ref("stability", table_steps.backgrounds_key(build, members), "all")
    pairs = ref(
        "pairs", table_steps.pairs_key(build, [members, annotated, stability, *predicted], others, begin()), "all"
    )
    return {
        "requests": [build.requests_key],
        "crawl": sorted(f"{build.crawl_key}/{build.crawl_name(spec)}" for spec in build.specs),
        "pool": [build.pool_key],
        "photos": [build.photos_key],
        "features": sorted(map(build.embed_key, build.model_names)),
        "members": [table_steps.members_key(build, crawls, photos, embedded[annotator], basis)],
        "backgrounds": [table_steps.backgrounds_key(build, members)],
        "predictions": sorted(made.values()),
        "pairs": [table_steps.pairs_key(build, [members, annotated, stability, *predicted], others, begin())],
        "names": [naming_steps.names_key(build, [members, annotated, pairs, *predicted], NO_WORDS)],
        "ended": [ended_key(build, crawls, ["s"], photos, embedded)],
    }


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(table_steps, "of_several_classes", lambda _: table_of(REJECTS, []))  # nothing is crawled
    return Source(tmp_path)


def changed(before: Stages, after: Stages, *, is_told_elsewhere: bool = False) -> set[str]:
    """The stages with other keys. Where there is any, a build may not take its end for known either, unless what
    changed is a release or a label, by which `how_it_ended` tells that itself."""
    stages = {stage for stage in ALL if before[stage] != after[stage]}
    assert not stages or is_told_elsewhere or before["ended"] != after["ended"], stages
    return stages


def test_every_setting_has_an_entry() -> None:
    names: set[str] = set()
    for name, field in Config.model_fields.items():
        kind = field.annotation
        is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
        names |= {f"{name}.{inner}" for inner in kind.model_fields} if is_section else {name}  # type: ignore[union-attr]
    names |= {f"source.{name}" for kind in SOURCES.own for name in SOURCES[kind].settings.model_fields}
    assert names == SETTINGS.keys(), "say in key_changes.py what a new setting makes anew"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_what_depends_on_it(name: str, source: Source) -> None:
    value, stages = SETTINGS[name]
    section, _, key = name.rpartition(".")
    if name == "source.license":
        files_of(source, "folder", "photos")
    elif name == "source.match":
        files_of(source, "url_list", "list.csv")
    elif section == "source" and key not in SOURCES["inaturalist"].settings.model_fields:
        source.change("source", kind="open_data")
    before = source.keys()
    if section:
        source.change(section, **{key: value})
    else:
        source.settings[name] = value
    assert changed(before, source.keys()) == set(stages)


def files_of(source: Source, kind: str, path: str) -> None:
    source.change("source", kind=kind, path=path, allowed_hosts=["photos.example"])


def moved(source: Source) -> None:
    shutil.move(source.folder / "selector", source.folder / "elsewhere")
    source.change("models", selectors=["local-dir:elsewhere"])


def config_of_model(source: Source, section: str, **values: Any) -> None:
    path = source.folder / "selector/open_clip_config.json"
    config = json.loads(path.read_text())
    part = config["preprocess_cfg"] if section == "preprocess" else config["model_cfg"]
    part.update(values)
    path.write_text(json.dumps(config))


def new_weights(source: Source) -> None:
    path = source.folder / "selector/open_clip_model.safetensors"
    tensors = load_file(path)
    tensors["logit_scale"] = tensors["logit_scale"] + 1
    save_file(tensors, path)


def moved_labels(source: Source) -> None:
    shutil.copy(source.folder / "labels.txt", source.folder / "other.txt")
    source.change("evaluate", label_space="other.txt")


def sorted_classes(source: Source) -> None:
    lines = CLASSES.splitlines(keepends=True)
    (source.folder / "classes.csv").write_text("".join([lines[0], lines[2], lines[1]]))


def written_again(source: Source, name: str) -> None:
    path = source.folder / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (1, 1))


CHANGES: dict[str, Callable[[Source], object]] = {
    "a class's name": lambda source: (
        source.rewrite("classes.csv", "red fox", "the fox"),
        source.rewrite("labels.txt", "red fox", "the fox"),
    ),
    "a class's ImageNet index": lambda source: source.rewrite("classes.csv", ",277,", ",278,"),
    "a class's taxon": lambda source: source.rewrite("classes.csv", "42069", "42068"),
    "a class's row is moved": sorted_classes,
    "a phrase of the vocabulary": lambda source: source.rewrite("vocabulary.csv", "on grass", "in grass"),
    "where an animal is, for a method that looks past it": lambda source: (source.folder / "animals.csv").write_text(
        "photo_id,x,y,width,height\nfolder-1,0.1,0.2,0.5,0.5\n"
    ),
    "a label of the label space": lambda source: source.rewrite("labels.txt", "tiger", "bear"),
    "the label space's file is moved": moved_labels,
    "the selector's weights": new_weights,
    "the selector's preprocessing": lambda source: config_of_model(source, "preprocess", mean=[0.1, 0.9, 0.1]),
    "the selector's architecture": lambda source: config_of_model(source, "model", quick_gelu=True),
    "the selector's tokenizer": lambda source: (source.folder / "selector/tokenizer.json").write_text("[]"),
    "the selector's training data": lambda source: (source.folder / "selector/recipe.json").write_text(
        '{"pretraining_data": ["another"]}'
    ),
    "the selector's folder is moved": moved,
    "a photo of a folder source": lambda source: (source.folder / "photos/fox/1.jpg").write_bytes(b"fux"),
    "the time of a folder source's photo": lambda source: written_again(source, "photos/fox/1.jpg"),
    "a row of a list source": lambda source: source.rewrite("list.csv", "1.jpg", "2.jpg"),
    "the time of a list source's file": lambda source: written_again(source, "list.csv"),
    "a phrase by which captions of a list source say a class": lambda source: (source.folder / "match.csv").write_text(
        "class_id,phrases\nfox,a fox\n"
    ),
    "the number of threads": lambda _: torch.set_num_threads(3),
}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_changes_what_depends_on_it(name: str, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    if "folder source" in name:
        files_of(source, "folder", "photos")
    if "looks past" in name:
        source.change("annotate", method="surroundings", animals="animals.csv")
    if "list source" in name:
        files_of(source, "url_list", "list.csv")
    if name.startswith("a phrase by which"):
        source.change("source", match="match.csv")
    if name == "a class's ImageNet index":
        source.change("evaluate", label_space="imagenet1k")
    before = source.keys()
    if name.startswith("the version of "):
        package = name.removeprefix("the version of ")
        known = workspace.version_of
        monkeypatch.setattr(workspace, "version_of", lambda asked: "0.0" if asked == package else known(asked))
    elif name == "a packaged background prompt":
        templates = backgrounds.load_templates()
        other = backgrounds.Templates((*templates.place, "{phrase}"), templates.scene, templates.animal)
        monkeypatch.setattr("counterset.steps.keys.load_templates", lambda _: other)
    elif name == "the stability table":
        build = Build(parse_config(source.settings, base=source.folder, origin="a test"))
        one, other_ref = (TableRef("", sha256, 1, 1) for sha256 in ("a", "b"))
        assert table_steps.pairs_key(build, [one, one], {}, begin()) != table_steps.pairs_key(
            build, [one, other_ref], {}, begin()
        )
        return
    elif name.endswith("in the release before"):
        build = Build(parse_config(source.settings, base=source.folder, origin="a test"))
        one = keys_of(build, released())
        other = {"a half": {"half": "confirm"}, "a unit": {"unit": "2"}}.get(name[:6], {"unit_since": 2, "url": "x"})
        assert changed(one, keys_of(build, released(**other)), is_told_elsewhere=True) == set(INPUTS[name])
        assert changed(before, one, is_told_elsewhere=True) == {*TABLES, "names"}, (
            "the first release of a series stands on none"
        )
        return
    elif name == "a blind label":
        said = [{**dict.fromkeys(DECISIONS.arrow().names), **SAID, "said_at": datetime.now(UTC)}]
        monkeypatch.setattr(sys.modules[__name__], "NO_WORDS", table_of(DECISIONS, said))
    else:
        CHANGES[name](source)
    is_told_elsewhere = name == "a blind label"
    assert changed(before, source.keys(), is_told_elsewhere=is_told_elsewhere) == set(INPUTS[name])


def released(**other: object) -> Basis:
    """What stands on a release of one photo, of which `other` columns are told otherwise."""
    row = {"photo_id": "web-1", "class_id": "fox", "observer": "1", "unit": "1", "half": "discover", "unit_since": 1}
    photos = pa.table({name: [value] for name, value in (row | other).items()})
    return Basis(release=cast(Followed, SimpleNamespace(parts=lambda _, columns: [photos.select(columns)])))


def test_a_new_setting_is_in_the_keys_by_itself(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every stage that is given its section, without anybody thinking of it."""

    class NewGroup(type(Config.model_fields["group"].default)):  # type: ignore[misc]
        linkage: str = "single"

    config = parse_config(source.settings, base=source.folder, origin="a test")
    one, other = (config.model_copy(update={"group": NewGroup(linkage=value)}) for value in ("single", "average"))
    changed_stages = {stage for stage in STAGES if context.settings_of(one, stage) != context.settings_of(other, stage)}
    assert changed_stages == {"backgrounds"}


@pytest.mark.parametrize("stage", ALL)
def test_a_revision_of_a_stage_makes_it_anew(stage: str, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    before = source.keys()
    monkeypatch.setitem(REVISIONS, stage, REVISIONS[stage] + 1)
    assert stage in changed(before, source.keys())


def test_the_version_of_a_method_from_outside_makes_backgrounds_anew(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = source.keys()
    monkeypatch.setattr(table_steps.ANNOTATORS, "version", lambda name: ["toy", "3.1"])
    first = source.keys()
    monkeypatch.setattr(table_steps.ANNOTATORS, "version", lambda name: ["toy", "3.2"])
    assert changed(before, first) == changed(first, source.keys()) == changed_by_method(source)


def changed_by_method(source: Source) -> set[str]:
    before = source.keys()
    source.change("annotate", method="plain")
    return changed(before, source.keys())


def test_marks_say_why() -> None:
    assert set(READS) == set(STAGES) == set(ALL)
    with pytest.raises(ValueError, match="reason"):
        NotContent("")
    with pytest.raises(ValueError, match="stages"):
        NotContent("a reason", of=("nothing",))
    assert [mark.of for mark in marks_of(Config)["seed"]] != [()], "the seed decides much"


def test_only_marked_settings_are_left_out(source: Source) -> None:
    config = parse_config(source.settings, base=source.folder, origin="a test")
    for stage in STAGES:
        kept = content(config, stage)
        for name in Config.model_fields:
            section = getattr(config, name)
            marks = marks_of(type(section)) if isinstance(section, BaseModel) else {name: marks_of(Config)[name]}
            found = kept.get(name, {}) if isinstance(section, BaseModel) else kept
            for field, those in marks.items():
                assert (field in found) != any(mark.covers(stage) for mark in those), (stage, name, field)


def test_the_page_is_the_table() -> None:
    """Written anew by `COUNTERSET_WRITE_DOCS=1 pytest tests/flows/test_keys.py`."""
    if os.environ.get("COUNTERSET_WRITE_DOCS"):
        PAGE.write_text(table(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == table()
