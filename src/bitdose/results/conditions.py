"""One condition's predictions on some cases, and what every bootstrap draw makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError
from bitdose.hashing import rng_for
from bitdose.metrics import classification as metric
from bitdose.metrics.calibration import brier_per_case, calibration_gaps
from bitdose.metrics.influence import Influence
from bitdose.metrics.weighted import weighted_sum
from bitdose.results.predictions import ConditionPredictions, class_indices, predictions_at
from bitdose.stats.bootstrap import patient_draws
from bitdose.stats.delong import Area, area_of

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """What all points share: classes, cases, patients, bootstrap draws.

    ``true`` is ``(n_cases,)`` int class index, -1 where the label is none of the classes; ``drawn`` is what
    becomes of ``weights``, made by a thread meanwhile.
    """

    labels: tuple[str, ...]
    level: float
    ids: dict[str, int]
    true: Ints
    drawn: Future[Floats]
    patient_of_case: Ints
    n_patients: int

    @property
    def weights(self) -> Floats:
        """How much each case weighs in each draw, ``(draws, n_cases)``."""
        return self.drawn.result()

    @property
    def clustered(self) -> bool:
        """Whether a patient has several cases."""
        return self.n_patients < len(self.ids)

    @property
    def unit(self) -> str:
        """The resampling unit's name."""
        return "patient" if self.clustered else "case"


@dataclass(frozen=True)
class Condition:
    """The predictions at one point on some of the cases, by which numbers are taken.

    The same cases at two points make two conditions to compare: both see the same draws. ``sums`` holds what
    :func:`add_up` found of the draws, once it has.
    """

    design: Design
    cases: Ints
    true: Ints
    predicted: Ints
    probabilities: Floats
    has_probabilities: bool
    sums: list[Floats] = field(default_factory=list, repr=False, compare=False)
    influences: dict[Influence, Floats] = field(default_factory=dict, repr=False, compare=False)

    @property
    def patients(self) -> Ints:
        """Patient of each case, ``(n,)``."""
        return self.design.patient_of_case[self.cases]

    @cached_property
    def confusion(self) -> Ints:
        """Counts by true and predicted class, ``(K, K)``."""
        return metric.confusion_matrix(self.true, self.predicted, len(self.design.labels))

    def influence(self, function: Influence) -> Floats:
        """Return the influence of each case on a metric, ``(n,)`` or by class ``(n, K)``; found once."""
        if function not in self.influences:
            found = function(self.true, self.predicted, len(self.design.labels))
            self.influences[function] = found
        return self.influences[function]

    @cached_property
    def areas(self) -> tuple[Area, ...]:
        """Area under the ROC curve of each class against the rest."""
        chances = self.probabilities.T
        return tuple(area_of(self.true == k, chances[k]) for k in range(len(self.design.labels)))

    @cached_property
    def brier(self) -> Floats:
        """Each case's part of the Brier score, ``(n,)``."""
        return brier_per_case(self.true, self.probabilities)

    @cached_property
    def gaps(self) -> Floats:
        """Confidence minus hit of each case in the column of its bin, ``(n, bins)``."""
        return calibration_gaps(self.true, self.probabilities)

    @cached_property
    def confusions(self) -> Floats:
        """Weight of cases by true and predicted class in every draw, ``(draws, K, K)``."""
        k = len(self.design.labels)
        return self._sums[:, : k * k].reshape(-1, k, k)

    @cached_property
    def brier_samples(self) -> Floats:
        """Brier score of every draw, ``(draws,)``; NaN for a draw without a case."""
        return self._per_case(self._sums[:, -1:])[:, 0]

    @cached_property
    def gap_samples(self) -> Floats:
        """Mean of ``gaps`` over the cases of every draw, ``(draws, bins)``; NaN for a draw without one."""
        return self._per_case(self._sums[:, -1 - self.gaps.shape[1] : -1])

    @property
    def _sums(self) -> Floats:
        """All that is added up over the cases of a draw; made here unless :func:`add_up` has."""
        if not self.sums:
            add_up([self])
        return self.sums[0]

    def added_up(self) -> tuple[Bools, Floats]:
        """Return which sums of a draw have parts at all, and the parts, ``(cases of the design, filled)``."""
        k = len(self.design.labels)
        cells = np.zeros((self.cases.size, k * k))
        cells[np.arange(self.cases.size), self.true * k + self.predicted] = 1
        columns = np.column_stack([cells, self.gaps, self.brier])
        # Of the bins some are empty, as below a half where there are two classes.
        filled = np.asarray(columns.any(0))
        # Rows of zeros are cheaper than a copy of the weights.
        parts = np.zeros((len(self.design.ids), int(filled.sum())))
        parts[self.cases] = columns[:, filled]
        return filled, parts

    def _per_case(self, sums: Floats) -> Floats:
        total = self.confusions.sum((1, 2))[:, None]
        return np.asarray(np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0))

    @cached_property
    def without_probabilities(self) -> str:
        """Say why nothing can be said of probabilities, if so."""
        if not self.cases.size:
            return "no case classified"
        if not self.has_probabilities:
            return "the table has no probabilities"
        return "a case has no probability" if np.isnan(self.probabilities).any() else ""

    def among(self, some: Bools) -> Condition:
        """Return the condition on the marked ones of its cases."""
        return Condition(
            self.design,
            self.cases[some],
            self.true[some],
            self.predicted[some],
            self.probabilities[some],
            self.has_probabilities,
        )

    def by_patient(self, influence: Floats) -> Floats:
        """Add up the influence of each patient's cases, ``(n_patients,)``."""
        sums = np.bincount(self.patients, weights=influence, minlength=self.design.n_patients)
        return sums.astype(float)  # bincount of nothing is int


