"""The observer as the independent unit: how alike one observer's photos are, and what each is worth.

Photos by one observer share that observer's luck (place, season, camera, skill). If the
correlation between the outcomes of two photos of one observer in one group is `rho`, an
observer's n photos are worth n / (1 + (n - 1) rho) independent ones (Kish 1965, section 5.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from statsmodels.stats.meta_analysis import combine_effects

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.integer[Any]]
"""Of any width: of a class of ten million rows each byte counts."""

DISCOVER, CONFIRM = 0, 1
"""The halves' indices in every array with an axis of halves."""


MIN_SCALE = 1e-3
"""Selectors that are right in turns, never together, have a mean without any variance: intervals stay finite."""
MOST_STEPS = 50
STEP = 1e-6
"""The correlation is settled when a step changes it by less."""
PART_ROWS = 250_000
"""Rows of classes from which arrays are made at once."""
MOST_LOST = 0.9
"""Of a group's variance to its estimated mean, where one observer gave nearly all of it."""


@dataclass(frozen=True)
class Results:
    """One class's outcomes, one row a group and observer.

    Attributes:
        num_groups: groups of the class, G.
        group: (C,) index of the group, 0 .. G-1.
        half: (C,) DISCOVER or CONFIRM, the same for all rows of an observer.
        observer: (C,) index of the observer, from 0.
        num_photos: (C,) photos, at least 1.
        sum_correct: (C,) sum over photos of the outcome: 1 = right, 0 = wrong, or the mean over selectors;
            or the rank of the selectors' margins.
        sum_squares: (C,) sum over photos of the squared outcome.
    """

    num_groups: int
    group: Indices
    half: Indices
    observer: Indices
    num_photos: Floats
    sum_correct: Floats
    sum_squares: Floats

    def by_half(self, values: Floats) -> Floats:
        """(C,) -> (2, G): sums over observers, by half and group."""
        stratum = self.half.astype(np.int64) * self.num_groups + self.group
        sums: Floats = np.bincount(stratum, values, 2 * self.num_groups).astype(np.float64)
        return sums.reshape(2, self.num_groups)

    def by_group(self, values: Floats) -> Floats:
        """(C,) -> (G,): sums over observers, by group."""
        return np.bincount(self.group, values, self.num_groups).astype(np.float64)

    def only(self, groups: Bools) -> Results:
        """The results of some groups, which are numbered anew.

        Args:
            groups: (G,) those that stay.
        """
        kept = groups[self.group]
        number = np.cumsum(groups) - 1
        return Results(
            int(groups.sum()),
            number[self.group[kept]],
            self.half[kept],
            self.observer[kept],
            self.num_photos[kept],
            self.sum_correct[kept],
            self.sum_squares[kept],
        )


@dataclass(frozen=True)
class Dispersion:
    """How outcomes scatter around their group's accuracy.

    Attributes:
        observer_correlation: correlation of two photos of one observer in one group, in [0, 1].
        scale: variance of one photo's outcome over p (1 - p): 1 for right-or-wrong outcomes,
            less for the mean over several selectors.
        across_groups: correlation of two photos of one observer in different groups of a class; its
            size is at most `observer_correlation`.
        by_background: `observer_correlation` of each background, shrunk to the pooled one.
        by_class: `observer_correlation` of each class, shrunk likewise.
    """

    observer_correlation: float
    scale: float
    across_groups: float = 0.0
    by_background: Mapping[str, float] = field(default_factory=dict)
    by_class: Mapping[str, float] = field(default_factory=dict)

    def of_class(self, class_id: str) -> Dispersion:
        """The dispersion of one class: what it has beyond the pooled correlation, each of its backgrounds has too."""
        pooled = self.observer_correlation
        if class_id not in self.by_class or pooled <= 0:
            return self
        own = self.by_class[class_id]
        by_background = {name: min(max(rho + own - pooled, 0.0), 1.0) for name, rho in self.by_background.items()}
        return replace(self, across_groups=self.across_groups * own / pooled, by_background=by_background)

    def weights(self, num_photos: Floats, correlation: Floats | None = None) -> Floats:
        """(C,) -> (C,): what each observer's photos are worth, in independent photos.

        Args:
            num_photos: (C,) photos of each row.
            correlation: (C,) of each row's photos; None = the pooled one.
        """
        rho = self.observer_correlation if correlation is None else correlation
        return num_photos / (1.0 + (num_photos - 1.0) * rho)

    def correlations(self, backgrounds: Sequence[str]) -> Floats:
        """(G,) the correlation of two photos of one observer in each of a class's groups."""
        return np.array([self.by_background.get(name, self.observer_correlation) for name in backgrounds], np.float64)


