"""Weights of patients under the uniform Dirichlet distribution, with a worst-case patient among them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitdose.stats.noninferiority import draws_for

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_T = TypeVar("_T")

_MAX_WEIGHTS = 40_000_000
_LEAST_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Draws:
    """Weightings of one cohort's patients; the same for every point and metric.

    Parameters
    ----------
    patients : numpy.ndarray
        ``(n_patients, draws)`` float32, standard exponential.
    worst : numpy.ndarray
        ``(n_classes, draws)`` float32: of the worst-case patient, were it of that class.
    stratum : numpy.ndarray
        ``(n_patients,)`` int: class of each patient.
    """

    patients: Floats
    worst: Floats
    stratum: Ints
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, stratum: Ints, n_classes: int, *, alpha: float, rng: np.random.Generator) -> Draws:
        """Draw as many weightings as a test at ``alpha`` needs, within a bound on memory."""
        count = draws_for(alpha)
        if count * stratum.size > _MAX_WEIGHTS:
            count = max(_LEAST_DRAWS, _MAX_WEIGHTS // stratum.size)
        patients = rng.standard_exponential((stratum.size, count), dtype=np.float32)
        return cls(patients, rng.standard_exponential((n_classes, count), dtype=np.float32), stratum)

    @property
    def n_draws(self) -> int:
        """Number of weightings."""
        return int(self.patients.shape[1])

    def kept(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what was made under a key before, or make it: pristine's part is the same for all points."""
        if key not in self._kept:
            self._kept[key] = make()
        found: _T = self._kept[key]
        return found

    @cached_property
    def _blocks(self) -> dict[int, tuple[Ints, Floats]]:
        """Patients of each class and their weights, a block of rows per class."""
        places = {int(c): np.flatnonzero(self.stratum == c) for c in np.unique(self.stratum)}
        return {c: (rows, self.patients[rows]) for c, rows in places.items()}

    @cached_property
    def _totals(self) -> dict[int, Floats]:
        """``(draws,)`` per class: the weight of its patients."""
        return {c: block.sum(0) for c, (_, block) in self._blocks.items()}

    def scales(self, worst_class: int) -> tuple[dict[int, Floats], Floats]:
        """Return what brings each class back to its number of patients, worst-case patient counted.

        Returns
        -------
        dict of int to numpy.ndarray
            ``(draws,)`` factor of the weights of each class's patients.
        numpy.ndarray
            ``(draws,)``: weight of the worst-case patient, scaled.
        """
        extra, found = self.worst[worst_class], {}
        for c, total in self._totals.items():
            size = np.float32(self._blocks[c][0].size)
            found[c] = size / (total + extra if c == worst_class else total)
        return found, extra * found[worst_class]

    def sums(self, features: NDArray[np.float64], worst: NDArray[np.float64], worst_class: int) -> Floats:
        """Add per-patient features up under each weighting, class sizes kept.

        Parameters
        ----------
        features : numpy.ndarray
            ``(n_patients, k)``.
        worst : numpy.ndarray
            ``(k,)``: those of the worst-case patient.
        worst_class : int
            Its class; one that has patients.

        Returns
        -------
        numpy.ndarray
            ``(draws, k)`` float32.
        """
        scales, extra = self.scales(worst_class)
        total = np.outer(worst.astype(np.float32), extra)
        for c, (rows, block) in self._blocks.items():
            total += scales[c] * (features[rows].T.astype(np.float32) @ block)
        return np.asarray(total.T, np.float32)

    def weights(self, worst_class: int) -> Floats:
        """Return ``(draws, n_patients + 1)`` weights, the worst-case patient last, class sizes kept."""
        scales, extra = self.scales(worst_class)
        found = np.empty((self.stratum.size + 1, self.n_draws), np.float32)
        for c, (rows, block) in self._blocks.items():
            found[rows] = block * scales[c]
        found[-1] = extra
        return found.T


def usual_size(cases: NDArray[np.float64]) -> float:
    """Return how many cases the patient of a random case has, from the cases of each patient.

    Examples
    --------
    >>> usual_size(np.array([1.0, 3.0]))
    2.5
    """
    return float(cases @ cases / cases.sum())
