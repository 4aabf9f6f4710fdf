"""Weights of patients under the uniform Dirichlet distribution, with a worst-case patient among them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitdose.stats.clusters import sum_of_squares
from bitdose.stats.noninferiority import draws_for

Floats = NDArray[np.float32]
_T = TypeVar("_T")

_MAX_WEIGHTS = 40_000_000
_LEAST_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class DirichletWeights:
    """Weightings of one cohort's patients; the same for every point and metric.

    Classes are not held to their sizes: another sample of patients has another mix, and where coding
    costs one class more than another, another loss.

    Parameters
    ----------
    patients : numpy.ndarray
        ``(n_patients, n_weightings)`` float32, standard exponential.
    worst : numpy.ndarray
        ``(n_weightings,)`` float32: of the worst-case patient.
    """

    patients: Floats
    worst: Floats
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, n_patients: int, *, alpha: float, rng: np.random.Generator) -> DirichletWeights:
        """Draw as many weightings as a test at ``alpha`` needs, within a bound on memory."""
        count = draws_for(alpha)
        if count * n_patients > _MAX_WEIGHTS:
            count = max(_LEAST_DRAWS, _MAX_WEIGHTS // n_patients)
        patients = rng.standard_exponential((n_patients, count), dtype=np.float32)
        return cls(patients, rng.standard_exponential(count, dtype=np.float32))

    @classmethod
    def none(cls, n_patients: int) -> DirichletWeights:
        """Return no weighting at all, for margins whose tests take none; a test by weights then fails."""
        return cls(np.empty((n_patients, 0), np.float32), np.empty(0, np.float32))

    @property
    def n_weightings(self) -> int:
        """Number of weightings."""
        return int(self.patients.shape[1])

    def kept(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what was made under a key before, or make it: pristine's part is the same for all points."""
        if key not in self._kept:
            self._kept[key] = make()
        found: _T = self._kept[key]
        return found

    def sums(self, features: NDArray[np.float64]) -> Floats:
        """Add per-patient features up under each weighting, without the worst-case patient.

        Reading the weights is what costs, so those of patients whose features are all zero are not read
        (what a point changes is a matter of few patients), and a single feature is a vector product.

        Parameters
        ----------
        features : numpy.ndarray
            ``(n_patients, k)``.

        Returns
        -------
        numpy.ndarray
            ``(n_weightings, k)`` float32.
        """
        found = np.zeros((self.n_weightings, features.shape[1]), np.float32)
        kept, some, weights = features.any(0), features.any(1), self.patients
        if 2 * int(some.sum()) < some.size:
            features, weights = features[some], weights[some]
        columns = np.ascontiguousarray(features[:, kept], np.float32)
        if columns.shape[1] == 1:
            found[:, kept] = (columns[:, 0] @ weights)[:, None]
        elif columns.shape[1]:
            # The many weightings as rows: BLAS shares rows among cores, and few are shared badly.
            found[:, kept] = weights.T @ columns
        return found

    def with_worst(self, sums: Floats, worst: NDArray[np.float64]) -> Floats:
        """Add the worst-case patient's features ``(k,)`` to sums ``(n_weightings, k)``."""
        return np.asarray(sums + np.outer(self.worst, worst.astype(np.float32)), np.float32)

    def as_rows(self) -> Floats:
        """Return ``(n_weightings, n_patients + 1)`` weights, the worst-case patient last."""
        return np.vstack([self.patients, self.worst]).T


def usual_size(cases: NDArray[np.float64]) -> float:
    """Return how many cases the patient of a random case has, from the cases of each patient.

    Examples
    --------
    >>> usual_size(np.array([1.0, 3.0]))
    2.5
    """
    return float(sum_of_squares(cases) / cases.sum())