def estimate_dispersion(
    classes: Iterable[Results], backgrounds: Iterable[Sequence[str]] = (), class_ids: Sequence[str] = ()
) -> Dispersion:
    """The dispersion pooled over all classes and groups, from pairs of photos of one observer.

    Two photos of one observer in a group of accuracy p and variance v have residuals whose product is
    v rho on average. Products are summed over all pairs and divided by what they would be at rho = 1,
    each group against its own variance, so that it does not matter whether easy groups have prolific
    observers. A group's accuracy is its photos' own mean, which draws residuals of one observer
    together and apart; expectations are exact in that. An observer's pairs weigh
    1 / (1 + (n - 1) rho) squared each, for pairs of one prolific observer say nearly the same thing.

    Args:
        classes: outcomes of each class.
        backgrounds: names of each class's groups, in the order of `classes`; without them no
            correlation by background is given.
        class_ids: names of the classes, in their order; without them no correlation by class is given.
    """
    strata = _AllStrata.of(classes)
    mean, photos, squares, is_used = (strata.all(name) for name in ("mean", "photos", "squares", "is_used"))
    binomial = float((mean * (1 - mean) * photos)[is_used].sum())
    scale = max(float(squares[is_used].sum()) / binomial, MIN_SCALE) if binomial > 0 else 1.0
    rho = 0.0
    for _ in range(MOST_STEPS):
        products, expected = strata.within(rho)
        bottom = float(expected.sum())
        step = float(np.clip(products.sum() / bottom, 0.0, 1.0)) if bottom > 0 else 0.0
        rho, last = step, rho
        if abs(rho - last) < STEP:
            break
    names = [name for groups in backgrounds for name in groups]
    owners = np.repeat(class_ids, strata.num_groups).tolist() if class_ids else []
    return Dispersion(
        rho,
        scale,
        strata.across(rho),
        *(strata.shrunken_by(rho, each) if each else {} for each in (names, owners)),
    )


