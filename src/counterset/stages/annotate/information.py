"""Whether an annotator's names say anything of the backgrounds: a check without labels.

Photos of different classes whose edges look alike were taken in like places. An annotator that sees the places scores
them alike; one whose scores follow the animal does not, for the animals differ. The edges are described by colours and
contrasts alone, so no model has a part in saying what looks alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
from PIL import Image

Features = npt.NDArray[np.float32]

MAX_PHOTOS = 1_000
"""More are not looked at: the check takes seconds, and its error is small by then."""
MIN_PHOTOS = 60
"""Of fewer nothing is said."""
MIN_INFORMATION = 0.03
"""Annotators that see backgrounds were measured at 0.06 and above, one that does not below 0.01 (docs/method.md)."""
ERRORS = 1.64
"""Names are called empty where even so many standard errors more would leave them below."""
NUM_DEALS = 199
NUM_NEIGHBOURS = 10

SIDE_PX = 64
STRIP_PX = 10


@dataclass(frozen=True)
class Information:
    """How much of a photo's profile is shared by photos of other classes with like edges.

    Attributes:
        value: mean cosine between the profiles of such photos, each less its class's mean profile, minus what it is
            when profiles are dealt anew within each class; 0 = names say nothing that the class does not say.
        error: standard deviation of that mean over the deals.
        num_photos: looked at.
    """

    value: float
    error: float
    num_photos: int

    @property
    def is_empty(self) -> bool:
        """Whether the names surely say next to nothing of the backgrounds."""
        return self.value + ERRORS * self.error < MIN_INFORMATION


def edges(picture: Image.Image) -> Features:
    """(28,) colours and contrasts of a picture's four edges: means and spreads of brightness and two colour
    differences, and mean contrast, of each.

    Args:
        picture: upright, in RGB.
    """
    small = np.asarray(picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), np.float32) / 255
    red, green, blue = small.transpose(2, 0, 1)
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    contrast = np.hypot(*np.gradient(brightness))
    # 4 x (H, W) -> (H, W, 4)
    layers = np.stack([brightness, red - green, blue - green, contrast], axis=-1)
    inner = slice(STRIP_PX, -STRIP_PX)
    strips = (layers[:STRIP_PX], layers[-STRIP_PX:], layers[inner, :STRIP_PX], layers[inner, -STRIP_PX:])
    parts = [part for strip in strips for part in (strip.mean((0, 1)), strip[..., :3].std((0, 1)))]
    return np.asarray(np.concatenate(parts), np.float32)


def information(profiles: Features, looks: Features, classes: npt.NDArray[np.str_], *, seed: int) -> Information | None:
    """What the profiles of N photos say beyond the class; None where too few photos of two classes are left to tell.

    Args:
        profiles: (N, B) background scores.
        looks: (N, 28) of the same photos, by `edges`.
        classes: (N,) class ids.
        seed: of the deals.
    """
    _, members, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if len(counts) < 2 or len(classes) < MIN_PHOTOS or len(classes) - counts.max() < NUM_NEIGHBOURS:
        return None
    neighbours = _neighbours(looks, members, int(counts.max()))
    known = neighbours >= 0
    own = _beyond_class(profiles, members)

    def agreement(dealt: Features) -> float:
        # (N, B) x (N, K, B) -> (N, K)
        cosines = np.einsum("nb,nkb->nk", dealt, dealt[neighbours])
        return float(cosines[known].mean())

    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(members == number) for number in range(len(counts))]
    dealt_anew = []
    for _ in range(NUM_DEALS):
        order = np.arange(len(classes))
        for place in places:
            order[place] = rng.permutation(place)
        dealt_anew.append(agreement(own[order]))
    return Information(agreement(own) - float(np.mean(dealt_anew)), float(np.std(dealt_anew)), len(classes))


def _beyond_class(profiles: Features, members: npt.NDArray[np.int64]) -> Features:
    """(N, B) of unit length: each profile's shape, less its class's mean."""
    shapes = profiles - profiles.mean(axis=1, keepdims=True)
    totals = np.zeros((members.max() + 1, profiles.shape[1]))
    np.add.at(totals, members, shapes)
    own = shapes - (totals / np.bincount(members)[:, None])[members]
    return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12), np.float32)


def _neighbours(looks: Features, members: npt.NDArray[np.int64], largest: int) -> npt.NDArray[np.int64]:
    """(N, NUM_NEIGHBOURS) nearest photos of other classes by ranks of their looks; -1 where there are no more."""
    ranks = np.ascontiguousarray(looks.argsort(axis=0).argsort(axis=0) / len(looks), np.float32)
    index = faiss.IndexFlatL2(ranks.shape[1])
    index.add(ranks)
    # of the nearest, at most a whole class is the photo's own
    _, nearest = index.search(ranks, min(len(ranks), largest + NUM_NEIGHBOURS))
    chosen = np.full((len(ranks), NUM_NEIGHBOURS), -1, np.int64)
    for row, candidates in enumerate(nearest):
        others = candidates[members[candidates] != members[row]][:NUM_NEIGHBOURS]
        chosen[row, : len(others)] = others
    return chosen
