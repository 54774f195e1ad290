"""Interventions on a small release of the world of causes, whose true effects are drawn too."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import counterset
from counterset.causes import composites
from counterset.causes.balance import BACKGROUND, UNEXPLAINED
from counterset.causes.effects import COMPARED
from counterset.causes.schemas import DECOMPOSITION, INTERVENTIONS, INTERVENTIONS_BY_MODEL
from counterset.cli import main
from counterset.demo.world.causes import VARIANTS, pool_specs
from counterset.demo.world.classes import TIES
from counterset.demo.world.photo import draw
from counterset.demo.world.spec import PhotoSpec
from counterset.errors import ConfigError, ReleaseError, UserError
from counterset.evaluation import intervened_drops, scenes
from counterset.evaluation.intervene import Interventions, intervene
from counterset.evaluation.photos import pair_photos
from counterset.load import Release, load
from counterset.models.door import open_text_model
from counterset.models.prompts import mean_text_features, prompts
from counterset.release.counteranimal import IMPORTED_VERDICTS, read_counteranimal
from counterset.release.publish.writer import publish
from counterset.tables import read_table

MODEL = "demo:selector"


CLASSES = ("ice_bear", "lion", "white_stork")
PHOTOS_PER_SIDE = 16


@dataclass(frozen=True)
class World:
    """A release of the world of causes: every photo's spec, the masks as files, and what interventions gave."""

    path: Path
    mirror: str
    cache: Path
    specs: dict[str, PhotoSpec]
    masks: Path
    output: Path
    done: Interventions

    def load(self) -> counterset.Release:
        return load(self.path, mirrors=[self.mirror], cache=self.cache)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("interventions")
    usual = [spec for spec in pool_specs(2 * PHOTOS_PER_SIDE, seed=31)[:: len(VARIANTS)] if spec.class_id in CLASSES]
    specs: dict[str, PhotoSpec] = {}
    (root / "masks").mkdir()
    for number, spec in enumerate(usual):  # of each animal the home photo and the counter photo, of which one is taken
        split = ("common", "counter")[number % 2]
        if (number // 2) % 2 == number % 2:
            picture = draw(spec)
            folder = root / "photos" / spec.class_id / f"{split}-{spec.background}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.pixels).save(folder / f"{number}.jpg")
            photo_id = f"counteranimal-{spec.class_id}-{split}-{number}"
            Image.fromarray(picture.mask.astype(np.uint8) * 255).save(root / "masks" / f"{photo_id}.png")
            specs[photo_id] = spec
    inputs = read_counteranimal(root / "photos", name="causes", releases=str(root / "releases"), class_list="demo")
    path = publish(inputs, kind="imported", default_verdicts=IMPORTED_VERDICTS).path
    mirror = f"{root / 'photos'}/{{path}}"
    done = intervene(
        load(path, mirrors=[mirror], cache=root / "cache"),
        [MODEL],
        animals=root / "masks",
        label_space="classes",
        output=root / "out",
        shard_size=300,
        save=2,
    )
    return World(path, mirror, root / "cache", specs, root / "masks", root / "out", done)


def test_effects_are_those_of_animals_that_are_drawn_again_on_the_other_background(world: World) -> None:
    kept = [photo_id for photo_id in sorted(world.specs) if photo_id not in world.done.record["left_out"]]
    redrawn = [
        composites.encoded(draw(replace(world.specs[photo_id], background=background)).pixels)
        for photo_id in kept
        for background in TIES[world.specs[photo_id].class_id][:2]
    ]
    class_ids = [world.specs[photo_id].class_id for photo_id in kept]
    labels = world.load().class_names
    model = open_text_model(MODEL)
    texts = mean_text_features(model, [prompts("paper", label) for label in labels.values()])
    named = (model.encode_images(redrawn, 64) @ texts.T).argmax(axis=1).reshape(-1, 2)
    truth = np.array([list(labels).index(class_id) for class_id in class_ids])
    change = (named[:, 0] == truth).astype(float) - (named[:, 1] == truth)
    for row in world.done.interventions.to_pylist():
        if row["intervention"] == "common_background":
            own = np.array([one == row["class_id"] for one in class_ids])
            sides = [change[own & side] for side in sides_of(kept)]
            true, error = np.mean([side.mean() for side in sides]), np.sqrt(sum(s.var() / len(s) for s in sides)) / 2
            reach = np.hypot((row["effect_high"] - row["effect_low"]) / 2, 1.96 * error)  # both are of few animals
            assert abs(row["effect"] - true) < reach, (row["class_id"], true)
    rows = {row["intervention"]: row for row in world.done.by_model.to_pylist()}
    assert rows["common_background"]["effect_low"] > 0.15, "the planted tie is shown"
    assert abs(rows["own_background"]["effect"]) < 0.15, "pasting alone does little"
    assert rows["same_class_background"]["effect"] < rows["common_background"]["effect"], "ImageNet-9 mixes both groups"
    alone = rows["background_alone"]
    assert alone["accuracy_common"] > 0.4 > alone["accuracy_counter"], "the home names the class without its animal"


def sides_of(photo_ids: list[str]) -> list[np.ndarray]:
    return [np.array([f"-{split}-" in photo_id for photo_id in photo_ids]) for split in ("common", "counter")]


def test_every_photo_counts_or_is_said_to_be_left_out(world: World) -> None:
    record = json.loads((world.done.folder / "interventions.json").read_text())
    assert record == world.done.record
    assert record["num_photos"] + len(record["left_out"]) == len(world.specs)
    for photo_id, reason in record["left_out"].items():
        share = draw(world.specs[photo_id]).mask.mean()
        assert "its animal covers" in reason and not composites.LEAST_COVER <= share <= composites.MOST_COVER
    table = read_table(world.done.folder / "interventions.parquet", INTERVENTIONS)
    rows = {(row["class_id"], row["model"], row["intervention"]) for row in table.to_pylist()}
    assert rows == {(class_id, MODEL, name) for class_id in CLASSES for name in COMPARED}
    assert sum(table["num_photos"].to_pylist()) == record["num_photos"] * len(COMPARED)
    by_model = read_table(world.done.folder / "interventions_by_model.parquet", INTERVENTIONS_BY_MODEL)
    assert by_model["intervention"].to_pylist() == sorted(COMPARED)
    assert (world.done.folder / "interventions.png").stat().st_size > 10_000


def test_a_second_run_computes_nothing_and_gives_the_same(world: World) -> None:
    assert world.done.num_computed == {MODEL: world.done.record["num_photos"] * 8}
    again = intervene(world.load(), [MODEL], animals=world.masks, label_space="classes", output=world.output)
    assert again.num_computed == {MODEL: 0}
    assert again.interventions.equals(world.done.interventions)


def test_drops_with_the_background_are_kept_where_the_selectors_saw_the_composites(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = {"class_id": CLASSES[0], "component": UNEXPLAINED, "covariates": []}
    parts = pa.Table.from_pylist([part | {"explained": 0.5, "explained_low": 0.4, "explained_high": 0.6}])
    table = Release.table
    monkeypatch.setattr(Release, "table", lambda self, name: parts if name == "decomposition" else table(self, name))
    monkeypatch.setattr(intervened_drops, "selectors_of", lambda release: [MODEL])
    done = intervene(world.load(), [MODEL], animals=world.masks, label_space="classes", output=world.output)
    assert done.decomposition is not None and not sum(done.num_computed.values())
    assert read_table(done.folder / "decomposition.parquet", DECOMPOSITION) == done.decomposition
    assert (done.folder / "decomposition.svg").is_file() and (done.folder / "decomposition.png").is_file()
    kept = {row["component"]: row["explained"] for row in done.decomposition.to_pylist()}
    [effect] = [
        row["effect"]
        for row in done.interventions.to_pylist()
        if (row["class_id"], row["intervention"]) == (CLASSES[0], "common_background")
    ]
    assert kept == {BACKGROUND: effect, UNEXPLAINED: pytest.approx(0.5 - effect)}
    monkeypatch.undo()
    intervene(world.load(), [MODEL], animals=world.masks, label_space="classes", output=world.output)
    assert not list(done.folder.glob("decomposition.*")), "of other models it would be of no use"


def test_places_are_dealt_evenly_and_never_to_their_own_photographer(world: World) -> None:
    photos = pair_photos(world.load())
    photos = replace(photos, unit=np.array([f"{n % 9}" for n in range(len(photos.unit))], dtype=object))
    for name, donor in scenes.dealt(photos, np.random.default_rng(1)):
        assert (photos.unit[donor] != photos.unit).all()
        is_own_class = photos.class_id[donor] == photos.class_id
        is_own_side = photos.side[donor] == photos.side
        assert (is_own_class != (name == "other_class_background")).all()
        if name != "other_class_background":
            assert (is_own_side == (name == "own_background")).all()
            assert np.bincount(donor).max() <= 3


def test_examples_are_saved_of_photos_that_may_be_adapted_only(world: World) -> None:
    lines = (world.done.folder / "examples" / "made_of.csv").read_text().splitlines()
    assert lines == ["file,made_of,license"], "nothing says that these photos may be adapted"
    release = world.load()
    photos = pair_photos(release)
    covers = {photo_id: composites.packed(np.eye(240, 320, dtype=np.float32)) for photo_id in photos.photo_id}
    made = scenes.scenes_of(release, photos, covers, {}, 0)
    free = {photo_id: "cc-by" for photo_id in photos.photo_id} | {photos.photo_id[0]: "cc-by-nd"}
    assert len(list(scenes.may_be_shown(made, free))) == len(photos.photo_id) - 1 - sum(
        int((donor == 0).sum()) for donor in made.donors.values()
    )


def test_a_segmenter_is_asked_once_per_photo(world: World) -> None:
    release, asked = world.load(), list[tuple[int, int]]()
    photos, left_out = pair_photos(release), dict[str, str]()

    def middle(photo: Image.Image) -> Any:
        asked.append(photo.size)
        cover = np.zeros((photo.height, photo.width))
        cover[photo.height // 3 :, photo.width // 4 : -photo.width // 4] = 1
        return None if len(asked) == 1 else cover

    covers = scenes.covers_of(release, photos, middle, left_out)
    assert len(asked) == len(photos.photo_id) == len(covers) + 1
    assert left_out == {photos.photo_id[0]: scenes.NO_COVER}
    for photo_id, size in zip(photos.photo_id[1:], asked[1:], strict=True):
        cover = composites.unpacked(covers[photo_id])
        assert cover.shape == composites.size_of(*size)[::-1] and cover.mean() == pytest.approx(1 / 3, abs=0.02)
    for wrong in (np.ones((3, 3)), np.full((asked[0][1], asked[0][0]), np.nan)):
        with pytest.raises(UserError, match=r"the segmenter must give None or values in \[0, 1\] of the photo's shape"):
            scenes.covers_of(release, photos, lambda _, wrong=wrong: wrong, {})


def test_the_command(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERSET_CACHE", str(world.cache))
    common = [
        "intervene",
        str(world.path),
        "--mirror",
        world.mirror,
        "--model",
        MODEL,
        "--label-space",
        "classes",
    ]
    assert main([*common, "--masks", str(world.masks), "--output", str(world.output)]) == 0
    printed = capsys.readouterr().out
    assert "the same animals on common rather than on counter backgrounds" in printed
    assert "computed in this run: demo:selector 0 composites" in printed
    assert "once all of the release's selectors see the composites" in printed, "an imported release has no selector"
    assert pq.read_table(world.done.folder / "interventions.parquet").num_rows == len(CLASSES) * len(COMPARED)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("photo_id,x,y,width,height\nnone,0.2,0.2,0.2,0.2\n")
    assert main([*common, "--boxes", str(boxes), "--output", str(tmp_path)]) == 2
    assert "give masks or boxes that are named by the release's photo ids" in capsys.readouterr().err


def test_mistakes_are_said_before_the_work(world: World, tmp_path: Path) -> None:
    given: dict[str, Any] = {"animals": world.masks, "output": tmp_path}
    with pytest.raises(ConfigError, match="interventions ask about all labels"):
        intervene(world.load(), ["demo:weak"], label_space="top20", **given)
    with pytest.raises(UserError, match="name at least one model"):
        intervene(world.load(), [], **given)
    with pytest.raises(UserError, match="must be at least 1"):
        intervene(world.load(), ["demo:weak"], shard_size=0, **given)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no masks"):
        intervene(world.load(), ["demo:weak"], animals=tmp_path / "empty", output=tmp_path)
    with pytest.raises(ReleaseError, match="no photo of causes"):
        intervene(world.load(), ["demo:weak"], animals=lambda _: None, output=tmp_path)
