"""Names doubted without labels: how often of groups whose name is right, and of groups whose name is wrong.

    python benchmarks/annotation_doubts.py --models FOLDER [--cache FOLDER]

The real photos of `benchmarks/annotation.py` (which says what FOLDER holds), their labels by eye, and four kinds of
vocabulary: the packaged one; random parts of it, under which photos of the places that were left out get a wrong name;
styles, which say nothing of places; and random places that hardly any of the photos shows. A group counts as right
where at least 80 % of its photos with a label truly show its name, as wrong below 50 %, of five labels or more. Prints
a table for every limit on a photo's and on a group's share, and writes it to docs/figures/annotation_doubts.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import annotation
import numpy as np
import torch

from counterset.backgrounds import Background, load_elsewhere, load_vocabulary
from counterset.config import GroupConfig
from counterset.config_sections import ANNOTATORS
from counterset.stages.annotate import places_and_elsewhere, shares_elsewhere

HERE = Path(__file__).resolve().parent
METHODS = ("combined", "surroundings")
STYLES = tuple(
    Background(name, phrases)
    for name, phrases in (
        ("studio", ("against a white backdrop", "cut out on white")),
        ("drawing", ("as a pencil drawing", "as a painting")),
        ("night", ("late at night", "in the darkness")),
        ("bright", ("in bright sunshine", "at noon")),
        ("fog", ("in thick fog", "in mist")),
        ("close-up", ("in a close-up", "with its face filling the picture")),
    )
)
PART, DRAWS, SEED = 6, 20, 5
"""Names of a random vocabulary, and how many of these are drawn."""
MIN_GROUP, MIN_LABELS = 5, 5
RIGHT, WRONG = 0.8, 0.5
OF_PHRASES = (0.02, 0.05, 0.1)
OF_PHOTOS = (1 / 3, 1 / 2, 2 / 3)


class Group(NamedTuple):
    """One group: how many of its labelled photos show its name, and of how many photos other places suit better."""

    num_labels: int
    num_right: int
    doubted: dict[float, float]
    """Limit of the share of phrases -> share of the group's photos above it."""


def groups_of(
    photos: annotation.Photos, elsewhere: Sequence[str], method: str, labels: Sequence[str]
) -> Iterator[Group]:
    """The groups of MIN_GROUP photos or more of every class."""
    names = [background.name for background in photos.vocabulary]
    directions = places_and_elsewhere(photos.encoder, photos.vocabulary, elsewhere)
    for rows, found in photos.annotate(method, np.arange(len(labels))).values():
        vectors = photos.features[rows]
        if ANNOTATORS[method].surroundings:
            vectors = ANNOTATORS[method].vectors(photos.whole[rows], photos.around[rows])
        share = shares_elsewhere(vectors, directions, len(names))[np.arange(len(rows)), found.best]
        group = annotation.positions(
            annotation.group_photos(found.profiles, found.margins, names, GroupConfig(min_photos=MIN_GROUP), seed=0),
            names,
        )
        for number, name in enumerate(names):
            own = group == number
            if own.sum() < MIN_GROUP:
                continue
            said = [labels[row] for row in rows[own] if labels[row] in annotation.COVERED or labels[row] == "plain"]
            right = sum(name in annotation.COVERED.get(label, ()) for label in said)
            yield Group(len(said), right, {limit: float((share[own] > limit).mean()) for limit in OF_PHRASES})


def vocabularies() -> Iterator[tuple[str, tuple[Background, ...], list[str]]]:
    """Kind, names, and the phrases of other places beside them."""
    packaged, phrases = tuple(load_vocabulary("counteranimal")), list(load_elsewhere())
    yield "packaged", packaged, phrases
    yield "styles", STYLES, phrases
    rng = np.random.default_rng(SEED)
    for _ in range(DRAWS):
        yield "parts", tuple(packaged[n] for n in sorted(rng.choice(len(packaged), PART, replace=False))), phrases
    for _ in range(DRAWS):
        chosen = [phrases[n] for n in sorted(rng.choice(len(phrases), PART, replace=False))]
        others = [phrase for phrase in phrases if phrase not in chosen]
        yield "unfit", tuple(Background(phrase, (phrase,)) for phrase in chosen), others


def row_of(method: str, of_phrases: float, of_photos: float, groups: dict[str, list[Group]]) -> annotation.Row:
    """Shares of groups that one pair of limits doubts."""

    def doubted(some: Sequence[Group]) -> str:
        return f"{sum(group.doubted[of_phrases] > of_photos for group in some)} of {len(some)}"

    judged = [group for kind in ("packaged", "parts") for group in groups[kind] if group.num_labels >= MIN_LABELS]
    return {
        "method": method,
        "share of phrases": of_phrases,
        "share of photos": round(of_photos, 2),
        "right name": doubted([group for group in judged if group.num_right >= RIGHT * group.num_labels]),
        "between": doubted([g for g in judged if WRONG * g.num_labels <= g.num_right < RIGHT * g.num_labels]),
        "wrong name": doubted([group for group in judged if group.num_right < WRONG * group.num_labels]),
        **{kind: doubted(of_kind) for kind, of_kind in groups.items()},
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Measure the doubt in names.")
    parser.add_argument("--cache", type=Path, default=Path("annotation-cache"))
    parser.add_argument("--photos", type=Path, default=annotation.ROOT.parent / "shared" / "photos")
    parser.add_argument("--models", type=Path, required=True, help="holds duo")
    parser.add_argument("--output", type=Path, default=annotation.ROOT / "docs" / "figures" / "annotation_doubts.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos, files = annotation.real_photos(args.photos, args.models / "duo", args.cache)
    known = annotation.read_labels(HERE / "annotation_labels.tsv")
    known |= annotation.read_labels(HERE / "annotation_fresh_labels.tsv")
    labels = [known.get(file, "") for file in files]
    rows = []
    for method in METHODS:
        groups: dict[str, list[Group]] = {}
        for kind, vocabulary, elsewhere in vocabularies():
            own = replace(photos, vocabulary=vocabulary)
            groups.setdefault(kind, []).extend(groups_of(own, elsewhere, method, labels))
        rows += [row_of(method, phrases, share, groups) for phrases in OF_PHRASES for share in OF_PHOTOS]
    print(annotation.as_markdown(rows))
    args.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
