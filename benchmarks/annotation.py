"""Annotation and grouping, measured: on the demo's world, whose truth is known, and on real photos labelled by eye.

    python benchmarks/annotation.py --cache /tmp/annotation
    python benchmarks/annotation.py --only hard
    python benchmarks/annotation.py --photos ../shared/photos --models FOLDER

The demo part draws 300 fresh photos of every class and background (kept in --cache) and
takes from them worlds with the backgrounds' usual shares. The real part needs the photos,
and a FOLDER with the two models that `../shared/real_model/build.py` makes, as `duo` and
`conse`; without them it is left out. Prints Markdown tables and writes
docs/figures/annotation.json.

Labels of real photos: `duo` was fitted on the photos' own background_labels.tsv, so it is
scored on annotation_labels.tsv, which lists 288 other photos of the set, drawn at random
and labelled by one vision-language model from contact sheets of 200 px (X = unsure, not
scored; plain = a studio background, for which the vocabulary has no name). The other 1,533 photos were
labelled in the same way before any method was run on them: annotation_fresh_labels.tsv. `conse` names
photos through ImageNet's class names only: what it says of a background, the animal says.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import numpy.typing as npt
import torch
from statsmodels.stats.proportion import proportion_confint

from counterset.backgrounds import Background, load_vocabulary
from counterset.classes import ClassSpec
from counterset.config import GroupConfig
from counterset.config_sections import ANNOTATORS
from counterset.demo.training.image_text import WEIGHTS, load, normalised
from counterset.demo.training.photos import drawn, training_photos
from counterset.demo.world.classes import CLASS_NAMES, HABITS
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.demo.world.spec import PhotoSpec, hard_spec, usual_spec
from counterset.models.locations import features_and_places
from counterset.models.open_clip_encoder import OpenClipEncoder, load_encoder
from counterset.models.prompts import PAPER_TEMPLATE
from counterset.places import Places
from counterset.stages.annotate import Annotation, annotate_class, background_classifiers
from counterset.stages.annotate.prompts import TextEncoder
from counterset.stages.group import ABSTAINED, group_photos, stability
from counterset.statistics.agreement import adjusted_rand_index

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = "cluster agrees, or clear at 0.1 (default)"
PHOTOS_PER_CELL, PHOTO_SEED = 300, 777
HARD_PER_CELL, HARD_SEED = 12, 7_780_000_000
TIMED_PHOTOS, TIMED_ROUNDS = 128, 5
SIZES = ((0, 1), (400, 2), (90, 5))
"""Photos a class (0 = as many as the cells allow), and how many worlds of that size are drawn."""

COVERED = {
    "grass": {"grass"},
    "water": {"water"},
    "snow": {"snow"},
    "sky": {"sky"},
    "indoor": {"indoor"},
    "forest": {"tree", "shrub"},
    "dirt_sand_rock": {"ground", "earth", "sand", "rock", "road"},
}
"""Label by eye -> the vocabulary's names that are right for it."""

Features = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Groups = Callable[[Annotation, Sequence[str]], Indices]
Row = dict[str, Any]


class StoredTexts:
    """A text encoder that encodes each text once, however often a run is begun: texts take nearly all of its time."""

    def __init__(self, encoder: OpenClipEncoder, folder: Path) -> None:
        self._encoder = encoder
        self._path = folder / f"texts-{encoder.weights_sha256[:16]}.npz"
        self._known: dict[str, Features] = {}
        if self._path.exists():
            with np.load(self._path) as stored:
                self._known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features."""
        missing = sorted(set(texts) - self._known.keys())
        if missing:
            self._known |= dict(zip(missing, self._encoder.encode_texts(missing), strict=True))
            np.savez(self._path, texts=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))
        return np.stack([self._known[text] for text in texts])


@dataclass(frozen=True)
class Photos:
    """Photos with one annotator's features, class by class."""

    encoder: TextEncoder
    specs: tuple[ClassSpec, ...]
    vocabulary: tuple[Background, ...]
    features: Features
    whole: Features
    """Of whole frames, as the tower pools them."""
    around: Features
    """Of the places around the animal in them."""
    classes: npt.NDArray[np.str_]

    def annotate(self, method: str, chosen: Indices) -> dict[str, tuple[Indices, Annotation]]:
        """class_id -> positions of its chosen photos, and their backgrounds."""
        directions = background_classifiers(self.encoder, self.vocabulary, self.specs, method)
        found = {}
        for spec in self.specs:
            rows = chosen[self.classes[chosen] == spec.class_id]
            vectors = self.features[rows]
            if ANNOTATORS[method].surroundings:
                vectors = ANNOTATORS[method].vectors(self.whole[rows], self.around[rows])
            scores = vectors @ directions[spec.class_id].T
            found[spec.class_id] = (rows, annotate_class(scores, len(self.vocabulary), method))
        return found


