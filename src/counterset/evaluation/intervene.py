"""What models answer once one thing in a release's photos is changed: the animal alone, its place alone, another place.

<output>/vectors/<model>/composites/<shard>.parquet       what a model makes of a composite, kept for good
<output>/<release>-<version>/interventions-<label space>-<templates>/
    interventions.parquet  interventions_by_model.parquet  interventions.svg  interventions.png  interventions.json
    decomposition.parquet  decomposition.svg  decomposition.png     where all selectors of the release were shown them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.causes import composites
from counterset.causes.effects import Answers, effects
from counterset.causes.schemas import INTERVENTIONS, INTERVENTIONS_BY_MODEL
from counterset.classes import ClassSpec
from counterset.errors import ConfigError, UserError
from counterset.evaluation.effects_plot import draw_effects
from counterset.evaluation.evaluate import BATCH_SIZE, SHARD_SIZE, Say, built_with, chosen_half
from counterset.evaluation.intervened_drops import intervened_drops, keep_drops
from counterset.evaluation.label_spaces import CandidateLabels, all_labels, open_space, short_name, space_name
from counterset.evaluation.models import folder_of, kept_label_rows, opened
from counterset.evaluation.photos import TESTED, fetch, in_half, pair_photos
from counterset.evaluation.scenes import DONOR_OF, Scenes, Segmenter, covers_of, save_examples, scenes_of
from counterset.evaluation.scoring import score
from counterset.evaluation.vectors import Floats32, VectorStore
from counterset.load import Release, load
from counterset.models.door import Model
from counterset.outputs import check_output
from counterset.pictures import DECODER_VERSION
from counterset.places import Places
from counterset.tables import table_of, write_bytes, write_table

FORMAT = "counterset-interventions"
RECORD_FILE = "interventions.json"


@dataclass(frozen=True)
class Interventions:
    """Finished interventions, as their folder keeps them.

    Attributes:
        folder: where they lie.
        record: the content of interventions.json.
        interventions: one row per class, model and intervention.
        by_model: one row per model and intervention, over all classes.
        decomposition: the release's, with the background beside the other parts; None where the models were not all
            of its selectors.
        num_computed: composites that went through a model in this run, by model.
    """

    folder: Path
    record: Mapping[str, Any]
    interventions: pa.Table
    by_model: pa.Table
    num_computed: Mapping[str, int]
    decomposition: pa.Table | None = None


def intervene(
    release: Release | str | Path,
    models: Sequence[str],
    *,
    animals: str | Path | Segmenter,
    label_space: str = "",
    templates: str = "paper",
    half: str = "",
    output: str | Path = "evaluations",
    save: int = 0,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    shard_size: int = SHARD_SIZE,
    progress: Say | None = None,
) -> Interventions:
    """Change one thing in the photos of a release's pairs, and measure what that does to models' answers.

    Composites are made in memory and are not kept; what a model makes of them is, so a second run computes only what
    is missing.

    Args:
        release: an opened release, or what `counterset.load` takes.
        models: names, as `evaluate` takes them.
        animals: where the animals are: a folder of masks, a file of boxes or masks, or a callable that takes an RGB
            photo and gives (height, width) values, 1 where the animal is.
        label_space: `imagenet1k`, `classes`, or a text file; "" = as the release was built.
        templates: `paper`, `openai80`, or a text file of templates.
        half: whose photos count: `confirm` (default where the release has it), `discover` or `all`.
        output: folder of all evaluations.
        save: photos of which all composites are written into the folder `examples`, to be looked at. Photos whose
            licence allows no derivatives are not among them.
        seed: of whose place each animal is given.
        batch_size: photos in one forward pass.
        shard_size: composites between two files; a killed run repeats less.
        progress: called with a model's name, its composites done and its composites wanted.

    Raises:
        UserError: a model, label space, template, mask or photo cannot be read, no photo has an animal that can be cut
            out, or a size is below 1.
    """
    if min(batch_size, shard_size) < 1 or save < 0:
        raise UserError("batch size and shard size must be at least 1, and save not below 0; give larger ones")
    if not models:
        raise UserError("nothing to show the composites to: name at least one model")
    release = release if isinstance(release, Release) else load(release, verdicts=TESTED)
    asked = label_space or built_with(release)
    specs = tuple(ClassSpec(row["class_id"], row["name"], row["imagenet_index"]) for row in release.metadata["classes"])
    space, is_top = open_space(asked, specs)
    if is_top:
        raise ConfigError("interventions ask about all labels; use imagenet1k, classes, or a file of names")
    label, prompted = space_name(asked), short_name(templates, ("paper", "openai80"))
    output = Path(output)
    folder = output / f"{release.name}-{release.version}" / f"interventions-{label}-{prompted}"
    check_output(folder)
    places = animals if callable(animals) else Places.read(str(animals))
    by_name = {model.name: model for model in (opened(name) for name in models)}
    rows = {
        name: kept_label_rows(model, space, templates, output / "vectors" / folder_of(model) / "labels")
        for name, model in by_name.items()
    }
    photos = pair_photos(release)
    half = chosen_half(half, photos)
    photos = photos.only(in_half(photos, half))
    left_out = fetch(release, photos, are_many=True)
    photos = photos.as_read(release)
    covers = covers_of(release, photos, places, left_out)
    scenes = scenes_of(release, photos, covers, left_out, seed)
    candidates = all_labels(space, label, sorted(set(scenes.photos.class_id.tolist())))
    vectors, num_computed = _vectors(scenes, by_name.values(), output, batch_size, shard_size, progress)
    by_class, over_all = [], []
    for name in by_name:
        answers = _answers(scenes, vectors[name], rows[name], candidates, name)
        key = {"model": name, "label_space": label}
        for number, class_id in enumerate(scenes.class_ids):
            of_class = effects(answers.only(answers.class_id == number))
            by_class += [{"class_id": class_id, **key, **row} for row in of_class]
        over_all += [{**key, "num_classes": len(scenes.class_ids), **row} for row in effects(answers)]
    record = {
        "format": FORMAT,
        "release": {"name": release.name, "version": release.version, "verdicts": list(release.verdicts)},
        "label_space": label,
        "num_labels": len(space.labels),
        "templates": prompted,
        "animals": "callable" if callable(places) else "masks" if places.masks else "boxes",
        "half": half,
        "seed": seed,
        "composites": composites.REVISION,
        "num_photos": len(scenes.photos.photo_id),
        "left_out": dict(sorted(left_out.items())),
        "models": {name: model.weights_sha256 for name, model in by_name.items()},
    }
    by_class.sort(key=lambda row: tuple(row[name] for name in INTERVENTIONS.key))
    over_all.sort(key=lambda row: tuple(row[name] for name in INTERVENTIONS_BY_MODEL.key))
    tables = table_of(INTERVENTIONS, by_class), table_of(INTERVENTIONS_BY_MODEL, over_all)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(tables[0], INTERVENTIONS, folder / "interventions.parquet")
    write_table(tables[1], INTERVENTIONS_BY_MODEL, folder / "interventions_by_model.parquet")
    title = f"{release.name} {release.version}"
    for suffix, content in draw_effects(*tables, title).items():
        write_bytes(content, folder / f"interventions.{suffix}")
    drops = intervened_drops(release, tables[0])
    keep_drops(drops, title, folder)
    if save:
        save_examples(scenes, save, folder / "examples")
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    write_bytes(text.encode(), folder / RECORD_FILE)
    return Interventions(folder, record, *tables, num_computed, drops)


def _vectors(
    scenes: Scenes, models: Collection[Model], output: Path, batch_size: int, shard_size: int, progress: Say | None
) -> tuple[dict[str, dict[str, Floats32]], dict[str, int]]:
    """model -> rendered -> (N, D), and how many each model was shown in this run."""
    wanted = [(name, place) for place in range(len(scenes.photos.photo_id)) for name in scenes.rendered]
    keys = {scenes.key(name, place): (name, place) for name, place in wanted}
    stores = {model.name: VectorStore(_folder(output, model), shard_size) for model in models}
    computed = dict.fromkeys(stores, 0)
    ordered = list(keys)
    for start in range(0, len(ordered), shard_size):
        chunk = ordered[start : start + shard_size]
        drawn: dict[str, bytes] = {}

        def draw(key: str, drawn: dict[str, bytes] = drawn) -> bytes:
            if key not in drawn:
                drawn[key] = composites.encoded(scenes.draw(*keys[key]))
            return drawn[key]

        for model in models:

            def compute(
                missing: Sequence[str], model: Model = model, draw: Callable[[str], bytes] = draw
            ) -> npt.NDArray[np.float32]:
                for key in sorted(missing, key=keys.__getitem__):  # by photo, so that each is taken apart once
                    draw(key)
                return model.encode_images([draw(key) for key in missing], batch_size)

            computed[model.name] += stores[model.name].fill(chunk, compute)
            if progress:
                progress(model.name, start + len(chunk), len(ordered))
    number = range(len(scenes.photos.photo_id))
    read = {
        model: {name: store.read([scenes.key(name, place) for place in number]) for name in scenes.rendered}
        for model, store in stores.items()
    }
    return read, computed


def _folder(output: Path, model: Model) -> Path:
    return output / "vectors" / folder_of(model) / f"decoder-{DECODER_VERSION}" / "composites"


def _answers(
    scenes: Scenes, vectors: Mapping[str, Floats32], rows: Floats32, candidates: CandidateLabels, model: str
) -> Answers:
    photos = scenes.photos
    right = {}
    for name, of_name in vectors.items():
        table = score(photos, of_name, rows, candidates, model)
        told = dict(zip(table["photo_id"].to_pylist(), table["is_correct"].to_pylist(), strict=True))
        right[name] = np.array([told[photo_id] for photo_id in photos.photo_id], np.float64)
    unit = np.unique(photos.unit.astype(str), return_inverse=True)[1].astype(np.int64)
    units = {
        name: np.stack([unit, unit[scenes.donors[DONOR_OF[name]]]] if name in DONOR_OF else [unit], axis=1)
        for name in vectors
    }
    return Answers(right, np.searchsorted(scenes.class_ids, photos.class_id.astype(str)), photos.side, units)
