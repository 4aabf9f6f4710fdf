"""Weights of patients under the uniform Dirichlet distribution, with a worst-case patient among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitdose.stats.noninferiority import draws_for

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_MAX_WEIGHTS = 40_000_000
_LEAST_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Draws:
    """Weightings of one cohort's patients; the same for every point and metric.

    Parameters
    ----------
    patients : numpy.ndarray
        ``(draws, n_patients)`` float32, standard exponential.
    worst : numpy.ndarray
        ``(draws, n_classes)`` float32: of the worst-case patient, were it of that class.
    stratum : numpy.ndarray
        ``(n_patients,)`` int: class of each patient.
    """

    patients: Floats
    worst: Floats
    stratum: Ints

    @classmethod
    def of(cls, stratum: Ints, n_classes: int, *, alpha: float, rng: np.random.Generator) -> Draws:
        """Draw as many weightings as a test at ``alpha`` needs, within a bound on memory."""
        count = draws_for(alpha)
        if count * stratum.size > _MAX_WEIGHTS:
            count = max(_LEAST_DRAWS, _MAX_WEIGHTS // stratum.size)
        patients = rng.standard_exponential((count, stratum.size), dtype=np.float32)
        return cls(patients, rng.standard_exponential((count, n_classes), dtype=np.float32), stratum)

    @property
    def n_draws(self) -> int:
        """Number of weightings."""
        return int(self.patients.shape[0])

    @cached_property
    def _stratum_sums(self) -> dict[int, Floats]:
        """``(draws,)`` per class: the weight of its patients."""
        classes = map(int, np.unique(self.stratum))
        return {c: self.patients[:, self.stratum == c].sum(1) for c in classes}

    def scales(self, worst_class: int) -> tuple[dict[int, Floats], Floats]:
        """Return what brings each class back to its number of patients, worst-case patient counted.

        Returns
        -------
        dict of int to numpy.ndarray
            ``(draws,)`` factor of the weights of each class's patients.
        numpy.ndarray
            ``(draws,)``: weight of the worst-case patient, scaled.
        """
        extra, found = self.worst[:, worst_class], {}
        for c, total in self._stratum_sums.items():
            size = np.float32((self.stratum == c).sum())
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
        total = np.outer(extra, worst.astype(np.float32))
        for c, scale in scales.items():
            of_class = self.stratum == c
            total += scale[:, None] * (self.patients[:, of_class] @ features[of_class].astype(np.float32))
        return np.asarray(total, np.float32)

    def weights(self, worst_class: int) -> Floats:
        """Return ``(draws, n_patients + 1)`` weights, the worst-case patient last, class sizes kept."""
        scales, extra = self.scales(worst_class)
        found = np.empty((self.n_draws, self.stratum.size + 1), np.float32)
        for c, scale in scales.items():
            found[:, :-1][:, self.stratum == c] = self.patients[:, self.stratum == c] * scale[:, None]
        found[:, -1] = extra
        return found


def usual_size(cases: NDArray[np.float64]) -> float:
    """Return how many cases the patient of a random case has, from the cases of each patient.

    Examples
    --------
    >>> usual_size(np.array([1.0, 3.0]))
    2.5
    """
    return float(cases @ cases / cases.sum())
