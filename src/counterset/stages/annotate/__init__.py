"""Annotate: a profile of background scores for each photo of one class.

The methods are in `methods`, one file each. All work on unit-length features of the annotator
and never see the selector or its predictions. `benchmarks/annotation.py` measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.backgrounds import Background, Templates, load_templates
from counterset.classes import ClassSpec
from counterset.config_sections import ANNOTATORS, AnnotateConfig
from counterset.stages.annotate.prompts import Features, Method, Prompts, TextEncoder


class Annotation(NamedTuple):
    """The backgrounds of N photos of one class.

    Attributes:
        profiles: (N, B) scores, higher is likelier.
        best: (N,) position of the highest.
        margins: (N,) highest score minus the highest other, excluded phrases included:
            below 0 where one of those is likelier than every background.
    """

    profiles: Features
    best: npt.NDArray[np.int64]
    margins: Features


def background_classifiers(
    encoder: TextEncoder,
    vocabulary: Sequence[Background],
    specs: Sequence[ClassSpec],
    method: str,
    templates: Templates | None = None,
    *,
    are_together: bool = False,
) -> dict[str, Features]:
    """class_id -> (B + E, D) text directions: the B backgrounds, then the E excluded phrases.

    Args:
        encoder: the annotator.
        vocabulary: the backgrounds.
        specs: the classes.
        method: one of ANNOTATORS.
        templates: None = the packaged ones.
        are_together: the texts of many classes are encoded in one call, which is quicker; for an encoder by which a
            text has the same bits whatever else is encoded, for a class may depend on no other.

    Raises:
        ConfigError: no such method.
    """
    chosen: Method = ANNOTATORS[method]
    prompts = Prompts(encoder, vocabulary, templates or load_templates(), specs if are_together else ())
    return {spec.class_id: chosen.directions(prompts, spec) for spec in specs}


def annotate_class(scores: Features, num_backgrounds: int, method: str) -> Annotation:
    """The backgrounds of all photos of one class.

    Args:
        scores: (N, B + E) image features @ background classifier.T.
        num_backgrounds: B.
        method: as for `background_classifiers`.
    """
    chosen: Method = ANNOTATORS[method]
    scores = chosen.scores(scores)
    profiles = np.asarray(scores[:, :num_backgrounds], np.float32)
    best = profiles.argmax(axis=1) if len(profiles) else np.zeros(0, np.int64)
    others = np.array(scores, np.float32)
    others[np.arange(len(scores)), best] = -np.inf
    highest = profiles[np.arange(len(profiles)), best]
    return Annotation(profiles, best, np.asarray(highest - others.max(axis=1, initial=-np.inf), np.float32))


def places_and_elsewhere(
    encoder: TextEncoder,
    vocabulary: Sequence[Background],
    elsewhere: Sequence[str],
    templates: Templates | None = None,
) -> Features:
    """(B + M, D) text directions that name no class: of the B backgrounds, then of M phrases of other places."""
    others = tuple(Background(phrase, (phrase,)) for phrase in elsewhere)
    bare = tuple(Background(background.name, background.phrases) for background in vocabulary)
    return Prompts(encoder, (*bare, *others), templates or load_templates()).places


TIE = 1e-5
"""Cosines that differ by less are equal."""


def shares_elsewhere(features: Features, directions: Features, num_backgrounds: int) -> Features:
    """(N, B) of each photo and background, the share of M phrases of other places that score above the background.

    A name that fits stands out from a crowd of places that do not, however near the second name of the vocabulary is,
    so this is no margin. Phrases that are nearer to the background than to any other of the vocabulary do not count
    against it: they may mean the same.

    Args:
        features: (N, D) of the photos, of unit length.
        directions: (B + M, D) `places_and_elsewhere`.
        num_backgrounds: B.
    """
    names, crowd = directions[:num_backgrounds], directions[num_backgrounds:]
    closeness = crowd @ names.T
    # (M, B): a phrase that is as near to a second name means neither
    is_nearest = closeness > np.sort(closeness, axis=1)[:, [-2]] + TIE
    # (N, D) @ (D, B) -> (B, N), (N, D) @ (D, M) -> (M, N): the phrases that are above are counted row by row
    of_names, of_crowd = (np.ascontiguousarray((features @ part.T).T) for part in (names, crowd))
    shares = np.zeros((len(features), num_backgrounds), np.float32)
    for number in range(num_backgrounds if len(crowd) else 0):
        is_above = of_crowd > of_names[number]
        is_above[is_nearest[:, number]] = False
        shares[:, number] = is_above.sum(axis=0, dtype=np.int32) / len(crowd)
    return shares


def none_of_these(annotation: Annotation, share: Features, max_elsewhere: float) -> Annotation:
    """The annotation with a margin below 0 for photos that other places suit better than their name.

    Args:
        annotation: of N photos.
        share: (N,) of phrases of other places that score above the photo's name.
        max_elsewhere: the largest that leaves the name; 1 = any.
    """
    margins = np.where(share > max_elsewhere, np.minimum(annotation.margins, max_elsewhere - share), annotation.margins)
    return annotation._replace(margins=np.asarray(margins, np.float32))


def background_rows(
    class_id: str,
    photo_ids: Sequence[str],
    annotation: Annotation,
    groups: Sequence[str | None],
    names: Sequence[str],
    config: AnnotateConfig,
    share_elsewhere: Features | None = None,
) -> pa.Table:
    """One row of the backgrounds table per photo of one class, in their order.

    The annotator abstains where the photo has no group, and where its margin is below `min_margin`.

    Args:
        class_id: the class.
        photo_ids: the N photos.
        annotation: of the photos.
        groups: (N,) each photo's group, None where grouping abstains.
        names: of the B backgrounds.
        config: the smallest margin.
        share_elsewhere: (N,) of phrases of other places that score above each photo's name; None = not known.
    """
    has_group = np.array([name is not None for name in groups], np.bool_)
    is_confident = has_group & (annotation.margins >= config.min_margin)
    num_photos, num_backgrounds = annotation.profiles.shape
    ends = np.arange(num_photos + 1, dtype=np.int32) * num_backgrounds
    return pa.table(
        {
            "photo_id": pa.array(photo_ids, pa.string()),
            "class_id": pa.repeat(class_id, num_photos),
            "profile": pa.ListArray.from_arrays(ends, np.ascontiguousarray(annotation.profiles).reshape(-1)),
            "background": pa.array(names, pa.string()).take(annotation.best),
            "margin": annotation.margins,
            "group": pc.if_else(is_confident, pa.array(groups, pa.string()), None),
            "is_confident": is_confident,
            "elsewhere": pa.nulls(num_photos, pa.float32()) if share_elsewhere is None else share_elsewhere,
        }
    )