def positions(groups: Iterable[str | None], names: Sequence[str]) -> Indices:
    return np.array([ABSTAINED if group is None else names.index(group) for group in groups], np.int64)


def by_rule(**settings: Any) -> Groups:
    config = GroupConfig(**settings)
    return lambda a, names: positions(group_photos(a.profiles, a.margins, names, config, seed=0), names)


def by_margin(share: float) -> Groups:
    """No clusters: the highest score, but for this share of each class's photos of smallest margin."""
    return lambda a, names: np.where(a.margins >= np.quantile(a.margins, share), a.best, ABSTAINED)


def by_count(clusters_per_background: int) -> Groups:
    """As many clusters as stated, instead of the number on which most photos agree."""
    return lambda a, names: by_rule(num_clusters=clusters_per_background * len(names))(a, names)


RULES: dict[str, Groups] = {
    "highest score": by_margin(0.0),
    "5 % smallest margins abstain": by_margin(0.05),
    "10 % smallest margins abstain": by_margin(0.1),
    "25 % smallest margins abstain": by_margin(0.25),
    "50 % smallest margins abstain": by_margin(0.5),
    "cluster must agree": by_rule(clear_quantile=1.0, max_distance=1e9),
    "cluster agrees, or clear at 0.25": by_rule(clear_quantile=0.25),
    DEFAULT: by_rule(),
    "cluster agrees, or clear at 0.02": by_rule(clear_quantile=0.02),
    "default, distance 3": by_rule(max_distance=3.0),
    "default, k = B": by_count(1),
    "default, k = 4 B": by_count(4),
    "default, min_photos 20": by_rule(min_photos=20),
}


def area_under_curve(score: Features, is_right: npt.NDArray[np.bool_]) -> float:
    """Chance that a right photo scores above a wrong one."""
    right, wrong = score[is_right], np.sort(score[~is_right])
    if not len(right) or not len(wrong):
        return float("nan")
    below, upto = np.searchsorted(wrong, right), np.searchsorted(wrong, right, "right")
    return float(((below + upto) / 2).mean() / len(wrong))


def entropies(profiles: Features) -> Features:
    """(N,) Shannon entropy of softmax(profile / s) over log B: 0 = one background, 1 = all alike.

    s is a third of the standard deviation of the class's scores around each photo's mean,
    so the entropy does not depend on the model's scale.

    Args:
        profiles: (N, B) scores of one class's photos.
    """
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    spread = float(centred.std()) if centred.size else 0.0
    logits = 3 * centred / (spread or 1.0)
    # (N, B) -> (N,)
    logits = logits - logits.max(axis=1, keepdims=True)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    terms = shares * np.log(np.maximum(shares, 1e-30))
    return np.asarray(-terms.sum(axis=1) / np.log(profiles.shape[1]), np.float32)


SPECS = tuple(ClassSpec(class_id, name) for class_id, name in CLASS_NAMES.items())


def demo_features(name: str, pixels: npt.NDArray[np.uint8]) -> tuple[Features, Features]:
    """(N, D) features of photos (N, 64, 64, 3) under one of the demo's models, and of the places around the animal."""
    model, _, _ = load(WEIGHTS / name)
    edges = torch.from_numpy(Places.read("").weights(""))
    parts: list[Features] = []
    with torch.inference_mode():
        for start in range(0, len(pixels), 256):
            batch = normalised(np.asarray(pixels[start : start + 256]))
            both = torch.stack(features_and_places(model.visual, batch, edges.expand(len(batch), -1, -1)))
            parts.append(torch.nn.functional.normalize(both, dim=-1).numpy())
    features, around = np.concatenate(parts, axis=1)
    return features, around