@dataclass(frozen=True)
class _Strata:
    """The groups of some classes (S of them) in one row of arrays, and the (C,) rows of observers in them."""

    stratum: npt.NDArray[np.int32]
    observer: npt.NDArray[np.int32]
    size: npt.NDArray[np.int32]
    """(C,) photos."""
    residual: Floats
    """(C,) summed outcome less what the group's mean would give."""
    own_squares: Floats
    """(C,) sum over photos of the squared residual."""
    photos: Floats
    """(S,)"""
    mean: Floats
    """(S,) mean outcome."""
    squares: Floats
    """(S,) sum over photos of the squared residual."""
    is_used: Bools
    """(S,) two observers or more; a group of one says nothing of how observers differ."""

    @classmethod
    def of(cls, classes: Sequence[Results]) -> _Strata:
        groups = np.cumsum([0, *(results.num_groups for results in classes)])
        people = np.cumsum([0, *(int(results.observer.max(initial=-1)) + 1 for results in classes)])
        size = int(groups[-1])

        def joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
            return np.concatenate(parts) if parts else np.zeros(0)

        stratum = joined([results.group + first for results, first in zip(classes, groups[:-1], strict=True)])
        observer = joined([results.observer + first for results, first in zip(classes, people[:-1], strict=True)])
        stratum, observer = stratum.astype(np.int32), observer.astype(np.int32)
        n, correct, squares = (
            joined([getattr(results, name) for results in classes])
            for name in ("num_photos", "sum_correct", "sum_squares")
        )
        photos = np.bincount(stratum, n, size).astype(np.float64)
        mean = np.divide(np.bincount(stratum, correct, size), photos, out=np.zeros(size), where=photos > 0)
        of_row = mean[stratum]
        own_squares = squares - 2 * of_row * correct + n * of_row**2
        is_used = np.bincount(stratum, minlength=size) > 1
        of_strata = np.maximum(np.bincount(stratum, own_squares, size), 0.0)
        residual = correct - n * of_row
        return cls(stratum, observer, n.astype(np.int32), residual, own_squares, photos, mean, of_strata, is_used)

    @property
    def num_photos(self) -> Floats:
        """(C,) of each row."""
        return self.size.astype(np.float64)

    def _sum(self, values: Floats) -> Floats:
        """(C,) -> (S,)"""
        return np.bincount(self.stratum, values, len(self.photos)).astype(np.float64)

    def variance(self, rho: float) -> Floats:
        """(S,) of one photo's outcome, corrected for the estimated mean."""
        photos, n = np.maximum(self.photos, 1.0), self.num_photos
        lost = (1 + rho * self._sum(n * (n - 1)) / photos) / photos
        return np.asarray(self.squares / photos / (1 - np.minimum(lost, MOST_LOST)))

    def within(self, rho: float) -> Floats:
        """(2, S): weighted products over pairs in one group, and what they would be at a correlation of 1.

        With N photos of a group, P = sum of n (n - 1) and weights a, the products of residuals around the group's own
        mean sum to v (rho (sum a n (n - 1) - 2 / N sum a n (n - 1)^2 + P / N^2 sum a n (n - 1)) - sum a n (n - 1) / N).
        """
        n, photos = self.num_photos, np.maximum(self.photos, 1.0)
        weight = 1 / (1 + (n - 1) * rho) ** 2
        pairs = self._sum(weight * n * (n - 1))
        expected = pairs - 2 * self._sum(weight * n * (n - 1) ** 2) / photos
        expected = expected + pairs * self._sum(n * (n - 1)) / photos**2
        variance = self.variance(rho)
        products = self._sum(weight * (self.residual**2 - self.own_squares)) + variance * pairs / photos
        return np.where(self.is_used, [products, variance * expected], 0.0)

    def across(self, rho: float) -> tuple[sparse.csr_array, sparse.csr_array]:
        """(S, S) products over pairs in two groups, and what they would be at a correlation of 1.

        The same sums over pairs of groups g, h, with weights m = n / (1 + (n - 1) rho): products sum to
        the correlation times sqrt(v_g v_h) times sum m_g m_h - sum m_g m_h n_h / N_h - sum m_g n_g m_h / N_g
        + (sum n_g n_h) (sum m_g m_h) / (N_g N_h).
        """
        size = len(self.photos)
        shape = (int(self.observer.max(initial=-1)) + 1, size)
        used = self.is_used[self.stratum]
        worth = 1 / (1 + (self.num_photos - 1) * rho)

        def by_observer(values: Floats) -> sparse.csr_array:
            return sparse.csr_array((values[used], (self.observer[used], self.stratum[used])), shape=shape)

        n, m, both = (by_observer(self.num_photos * factor) for factor in (1.0, worth, worth * self.num_photos))
        residual = by_observer(self.residual * worth)
        share = sparse.diags_array(1 / np.maximum(self.photos, 1.0))
        photos, weights, drawn = n.T @ n, m.T @ m, (m.T @ both) @ share
        expected = weights - drawn - drawn.T + (share @ photos @ share) * weights
        deviation = sparse.diags_array(np.sqrt(self.variance(rho)))
        products = residual.T @ residual
        return products, deviation @ expected @ deviation

    def surprise(self, rho: float) -> Floats:
        """(C,) what each row's weighted products have beyond the pooled correlation."""
        n = self.num_photos
        weight = 1 / (1 + (n - 1) * rho) ** 2
        surprise = weight * (self.residual**2 - self.own_squares - rho * self.variance(rho)[self.stratum] * n * (n - 1))
        return np.where(self.is_used[self.stratum], surprise, 0.0)


