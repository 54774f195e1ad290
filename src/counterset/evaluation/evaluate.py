"""One call from a release and some models to predictions, figures and a folder that keeps them."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.classes import ClassSpec
from counterset.errors import ConfigError, UserError
from counterset.evaluation.answers import Predict, ask
from counterset.evaluation.asking import PARALLEL, Price, ask_each, check_options, check_price
from counterset.evaluation.bounds import withdrawn_cells
from counterset.evaluation.label_spaces import (
    NUM_TOP,
    TOP,
    all_labels,
    nearest_labels,
    open_space,
    short_name,
    space_name,
)
from counterset.evaluation.measures import ModelFacts, measure
from counterset.evaluation.metrics import METRICS
from counterset.evaluation.models import folder_of, kept_label_rows, opened
from counterset.evaluation.photos import FEW, TESTED, PairPhotos, bytes_of, default_half, fetch, in_half, pair_photos
from counterset.evaluation.record import (
    CLASS_METRICS_FILE,
    FORMAT,
    METRICS_FILE,
    PREDICTIONS_FILE,
    RECORD_FILE,
    facts_of,
    read_part,
    read_record,
)
from counterset.evaluation.schemas import metrics
from counterset.evaluation.scoring import score
from counterset.evaluation.vectors import Floats32, Progress, VectorStore, no_progress
from counterset.load import Release, load
from counterset.models.door import Answerer, Model, open_answerer, origin, trained_on
from counterset.models.labels import LabelSpace
from counterset.models.prompts import prompts
from counterset.outputs import check_output
from counterset.pictures import DECODER_VERSION
from counterset.release.questions import LETTERS
from counterset.schemas import PREDICTIONS, Half
from counterset.statistics.robustness import Scale
from counterset.statistics.schemas import CLASS_METRICS
from counterset.tables import conform, write_bytes, write_table

logger = logging.getLogger(__name__)

PAPER_SELECTOR = "ViT-B-32/laion400m_e31"
"""Chose the published pairs; the 1 vs. 20 labels are its, where a release names no selector."""
Say = Callable[[str, int, int], None]
SHARD_SIZE = 512
BATCH_SIZE = 64


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, as its folder keeps it.

    Attributes:
        folder: where it lies.
        record: the content of evaluation.json.
        metrics: one row per model (metrics schema).
        class_metrics: one row per model, class and side.
        predictions: one row per photo and model.
        num_computed: photos that went through a model in this run, by model.
    """

    folder: Path
    record: Mapping[str, Any]
    metrics: pa.Table
    class_metrics: pa.Table
    predictions: pa.Table
    num_computed: Mapping[str, int] = dataclasses.field(default_factory=dict)