def hard_rows(cache: Path) -> list[Row]:
    """Photos as people take them, and of the hard world: the same places, a row for each method."""
    cells = [(class_id, b) for class_id in CLASS_NAMES for b in BACKGROUNDS for _ in range(HARD_PER_CELL)]
    classes = np.array([class_id for class_id, _ in cells])
    truth = np.array([BACKGROUNDS.index(background) for _, background in cells])
    vocabulary, encoder = load_vocabulary("demo"), load_encoder("demo:annotator")
    names = [background.name for background in vocabulary]
    kinds: dict[str, Callable[[str, str, int], PhotoSpec]] = {"usual": usual_spec, "hard": hard_spec}
    rows: list[Row] = []
    for kind, spec in kinds.items():
        pixels = drawn([spec(*cell, HARD_SEED + n) for n, cell in enumerate(cells)], cache)
        features, around = demo_features("annotator", pixels)
        photos = Photos(encoder, SPECS, vocabulary, features, features, around, classes)
        for method in ANNOTATORS:
            best, group = np.zeros(len(cells), np.int64), np.zeros(len(cells), np.int64)
            margins, rand = np.zeros(len(cells), np.float32), []
            for places, annotation in photos.annotate(method, np.arange(len(cells))).values():
                best[places], margins[places] = annotation.best, annotation.margins
                group[places] = RULES[DEFAULT](annotation, names)
                rand.append(adjusted_rand_index(group[places].tolist(), truth[places].tolist()))
            is_right = best == truth
            rows.append(
                {
                    "world": kind,
                    "method": method,
                    "photos": len(cells),
                    "highest score right": float(is_right.mean()),
                    "its interval": wilson(is_right),
                    "covered at 90 % right": covered_at(0.9, margins, is_right),
                    "grouped": float((group >= 0).mean()),
                    "groups right": float((group == truth)[group >= 0].mean()),
                    "rand index with truth": float(np.mean(rand)),
                }
            )
    return rows


def demo_photos(cache: Path) -> tuple[Photos, Indices, npt.NDArray[np.bool_]]:
    """The photos, their true background, and whether the selector is right."""
    cells = [(class_id, b) for class_id in CLASS_NAMES for b in BACKGROUNDS for _ in range(PHOTOS_PER_CELL)]
    pixels = training_photos(cells, PHOTO_SEED, cache)
    classes = np.array([class_id for class_id, _ in cells])
    truth = np.array([BACKGROUNDS.index(background) for _, background in cells])
    features, around = demo_features("annotator", pixels)
    selector, _ = demo_features("selector", pixels)
    texts = [PAPER_TEMPLATE.format(label=label) for label in CLASS_NAMES.values()]
    predicted = (selector @ load_encoder("demo:selector").encode_texts(texts).T).argmax(axis=1)
    encoder = load_encoder("demo:annotator")
    photos = Photos(encoder, SPECS, load_vocabulary("demo"), features, features, around, classes)
    return photos, truth, np.array(list(CLASS_NAMES))[predicted] == classes


def draw_world(classes: npt.NDArray[np.str_], truth: Indices, photos_per_class: int, seed: int) -> Indices:
    """Positions of the photos of a world whose backgrounds have their usual shares."""
    rng, chosen = np.random.default_rng(seed), []
    for class_id, habits in HABITS.items():
        total = min(photos_per_class or 10**9, int(PHOTOS_PER_CELL / max(habits)))
        for background, share in enumerate(habits):
            cell = np.flatnonzero((classes == class_id) & (truth == background))
            chosen.append(rng.permutation(cell)[: round(total * share)])
    return np.sort(np.concatenate(chosen))