def make_design(
    cases: pl.DataFrame, labels: tuple[str, ...], *, level: float, draws: int, seed: int
) -> Design:
    """Draw the bootstrap samples of a table's cases, one row per case in the order of their ids."""
    patients, classes = cases["case_patient"].to_list(), cases["case_label"].to_list()
    ids = cases["case_id"].to_list()
    names, patient_of_case = np.unique(np.asarray(patients, dtype=str), return_inverse=True)

    def draw() -> Floats:
        rng = rng_for(seed, "patient-bootstrap", *ids)
        drawn, _ = patient_draws(patients, classes, draws=draws, rng=rng)
        # Case by case, so that the kernels find all draws of a case beside each other.
        # As a rule each case is its own patient.
        own = np.array_equal(patient_of_case, np.arange(names.size))
        return drawn if own else drawn.T[patient_of_case].T

    meanwhile = ThreadPoolExecutor(1)
    drawn = meanwhile.submit(draw)
    meanwhile.shutdown(wait=False)
    places = {name: i for i, name in enumerate(ids)}
    true = class_indices(cases["case_label"], labels, strict=False)
    return Design(labels, level, places, true, drawn, patient_of_case, names.size)


def add_up(conditions: Sequence[Condition]) -> None:
    """Make the sums of several conditions' draws in one product: reading the weights once is what costs."""
    parts = [condition.added_up() for condition in conditions]
    together = weighted_sum(np.hstack([columns for _, columns in parts]), conditions[0].design.weights)
    start = 0
    for condition, (filled, columns) in zip(conditions, parts, strict=True):
        sums = np.zeros((len(together), filled.size))
        sums[:, filled] = together[:, start : start + columns.shape[1]]
        condition.sums.append(sums)
        start += columns.shape[1]


def predictions_of(rows: pl.DataFrame | None, design: Design) -> ConditionPredictions:
    """Read a point's rows; raises ``UsageError`` if one that is ok names a class that the design has not."""
    found = predictions_at(rows, design.ids, design.labels)
    unlabelled = np.flatnonzero((found.predicted >= 0) & (design.true < 0))
    if rows is not None and unlabelled.size:
        case = list(design.ids)[unlabelled[0]]
        label = rows.filter(rows["case_id"] == case)["case_label"][0]
        known = ", ".join(design.labels)
        raise UsageError(f"results: label {label!r} of case {case!r} is none of the classifier's: {known}")
    return found


def condition_of(design: Design, predictions: ConditionPredictions, cases: Ints) -> Condition:
    """Take a point's predictions on some cases, ``(n,)`` indices in ascending order."""
    known = predictions.probabilities.shape[1] > 0
    chances = predictions.probabilities[cases] if known else np.full((cases.size, len(design.labels)), np.nan)
    return Condition(design, cases, design.true[cases], predictions.predicted[cases], chances, known)


def whole_condition(design: Design, rows: pl.DataFrame | None) -> Condition:
    """Take a point's predictions on all cases that have one; raises as :func:`predictions_of` does."""
    found = predictions_of(rows, design)
    return condition_of(design, found, np.flatnonzero(found.predicted >= 0))


class PristineReference:
    """What every point is compared with; conditions are made once per set of cases and kept."""

    def __init__(self, design: Design, rows: pl.DataFrame | None) -> None:
        self.design = design
        self.predictions = predictions_of(rows, design)
        self._made: dict[bytes, Condition] = {}

    def pair(self, condition: Condition) -> tuple[Condition, Condition]:
        """Return a condition and the reference, both on the cases of the first that the reference has too."""
        here = self.predictions.predicted[condition.cases] >= 0
        now = condition if here.all() else condition.among(here)
        key = now.cases.tobytes()
        if key not in self._made:
            self._made[key] = condition_of(self.design, self.predictions, now.cases)
        return now, self._made[key]