def evaluate(
    release: Release | str | Path,
    models: Sequence[str] = (),
    *,
    predict: Predict | None = None,
    name: str = "",
    version: str = "",
    label_space: str = "",
    templates: str = "paper",
    half: str = "",
    scale: str = "logit",
    output: str | Path = "evaluations",
    selector: str = "",
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    shard_size: int = SHARD_SIZE,
    parallel: int = PARALLEL,
    price: Price | None = None,
    progress: Say | None = None,
) -> Evaluation:
    """Predictions and figures of models on a release's pairs, kept in a folder.

    What a model makes of a photo is kept under `<output>/vectors` for good, so another label
    space, other prompts, a later version or a killed run embed only what is missing. Models
    that were evaluated before on the same photos and labels stay in the tables.

    Args:
        release: an opened release, whose verdicts say which classes count; or what `counterset.load` takes, and all
            tested classes count, confirmed or not.
        models: open_clip tags (`ViT-B-32/openai`), folders, `hf-hub:NAME`, `ARCHITECTURE@CHECKPOINT`,
            `timm:NAME`, `torchvision:NAME`, `demo:NAME`, and `openai:BASE_URL#NAME` behind an endpoint.
        predict: any other model, called with a list of RGB PIL images and the list of candidate
            labels; gives one label's text an image, or (N, C) scores. Answers that name no
            candidate count as wrong and are reported.
        name: of `predict`, in the tables.
        version: of `predict`, e.g. its checkpoint's digest. Its answers are kept under name and version, so that
            a run goes on and a second one asks nothing; "" = it is asked about every photo each time.
        label_space: `imagenet1k`, `classes`, `top20`, or a text file; "" = as the release was built, and of more
            labels than a model behind an endpoint can choose among the nearest 20.
        templates: `paper`, `openai80`, or a text file of templates.
        half: `confirm` (default where the release has it: photographers who did not choose the
            pairs), `discover` or `all`; figures are read from its photos.
        scale: `linear`, `logit` or `probit`: the axes on which lines are straight.
        output: folder of all evaluations.
        selector: whose 20 nearest labels `top20` takes; "" = the release's own.
        seed: of the draws of units for intervals.
        batch_size: photos in one forward pass.
        shard_size: photos between two files; a killed run repeats less.
        parallel: questions under way at once at an endpoint.
        price: of a million tokens of questions and of answers there; their cost is then kept and estimated early.
        progress: called with a model's name, its photos done and its photos wanted.

    Raises:
        UserError: a model, label space, template or photo cannot be loaded, an endpoint does not answer, or a size is
            below 1.
    """
    if min(batch_size, shard_size, parallel) < 1:
        raise UserError(
            "batch size, shard size and the number of parallel questions must be at least 1; give larger ones"
        )
    release = release if isinstance(release, Release) else load(release, verdicts=TESTED)
    if not models and predict is None:
        raise UserError("nothing to evaluate: name at least one model, or give predict")
    if predict is not None and not name:
        raise UserError("a callable needs a name: its figures stand under it; give name=")
    axes = _scale(scale)
    check_price(price)
    answerers = [one for one in map(open_answerer, dict.fromkeys(models)) if one is not None]
    names_of = {one.name for one in answerers}
    specs = tuple(ClassSpec(row["class_id"], row["name"], row["imagenet_index"]) for row in release.metadata["classes"])
    asked = label_space or _default_space(release, specs, answerers)
    space, is_top = open_space(asked, specs)
    for one in answerers:
        check_options(one, NUM_TOP if is_top else len(space.labels))
    run = _Run(release, Path(output), space, templates, batch_size, shard_size, progress)
    run.check_templates()
    label, prompted = space_name(asked), short_name(templates, ("paper", "openai80"))
    folder = run.output / f"{release.name}-{release.version}" / f"{label}-{prompted}"
    check_output(folder)
    if (folder / RECORD_FILE).is_file():
        read_record(folder)  # a damaged one is said before the work
    by_name = {model.name: model for model in (opened(named) for named in models if named not in names_of)}
    # Labels before photos: a label that a model does not know is found before anything is fetched.
    rows = {model.name: run.rows(model) for model in by_name.values()}
    names = ((selector,) if selector else _selectors(release)) if is_top else ()
    selectors = [by_name.get(one) or opened(one) for one in names]
    photos = pair_photos(release)
    is_new = run.is_new(photos, [*by_name.values(), *selectors], are_all=predict is not None or bool(answerers))
    missing = fetch(release, photos.only(is_new), are_many=bool(is_new.mean() > FEW))
    is_missing = np.array([photo_id in missing for photo_id in photos.photo_id], np.bool_)
    run.vanished, run.photos = photos.only(is_missing), photos.only(~is_missing).as_read(release)
    photos = run.photos
    half = chosen_half(half, photos)
    if is_top:
        pairs = [(run.vectors(one), run.rows(one)) for one in selectors]
        candidates = nearest_labels(space, label, photos.class_id, pairs)
    else:
        candidates = all_labels(space, label, sorted(set(photos.class_id.tolist())))
    tables, facts = [], {}
    for model in by_name.values():
        tables.append(score(photos, run.vectors(model), rows[model.name], candidates, model.name))
        facts[model.name] = run.facts(model)
    for one in answerers:
        to, said = run.output / "answers", run.say(one.name)
        answered = ask_each(release, photos, candidates, one, to, parallel, said, price)
        tables.append(answered.predictions)
        facts[one.name] = dataclasses.replace(ModelFacts(one.family), **answered.facts)
        run.num_computed[one.name] = answered.num_asked
    if predict is not None:
        answered = ask(
            release,
            photos,
            candidates,
            predict,
            name,
            version,
            run.output / "answers",
            batch_size,
            shard_size,
            run.say(name),
        )
        tables.append(answered.predictions)
        facts[name] = dataclasses.replace(ModelFacts("other", version=version), **answered.facts)
        run.num_computed[name] = answered.num_asked
    record = {
        "format": FORMAT,
        "release": {"name": release.name, "version": release.version, "verdicts": list(release.verdicts)},
        "label_space": label,
        "num_labels": len(space.labels),
        "templates": prompted,
        "candidates": {c: [space.labels[p] for p in of] for c, of in candidates.of_class.items()} if is_top else None,
        "truths": {c: space.labels[space.index_of[c]] for c in candidates.of_class} if is_top else None,
        "photos": photos.digest,
        "num_photos": len(photos.photo_id),
        "missing_photos": dict(sorted(missing.items())),
        "changed_photos": {one: changed.sha256 for one, changed in sorted(release.changed_photos.items())},
        "half": half,
        "scale": axes.value,
        "seed": seed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Two evaluations at once, each of its own models, must not lose each other's.
    with filelock.FileLock(folder / ".lock"):
        return _finish(folder, record, run, tables, facts, axes)


@dataclass
class _Run:
    """What all models of one call share."""

    release: Release
    output: Path
    space: LabelSpace
    templates: str
    batch_size: int
    shard_size: int
    progress: Say | None
    photos: PairPhotos = dataclasses.field(init=False)
    vanished: PairPhotos = dataclasses.field(init=False)
    num_computed: dict[str, int] = dataclasses.field(default_factory=dict)

    def check_templates(self) -> None:
        """Find a wrong template before anything is computed."""
        prompts(self.templates, self.space.labels[0])

    def say(self, model: str) -> Progress:
        """The progress of one model."""
        return functools.partial(self.progress, model) if self.progress else no_progress

    def is_new(self, photos: PairPhotos, models: Sequence[Model], *, are_all: bool) -> npt.NDArray[np.bool_]:
        """(N,) the photos whose bytes are needed: some model has not seen them yet."""
        digests = photos.sha256.tolist()
        new = set(digests) if are_all else set().union(*(self._store(model).missing(digests) for model in models))
        return np.array([sha256 in new for sha256 in digests], np.bool_)

    def _store(self, model: Model) -> VectorStore:
        return VectorStore(
            self.output / "vectors" / folder_of(model) / f"decoder-{DECODER_VERSION}" / "photos", self.shard_size
        )

    def vectors(self, model: Model) -> Floats32:
        """(N, D) of all photos, computing only what no earlier run did."""
        store = self._store(model)
        digests = self.photos.sha256.tolist()
        computed = store.fill(
            digests,
            lambda keys: model.encode_images(bytes_of(self.release, self.photos, keys), self.batch_size),
            self.say(model.name),
        )
        self.num_computed[model.name] = self.num_computed.get(model.name, 0) + computed
        return store.read(digests)

    def rows(self, model: Model) -> Floats32:
        """(C, D) of all labels."""
        folder = self.output / "vectors" / folder_of(model) / "labels"
        return kept_label_rows(model, self.space, self.templates, folder)

    def facts(self, model: Model) -> ModelFacts:
        """What is said of a model, circular roles among it."""
        trained = trained_on(model.name)
        return ModelFacts(
            model.family,
            model.weights_sha256,
            tuple(sorted(trained)),
            _in_sample(self.release, model.name, model.weights_sha256, trained),
        )


def _in_sample(release: Release, name: str, weights: str, trained: frozenset[str]) -> str:
    """What a model shares with those that made the release; "" = nothing known."""
    made = [(one["name"], one["role"], one["weights_sha256"]) for one in release.metadata["models"]]
    made = [one for one in made if one[1] != "evaluator"]
    known = {one[0] for one in made}
    made += [(one, "selector", "") for one in _selectors(release) if one not in known]
    # The selector speaks first: its choice is what flatters a drop.
    for other, role, sha256 in sorted(made, key=lambda one: one[1] != "selector"):
        if origin(other) == origin(name) or (sha256 and sha256 == weights):
            return f"is the release's {role}"
    for other, role, _ in sorted(made, key=lambda one: one[1] != "selector"):
        shared = trained & trained_on(other)
        if shared:
            return f"trained on {', '.join(sorted(shared))} like the {role} {other}"
    return ""


def _selectors(release: Release) -> tuple[str, ...]:
    return tuple(release.metadata["config"]["models"]["selectors"]) or (PAPER_SELECTOR,)


def built_with(release: Release) -> str:
    """The label space of the release's own build; a list of names that only its builder has is not it."""
    built: str = release.metadata["config"]["evaluate"]["label_space"]
    return built if built in ("imagenet1k", "classes") else "imagenet1k"


def _default_space(release: Release, specs: Sequence[ClassSpec], answerers: Sequence[Answerer]) -> str:
    """As the release was built; the nearest 20 of it where a model has no letters for all."""
    built = built_with(release)
    is_too_large = len(open_space(built, specs)[0].labels) > len(LETTERS)
    return f"{TOP}:{built}" if is_too_large and any(not one.is_open for one in answerers) else built


def _scale(scale: str) -> Scale:
    if scale not in list(Scale):
        raise ConfigError(f"unknown scale {scale!r}; use {', '.join(Scale)}")
    return Scale(scale)


def chosen_half(half: str, photos: PairPhotos) -> str:
    """The half that was asked for, or the default one.

    Raises:
        ConfigError: there is no such half.
    """
    half = half or default_half(photos)
    if half not in list(Half):
        raise ConfigError(f"unknown half {half!r}; use {', '.join(Half)}")
    if not in_half(photos, half).any():
        raise ConfigError(f"the release has no half {half!r}; use all")
    return half


def _finish(
    folder: Path,
    record: dict[str, Any],
    run: _Run,
    tables: list[pa.Table],
    facts: dict[str, ModelFacts],
    scale: Scale,
) -> Evaluation:
    """Join with what was evaluated before on the same photos, measure, and write the folder."""
    earlier = _earlier(folder, record)
    kept = {model: fact for model, fact in earlier.items() if model not in facts}
    if kept:
        before = read_part(folder, PREDICTIONS_FILE, PREDICTIONS).to_pylist()
        tables.append(pa.Table.from_pylist([row for row in before if row["model"] in kept], PREDICTIONS.arrow()))
    facts = dict(sorted((facts | kept).items()))
    predictions = conform(pa.concat_tables(tables), PREDICTIONS)
    photos, vanished = (one.only(in_half(one, record["half"])) for one in (run.photos, run.vanished))
    withdrawn = withdrawn_cells(run.release.metadata, record["half"], {*photos.class_id, *vanished.class_id})
    measures = measure(
        photos, predictions, facts, scale=scale, seed=record["seed"], vanished=vanished, withdrawn=withdrawn
    )
    record |= {
        "one_sided_classes": list(measures.one_sided),
        "models": {model: dataclasses.asdict(fact) for model, fact in facts.items()},
    }
    if packages := {name: METRICS.version(name) for name in METRICS if METRICS.version(name)}:
        record["metrics_from"] = packages
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    for name in (PREDICTIONS_FILE, METRICS_FILE, CLASS_METRICS_FILE, RECORD_FILE):
        for left in folder.glob(f".{name}.*.part"):  # by a run that was killed while it wrote
            left.unlink()
    write_table(predictions, PREDICTIONS, folder / PREDICTIONS_FILE)
    write_table(measures.metrics, metrics(), folder / METRICS_FILE)
    write_table(measures.by_class, CLASS_METRICS, folder / CLASS_METRICS_FILE)
    write_bytes(text.encode(), folder / RECORD_FILE)
    return Evaluation(folder, json.loads(text), measures.metrics, measures.by_class, predictions, run.num_computed)


def _earlier(folder: Path, record: Mapping[str, Any]) -> dict[str, ModelFacts]:
    """The models that the folder holds already; none when they were asked about other photos or labels."""
    if not (folder / RECORD_FILE).is_file():
        return {}
    before = read_record(folder)
    if any(before.get(key) != record[key] for key in ("photos", "candidates", "label_space", "num_labels")):
        logger.warning("%s held models on other photos or labels; name them again to have them beside these", folder)
        return {}
    return facts_of(before)