def demo_row(
    photos: Photos, truth: Indices, is_right: npt.NDArray[np.bool_], size: int, worlds: int, method: str, rule: Groups
) -> Row:
    """What one method and rule gives, over the worlds of one size."""
    names = [background.name for background in photos.vocabulary]
    rows: list[dict[str, float]] = []
    kept_bias, group_bias = [], []
    for seed in range(worlds):
        chosen = draw_world(photos.classes, truth, size, seed)
        group = np.full(len(truth), -2, np.int64)
        rand, highest = [], 0
        for class_rows, annotation in photos.annotate(method, chosen).values():
            group[class_rows] = rule(annotation, names)
            rand.append(adjusted_rand_index(group[class_rows].tolist(), truth[class_rows].tolist()))
            highest += int((annotation.best == truth[class_rows]).sum())
        in_world, grouped = group > -2, group >= 0
        covered = []
        for class_id in CLASS_NAMES:
            for background in range(len(names)):
                cell = in_world & (photos.classes == class_id) & (truth == background)
                covered.append((cell & grouped).sum() / cell.sum())
                found = (photos.classes == class_id) & (group == background)
                if cell.sum() >= 40 and (cell & grouped).any():
                    kept_bias.append(is_right[cell & grouped].mean() - is_right[cell].mean())
                if cell.sum() >= 40 and found.any():
                    group_bias.append(is_right[found].mean() - is_right[cell].mean())
        rows.append(
            {
                "highest score right": highest / in_world.sum(),
                "grouped": grouped.sum() / in_world.sum(),
                "least grouped of a cell": min(covered),
                "groups right": float((group == truth)[grouped].mean()),
                "rand index with truth": float(np.mean(rand)),
            }
        )
    row: Row = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
    if kept_bias:
        row |= {
            "bias of grouped, mean": float(np.mean(kept_bias)),
            "bias of grouped, mean size": float(np.mean(np.abs(kept_bias))),
            "bias of grouped, largest": float(np.max(np.abs(kept_bias))),
            "bias of group, mean size": float(np.mean(np.abs(group_bias))),
            "bias of group, largest": float(np.max(np.abs(group_bias))),
        }
    return row