@dataclass(frozen=True)
class _AllStrata:
    """The groups of all classes, some classes at a time, for what is computed of their rows is many times as large.

    Attributes:
        parts: the classes.
        num_groups: of each class.
    """

    parts: list[_Strata]
    num_groups: list[int]

    @classmethod
    def of(cls, classes: Iterable[Results]) -> _AllStrata:
        parts: list[_Strata] = []
        held: list[Results] = []
        num_groups = []
        for results in classes:
            held.append(results)
            num_groups.append(results.num_groups)
            if sum(len(one.group) for one in held) >= PART_ROWS:
                parts.append(_Strata.of(held))
                held = []
        return cls([*parts, _Strata.of(held)], num_groups)

    def all(self, name: str) -> npt.NDArray[Any]:
        """(S,) an attribute of all groups."""
        return np.concatenate([getattr(part, name) for part in self.parts])

    def within(self, rho: float) -> tuple[Floats, Floats]:
        """(S,), (S,): as `_Strata.within`."""
        products, expected = np.concatenate([part.within(rho) for part in self.parts], axis=1)
        return products, expected

    def across(self, rho: float) -> float:
        """The correlation of two photos of one observer in different groups of a class, within [-rho, rho]."""
        both = [part.across(rho) for part in self.parts]
        products, expected = (_joined(list(of_parts)) for of_parts in zip(*both, strict=True))
        top = float(products.sum() - products.trace())
        bottom = float(expected.sum() - expected.trace())
        return float(np.clip(top / bottom, -rho, rho)) if bottom > 0 else 0.0

    def shrunken_by(self, rho: float, names: Sequence[str]) -> dict[str, float]:
        """The correlation of each background over all classes, or of each class, shrunk to the pooled one.

        Its standard error is that of a sum over its observers. It keeps the share t / (t + error squared) of its
        distance from the pooled correlation, t being the variance between backgrounds (or classes) beyond their errors
        (Paule and Mandel 1982; by moments, one small background of another kind would hardly count).

        Args:
            rho: the pooled correlation.
            names: (S,) background or class of each group.
        """
        known, number = np.unique(np.asarray(names), return_inverse=True)
        products, expected = (np.bincount(number, values, len(known)) for values in self.within(rho))
        scatter, first = np.zeros(len(known)), 0
        for part in self.parts:
            of_part = number[first : first + len(part.photos)]
            first += len(of_part)
            np.add.at(scatter, of_part[part.stratum], part.surprise(rho) ** 2)
        is_known = (expected > 0) & (scatter > 0)
        found = np.full(len(known), rho)
        found[is_known] = _shrunken(
            products[is_known] / expected[is_known], scatter[is_known] / expected[is_known] ** 2, rho
        )
        return dict(zip(known.tolist(), np.clip(found, 0.0, 1.0).tolist(), strict=True))


def _joined(blocks: list[sparse.csr_array]) -> sparse.csr_array:
    """Square matrices along the diagonal of one, their elements in the order in which they lie."""
    blocks = [block.tocsr() for block in blocks]
    starts = np.cumsum([0, *(block.shape[0] for block in blocks)])
    filled = np.cumsum([0, *(block.nnz for block in blocks)])
    return sparse.csr_array(
        (
            np.concatenate([block.data for block in blocks]),
            np.concatenate([block.indices + start for block, start in zip(blocks, starts[:-1], strict=True)]),
            np.concatenate([[0], *(block.indptr[1:] + at for block, at in zip(blocks, filled[:-1], strict=True))]),
        ),
        shape=(starts[-1], starts[-1]),
    )


def _shrunken(values: Floats, variances: Floats, centre: float) -> Floats:
    """(B,) values drawn towards the centre, by the share of their scatter that their errors explain."""
    if len(values) < 2:
        return np.full(len(values), centre)
    between = max(float(combine_effects(values, variances, method_re="iterated").tau2), 0.0)
    return np.asarray(centre + (values - centre) * between / (between + variances))
