"""The answers at one point as arrays, and what every bootstrap draw makes of them."""

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
from bitdose.metrics.influence import f1_influence
from bitdose.metrics.weighted import weighted_sum
from bitdose.results.schema import OK, probability_columns
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

    ``drawn`` is what becomes of ``weights``, made by a thread meanwhile.
    """

    labels: tuple[str, ...]
    level: float
    ids: dict[str, int]
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
class ConditionPredictions:
    """What the classifier says at one point of every case of the design.

    ``true`` and ``predicted`` are ``(n_cases,)`` class indices, -1 where the case has no answer
    here; ``probabilities`` is ``(n_cases, n_classes)``, NaN where there is none.
    """

    true: Ints
    predicted: Ints
    probabilities: Floats
    has_probabilities: bool


@dataclass(frozen=True)
class Condition:
    """A point's answers on some of the cases, by which numbers are taken.

    The same cases at two points make two arms of a comparison: both see the same draws. ``sums`` holds
    what :func:`add_up` found of the draws, once it has.
    """

    design: Design
    cases: Ints
    true: Ints
    predicted: Ints
    probabilities: Floats
    has_probabilities: bool
    sums: list[Floats] = field(default_factory=list, repr=False, compare=False)

    @property
    def patients(self) -> Ints:
        """Patient of each case, ``(n,)``."""
        return self.design.patient_of_case[self.cases]

    @cached_property
    def confusion(self) -> Ints:
        """Counts by true and predicted class, ``(K, K)``."""
        return metric.confusion_matrix(self.true, self.predicted, len(self.design.labels))

    @cached_property
    def f1_influence(self) -> Floats:
        """Influence of each case on each class's F1, ``(n, K)``."""
        return f1_influence(self.true, self.predicted, len(self.design.labels))

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
        """Return the arm on the marked ones of its cases."""
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
    return Design(labels, level, places, drawn, patient_of_case, names.size)


def add_up(arms: Sequence[Condition]) -> None:
    """Make the sums of the draws of several arms in one product: reading the weights once is what costs."""
    parts = [arm.added_up() for arm in arms]
    together = weighted_sum(np.hstack([columns for _, columns in parts]), arms[0].design.weights)
    start = 0
    for arm, (filled, columns) in zip(arms, parts, strict=True):
        sums = np.zeros((len(together), filled.size))
        sums[:, filled] = together[:, start : start + columns.shape[1]]
        arm.sums.append(sums)
        start += columns.shape[1]


def answers_at(rows: pl.DataFrame | None, design: Design) -> ConditionPredictions:
    """Read a point's rows into arrays; failed rows have no answer.

    Raises
    ------
    UsageError
        If a row that is ok names a class that is none of the design's.
    """
    true, predicted = (np.full(len(design.ids), -1, np.int64) for _ in range(2))
    columns = probability_columns(design.labels)
    probabilities = np.full((len(design.ids), len(columns)), np.nan)
    if rows is None:
        return ConditionPredictions(true, predicted, probabilities, has_probabilities=False)
    ok = rows.filter(rows["status"] == OK)
    names = ok["case_id"].to_list()
    everyone = names == list(design.ids)  # as a rule: quicker to see than to look each up
    cases = np.arange(len(names)) if everyone else np.array([design.ids[name] for name in names], np.int64)
    true[cases], predicted[cases] = (
        class_indices(ok[name], design.labels) for name in ("case_label", "predicted")
    )
    known = set(columns) <= set(ok.columns)
    if known:
        probabilities[cases] = ok.select(columns).to_numpy()
    return ConditionPredictions(true, predicted, probabilities, known)


def class_indices(column: pl.Series, labels: tuple[str, ...]) -> Ints:
    """Return each label's place among the labels; an unknown one raises ``UsageError``."""
    import polars as pl

    index = {label: i for i, label in enumerate(labels)}
    unknown = set(column.unique().to_list()) - set(index)
    if unknown:
        raise UsageError(f"results: labels {sorted(map(str, unknown))} are none of {list(labels)}")
    if not len(column):
        return np.empty(0, np.int64)
    return column.replace_strict(list(index), list(index.values()), return_dtype=pl.Int64).to_numpy()


def arm_of(design: Design, answers: ConditionPredictions, cases: Ints) -> Condition:
    """Take a point's answers on some cases, ``(n,)`` indices in ascending order."""
    a = answers
    return Condition(
        design, cases, a.true[cases], a.predicted[cases], a.probabilities[cases], a.has_probabilities
    )


def whole_arm(design: Design, answers: ConditionPredictions) -> Condition:
    """Take a point's answers on all cases that have one."""
    return arm_of(design, answers, np.flatnonzero(answers.predicted >= 0))


class PristineReference:
    """The answers that every point is compared with; arms are made once per set of cases and kept."""

    def __init__(self, design: Design, answers: ConditionPredictions) -> None:
        self.design = design
        self.answers = answers
        self._arms: dict[bytes, Condition] = {}

    def pair(self, arm: Condition) -> tuple[Condition, Condition]:
        """Return an arm and the reference's, both on the cases of the arm that the reference has too."""
        here = self.answers.predicted[arm.cases] >= 0
        now = arm if here.all() else arm.among(here)
        key = now.cases.tobytes()
        if key not in self._arms:
            self._arms[key] = arm_of(self.design, self.answers, now.cases)
        return now, self._arms[key]