def demo_tables(cache: Path) -> dict[str, Any]:
    photos, truth, is_right = demo_photos(cache)
    names, config = [background.name for background in photos.vocabulary], GroupConfig()
    methods, rules = [], []
    for size, worlds in SIZES:
        for method in ANNOTATORS:
            row = demo_row(photos, truth, is_right, size, worlds, method, RULES[DEFAULT])
            chosen = draw_world(photos.classes, truth, size, 0)
            annotated = photos.annotate(method, chosen)
            stable = [stability(a.profiles, a.margins, names, config, seed=0) for _, a in annotated.values()]
            right = np.concatenate([a.best == truth[rows] for rows, a in annotated.values()])
            margins = np.concatenate([a.margins for _, a in annotated.values()])
            certain = -np.concatenate([entropies(a.profiles) for _, a in annotated.values()])
            methods.append(
                {"photos a class": size or len(chosen) // len(CLASS_NAMES), "method": method}
                | row
                | {
                    "its interval": wilson(right),
                    "covered at 90 % right": covered_at(0.9, margins, right),
                    "rand index, seeds": float(np.mean([s.seeds for s in stable])),
                    "rand index, halves": float(np.mean([s.halves for s in stable])),
                    "AUC of margin": area_under_curve(margins, right),
                    "AUC of entropy": area_under_curve(certain, right),
                }
            )
        for name, rule in RULES.items():
            row = demo_row(photos, truth, is_right, size, worlds, "combined", rule)
            rules.append({"photos a class": size or len(chosen) // len(CLASS_NAMES), "rule": name} | row)
    return {"demo methods": methods, "demo rules": rules}


def real_photos(folder: Path, model: Path, cache: Path) -> tuple[Photos, list[str]]:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.jpg"))
    encoder = load_encoder(f"local-dir:{model}")
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"real-{model.name}-{encoder.weights_sha256[:16]}-whole.npy"
    if not kept.exists():
        images = [(folder / file).read_bytes() for file in files]
        whole = encoder.encode_whole(images, [Places.read("").weights("")] * len(images), 64)
        np.save(kept, np.stack([encoder.encode_images(images, 64), *whole]))
    classes = np.array([file.split("/")[0] for file in files])
    specs = tuple(ClassSpec(class_id, class_id) for class_id in sorted(set(classes.tolist())))
    texts = StoredTexts(encoder, cache)
    return Photos(texts, specs, load_vocabulary("counteranimal"), *np.load(kept), classes), files


def embedding_times(folder: Path, model: Path) -> Row:
    """Processor seconds of embedding plainly, and of the whole frame with the places around the animal, in turn."""
    encoder = load_encoder(f"local-dir:{model}")
    images = [path.read_bytes() for path in sorted(folder.glob("*/*.jpg"))[:: 1911 // TIMED_PHOTOS][:TIMED_PHOTOS]]
    places = [Places.read("").weights("")] * len(images)
    seconds: dict[str, list[float]] = {"plain": [], "surroundings": []}
    for _ in range(TIMED_ROUNDS + 1):
        for name, embed in (
            ("plain", lambda: encoder.encode_images(images, 64)),
            ("surroundings", lambda: encoder.encode_whole(images, places, 64)),
        ):
            start = time.process_time()
            embed()
            seconds[name].append(time.process_time() - start)
    plain, around = (float(np.median(taken[1:])) for taken in seconds.values())  # the first round warms up
    return {"photos": len(images), "plain, s": plain, "surroundings, s": around, "times": around / plain}


def wilson(is_right: npt.NDArray[np.bool_]) -> list[float]:
    """95 % interval of a share."""
    return [float(end) for end in proportion_confint(is_right.sum(), len(is_right), method="wilson")]


def covered_at(share_right: float, margins: Features, is_right: npt.NDArray[np.bool_]) -> float:
    """Largest share of photos, those of the largest margins, of which so many are right."""
    shares = np.cumsum(is_right[np.argsort(-margins)]) / np.arange(1, len(is_right) + 1)
    return float((np.flatnonzero(shares >= share_right).max(initial=-1) + 1) / len(is_right))


def rand_index(names: Sequence[str], group: Indices, labels: Sequence[str]) -> float:
    """Adjusted Rand index of groups, by the labels that cover their names, with the labels; abstaining is a group."""
    label_of = {name: label for label, covered in COVERED.items() for name in covered}
    said = ["" if number < 0 else label_of.get(names[number], names[number]) for number in group.tolist()]
    return float(adjusted_rand_index(said, list(labels)))


def real_rows(photos: Photos, files: list[str], labels: dict[str, str], rules: Iterable[str]) -> list[Row]:
    names = [background.name for background in photos.vocabulary]
    covered = np.array([[name in COVERED.get(labels.get(file, ""), ()) for name in names] for file in files])
    is_labelled = np.array([labels.get(file) in COVERED for file in files])
    is_plain = np.array([labels.get(file) == "plain" for file in files])
    labelled = [labels[file] for file in np.array(files)[is_labelled].tolist()]
    usual = {}
    for class_id in set(photos.classes.tolist()):
        own = [labels[file] for file in np.array(files)[is_labelled & (photos.classes == class_id)].tolist()]
        usual[class_id] = max(sorted(set(own)), key=own.count) if own else ""
    is_unusual = is_labelled & np.array([labels.get(f) != usual[c] for f, c in zip(files, photos.classes, strict=True)])
    rows, everything = [], np.arange(len(files))
    for method in ANNOTATORS:
        annotated = photos.annotate(method, everything)
        best, margins = np.zeros(len(files), np.int64), np.zeros(len(files), np.float32)
        class_alone = np.zeros(len(files), np.int64)
        for positions_, annotation in annotated.values():
            best[positions_], margins[positions_] = annotation.best, annotation.margins
            class_alone[positions_] = annotation.profiles.mean(axis=0).argmax()
        for rule in rules if method == "combined" else [DEFAULT]:
            group = np.full(len(files), ABSTAINED, np.int64)
            for positions_, annotation in annotated.values():
                group[positions_] = RULES[rule](annotation, names)
            grouped = group >= 0
            right = covered[everything, group] & grouped
            stable = (
                [stability(a.profiles, a.margins, names, GroupConfig(), seed=0) for _, a in annotated.values()]
                if rule == DEFAULT
                else []
            )
            rows.append(
                {
                    "method": method,
                    "rule": rule,
                    "highest score right": float(covered[everything, best][is_labelled].mean()),
                    "its interval": wilson(covered[everything, best][is_labelled]),
                    "same for a whole class": float(covered[everything, class_alone][is_labelled].mean()),
                    "right where unusual": float(covered[everything, best][is_unusual].mean()),
                    "its interval there": wilson(covered[everything, best][is_unusual]),
                    "covered at 90 % right": covered_at(
                        0.9, margins[is_labelled], covered[everything, best][is_labelled]
                    ),
                    "rand index with labels": rand_index(names, group[is_labelled], labelled),
                    "grouped": float(grouped.mean()),
                    "labelled and grouped": float(grouped[is_labelled].mean()),
                    "groups right": float(right[is_labelled & grouped].mean()),
                    "plain grouped": float(grouped[is_plain].mean()),
                    "groups right, plain as wrong": float(right[(is_labelled | is_plain) & grouped].mean()),
                    "rand index, seeds": float(np.mean([s.seeds for s in stable])) if stable else None,
                    "rand index, halves": float(np.mean([s.halves for s in stable])) if stable else None,
                    "labelled": int(is_labelled.sum()),
                    "unusual": int(is_unusual.sum()),
                }
            )
    return rows


def read_labels(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["background"] for row in csv.DictReader(file, delimiter="\t")}


def real_tables(folder: Path, models: Path, cache: Path) -> dict[str, Any]:
    tables = {}
    for name, title, labels in (
        ("duo", "real duo", Path(__file__).with_name("annotation_labels.tsv")),
        ("duo", "real duo, fresh labels", Path(__file__).with_name("annotation_fresh_labels.tsv")),
        ("conse", "real conse", folder / "background_labels.tsv"),
    ):
        photos, files = real_photos(folder, models / name, cache)
        rules = list(RULES) if title == "real duo" else [DEFAULT]
        tables[title] = real_rows(photos, files, read_labels(labels), rules)
    return tables


def time_table() -> list[Row]:
    """Seconds to group one class by simulated profiles."""
    rows = []
    for num_photos, num_backgrounds in ((300, 14), (3_000, 14), (10_000, 14), (5_000, 200), (10_000, 300)):
        rng = np.random.default_rng(0)
        truth = rng.integers(0, num_backgrounds, num_photos)
        scores = np.eye(num_backgrounds, dtype=np.float32)[truth] * 2
        annotation = annotate_class(
            np.asarray(scores + rng.normal(scale=0.5, size=scores.shape), np.float32), num_backgrounds, "combined"
        )
        names = [f"b{index}" for index in range(num_backgrounds)]
        start = time.perf_counter()
        groups = group_photos(annotation.profiles, annotation.margins, names, GroupConfig(), seed=0)
        seconds = time.perf_counter() - start
        kept = sum(group is not None for group in groups) / num_photos
        rows.append({"photos": num_photos, "backgrounds": num_backgrounds, "seconds": seconds, "grouped": kept})
    return rows


def as_markdown(rows: list[Row]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(cell, value))}]"
        return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)

    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([cell(row.get(name)) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure annotation and grouping.")
    parser.add_argument("--only", choices=["demo", "hard", "real", "time"])
    parser.add_argument("--cache", type=Path, default=Path("annotation-cache"))
    parser.add_argument("--photos", type=Path, default=ROOT.parent / "shared" / "photos")
    parser.add_argument("--models", type=Path, help="holds duo and conse")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "figures" / "annotation.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tables: dict[str, Any] = {}
    if args.only in (None, "demo"):
        tables |= demo_tables(args.cache)
    if args.only in (None, "hard"):
        tables["hard world"] = hard_rows(args.cache)
    if args.only in (None, "real"):
        if args.models and args.photos.is_dir():
            tables |= real_tables(args.photos, args.models, args.cache)
            tables["real time"] = [embedding_times(args.photos, args.models / "duo")]
        else:
            print("left out the real photos: give --photos and --models", file=sys.stderr)
    if args.only in (None, "time"):
        tables["time"] = time_table()
    for title, rows in tables.items():
        print(f"\n## {title}\n\n{as_markdown(rows)}", flush=True)
    before = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    rounded = json.loads(json.dumps(tables), parse_float=lambda text: round(float(text), 4))
    args.output.write_text(json.dumps(before | rounded, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
