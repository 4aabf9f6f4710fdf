"""Populations with known true losses, and simulated studies drawn from them, for ``validity.py``.

A population has patients with one or several cases. In a share ``alike`` of the patients, all cases have
the same outcome. Chains are partly correlated: one variate of a case is used by either all chains or one.
Along a chain it is compared with increasing thresholds, so that a case lost at a weakly compressed point
stays lost at a stronger one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from bitdose.metrics import classification as metric
from bitdose.metrics.calibration import brier_per_case, calibration_gaps
from bitdose.results.predictions import Cohort, ConditionPredictions, PointRows
from bitdose.rule.margins import Margin

if TYPE_CHECKING:
    import polars as pl

Floats = np.ndarray
ONE_CASE = (1.0,)
UP_TO_SIX = (0.3, 0.25, 0.15, 0.12, 0.1, 0.08)
CHAINS = ("jpeg", "jpeg@256", "jpeg2000", "jpeg2000@256")
_SHARED = 0.5


@dataclass(frozen=True)
class Patients:
    """How many patients, the chance of each number of cases, and in what share all cases go the same way."""

    count: int
    sizes: tuple[float, ...] = ONE_CASE
    alike: float = 0.0


class Fates:
    """Random variates of one study's cases: each case its own, or all of a patient's the same."""

    def __init__(self, patients: Patients, rng: np.random.Generator, prefix: str = "") -> None:
        sizes = rng.choice(len(patients.sizes), patients.count, p=patients.sizes) + 1
        self.rng, self.count, self.prefix = rng, patients.count, prefix
        self.patient = np.repeat(np.arange(patients.count), sizes)
        self.alike = (rng.random(patients.count) < patients.alike)[self.patient]
        self.independent = patients.alike == 0

    @property
    def n(self) -> int:
        """Number of cases."""
        return self.patient.size

    def uniform(self, columns: int) -> Floats:
        """Return ``(n, columns)`` uniform variates."""
        own = self.rng.random((self.n, columns))
        if self.independent:
            return own
        return np.where(self.alike[:, None], self.rng.random((self.count, columns))[self.patient], own)

    def normal(self, columns: int) -> Floats:
        """Return ``(n, columns)`` standard normal variates."""
        own = self.rng.standard_normal((self.n, columns))
        if self.independent:
            return own
        return np.where(
            self.alike[:, None], self.rng.standard_normal((self.count, columns))[self.patient], own
        )

    def partly_shared(self, variates: Floats) -> Floats:
        """Replace half of the entries of all columns but the first by the first, and drop it."""
        shared = self.uniform(variates.shape[1] - 1) < _SHARED
        return np.where(shared, variates[:, :1], variates[:, 1:])

    def classes(self, prevalence: Sequence[float]) -> np.ndarray:
        """Return the class of each case, ``(n,)``: one per patient."""
        own = np.searchsorted(np.cumsum(prevalence)[:-1], self.rng.random(self.count), side="right")
        return own[self.patient].astype(np.int64)


@dataclass(frozen=True)
class AnswersPopulation:
    """Answers without probabilities; a point turns right answers wrong, and a few wrong ones right.

    ``accuracy`` is by class; at strength t a right answer of class k is lost with chance ``t * harm[k]``;
    a wrong one turns right with chance ``gain``, at every point.
    """

    patients: Patients
    labels: tuple[str, ...]
    prevalence: tuple[float, ...]
    accuracy: tuple[float, ...]
    harm: tuple[float, ...]
    gain: float = 0.05

    def loss(self, margin: Margin, strength: float) -> float:
        """Return the true loss of a metric at a strength."""
        lost = np.minimum(1.0, strength * np.array(self.harm))
        if margin.is_rate:
            among = np.array(self.prevalence)
            if margin.label:
                among = np.eye(len(self.labels))[self.labels.index(margin.label)]
            return float((among * np.array(self.accuracy) * lost).sum())
        coded = _of_confusion(margin, self.labels, self._confusion(lost, self.gain))
        return self.value(margin) - coded

    def value(self, margin: Margin) -> float:
        """Return a metric's true value at pristine."""
        return _of_confusion(margin, self.labels, self._confusion(np.zeros(len(self.labels)), 0.0))

    def _confusion(self, lost: Floats, gain: float) -> Floats:
        prevalence, right = np.array(self.prevalence), np.array(self.accuracy)
        right = right * (1 - lost) + (1 - right) * gain
        k = len(right)
        off = (prevalence * (1 - right) / (k - 1))[:, None] * (1 - np.eye(k))
        return off + np.diag(prevalence * right)

    def draw(self, strengths: Floats, rng: np.random.Generator, *, prefix: str = "") -> Cohort:
        """Draw a study; ``strengths`` is ``(chains, points)``, ``prefix`` goes before patients' names."""
        fates, k = Fates(self.patients, rng, prefix), len(self.labels)
        true = fates.classes(self.prevalence)
        base = fates.uniform(4)
        right = base[:, 0] < np.array(self.accuracy)[true]
        wrong, turned = ((true + 1 + (base[:, c] * (k - 1)).astype(np.int64)) % k for c in (1, 2))
        before = np.where(right, true, wrong)
        gained = ~right & (base[:, 3] < self.gain)
        fate = fates.partly_shared(fates.uniform(len(strengths) + 1))
        harm = np.array(self.harm)[true]
        points = [
            [np.where(right & (u < t * harm), turned, np.where(gained, true, before)) for t in chain]
            for u, chain in zip(fate.T, strengths, strict=True)
        ]
        none = np.empty((fates.n, 0))
        return _cohort(
            self.labels,
            fates,
            true,
            ConditionPredictions(before, none),
            [[ConditionPredictions(a, none) for a in c] for c in points],
        )


@dataclass(frozen=True)
class BinormalPopulation:
    """Two classes with normal scores ``separation`` apart: AUROC is ``Φ(separation / sqrt 2)``.

    A point brings the classes nearer and adds noise of its own; the scores stay correlated by ``kept``.
    """

    patients: Patients
    prevalence: float
    separation: float
    kept: float = 0.9
    labels: tuple[str, ...] = ("normal", "covid-19")

    def loss(self, margin: Margin, strength: float) -> float:
        """Return the true loss of AUROC; a strength of 1 leaves no separation."""
        if margin.metric != "auroc":
            raise ValueError(margin.metric)
        return _area(self.separation) - _area(self.separation * (1 - strength))

    def draw(self, strengths: Floats, rng: np.random.Generator, *, prefix: str = "") -> Cohort:
        """Draw a study; ``strengths`` is ``(chains, points)``, ``prefix`` goes before patients' names."""
        fates = Fates(self.patients, rng, prefix)
        true = fates.classes((1 - self.prevalence, self.prevalence))
        own = fates.normal(1)[:, 0]
        noise = fates.partly_shared(fates.normal(len(strengths) + 1)).T
        blurred = self.kept * own + math.sqrt(1 - self.kept**2) * noise
        before = self._answers(true, own, self.separation)
        points = [
            [self._answers(true, noisy, self.separation * (1 - t)) for t in chain]
            for noisy, chain in zip(blurred, strengths, strict=True)
        ]
        return _cohort(self.labels, fates, true, before, points)

    def _answers(self, true: np.ndarray, noise: Floats, separation: float) -> ConditionPredictions:
        score = noise + separation * (true - 0.5)
        chance = 1 / (1 + np.exp(-2 * score))
        return ConditionPredictions((score > 0).astype(np.int64), np.column_stack([1 - chance, chance]))


@dataclass(frozen=True)
class AtomsPopulation:
    """Two classes and probabilities on a few values: Brier score and calibration error are exact sums.

    The chance of the second class is ``expit(slope * logit p)``. Coding at strength t changes p by what
    ``turn`` says: ``sharpen`` drives it away from 1/2, ``shift`` towards the second class, ``noise`` up or
    down. True values are at the class shares ``mix``, by default those of the population.
    """

    patients: Patients
    turn: str
    slope: float = 1.0
    atoms: tuple[float, ...] = tuple(np.round(np.linspace(0.03, 0.97, 32), 4))
    mix: tuple[float, ...] = ()
    labels: tuple[str, ...] = ("normal", "covid-19")

    def loss(self, margin: Margin, strength: float) -> float:
        """Return the true loss of the Brier score or of the calibration error."""
        return self.value(margin, strength) - self.value(margin)

    def value(self, margin: Margin, strength: float = 0.0) -> float:
        """Return a metric's true value at a strength, by default at pristine."""
        return {"brier": self._brier, "ece": self._ece}[margin.metric](strength)

    def draw(self, strengths: Floats, rng: np.random.Generator, *, prefix: str = "") -> Cohort:
        """Draw a study; ``strengths`` is ``(chains, points)``, ``prefix`` goes before patients' names."""
        fates = Fates(self.patients, rng, prefix)
        base = fates.uniform(2)
        atom = np.minimum((base[:, 0] * len(self.atoms)).astype(np.int64), len(self.atoms) - 1)
        p = np.array(self.atoms)[atom]
        true = (base[:, 1] < self._chance(p)).astype(np.int64)
        noise = fates.partly_shared(fates.uniform(len(strengths) + 1)).T
        points = [
            [
                self._answers(self._turned(p, np.where(up < 0.5, t, -t) if self.turn == "noise" else t))
                for t in chain
            ]
            for up, chain in zip(noise, strengths, strict=True)
        ]
        return _cohort(self.labels, fates, true, self._answers(p), points)

    def _chance(self, p: Floats) -> Floats:
        return 1 / (1 + np.exp(-self.slope * np.log(p / (1 - p))))

    def _turned(self, p: Floats, strength: float | Floats) -> Floats:
        logit = np.log(p / (1 - p))
        logit = logit * (1 + strength) if self.turn == "sharpen" else logit + 4 * strength
        return 1 / (1 + np.exp(-logit))

    def _answers(self, p: Floats) -> ConditionPredictions:
        both = np.column_stack([1 - p, p])
        return ConditionPredictions(both.argmax(1), both)

    def _everything(self, strength: float) -> tuple[np.ndarray, Floats, Floats]:
        """Return every kind of case: class, probabilities, weight."""
        p = np.array(self.atoms)
        found = []
        for t in (strength, -strength) if self.turn == "noise" else (strength,):
            both = self._answers(self._turned(p, t)).probabilities
            found += [(np.full(p.size, y), both, np.abs(1 - y - self._chance(p))) for y in (0, 1)]
        classes, both, weights = (np.concatenate(part) for part in zip(*found, strict=True))
        if self.mix:
            weights *= (np.array(self.mix) / np.bincount(classes, weights=weights))[classes]
        return classes, both, weights / weights.sum()

    def _brier(self, strength: float) -> float:
        classes, both, weight = self._everything(strength)
        return float(weight @ brier_per_case(classes, both))

    def _ece(self, strength: float) -> float:
        classes, both, weight = self._everything(strength)
        return float(np.abs(weight @ calibration_gaps(classes, both)).sum())


Population = AnswersPopulation | BinormalPopulation | AtomsPopulation


def to_table(cohorts: Mapping[str, Cohort]) -> pl.DataFrame:
    """Write cohorts as a results table, one split each."""
    import polars as pl

    return pl.concat([_table(split, cohort) for split, cohort in cohorts.items()])


def _table(split: str, cohort: Cohort) -> pl.DataFrame:
    import polars as pl

    n, labels = len(cohort.case_ids), np.array(cohort.labels)
    points = [("pristine", "pristine", 0.0, cohort.pristine, np.full(n, 1_000_000))]
    points += [(r.point, r.chain, r.strength, r.predictions, r.bytes_coded) for r in cohort.points.values()]
    times = len(points)
    columns = {
        "case_id": cohort.case_ids * times,
        "case_label": np.tile(labels[cohort.true], times),
        "case_patient": np.tile(np.array(cohort.patients)[cohort.patient_of_case], times),
        "case_split": [split] * (n * times),
        "point": np.repeat([p[0] for p in points], n),
        "codec_chain": np.repeat([p[1] for p in points], n),
        "codec_strength": np.repeat([p[2] for p in points], n),
        "bytes_file": np.full(n * times, 1_000_000),
        "bytes_pixels": np.full(n * times, 1_000_000),
        "bytes_coded": np.concatenate([p[4] for p in points]),
        "predicted": np.concatenate([labels[p[3].predicted] for p in points]),
        "model": ["simulated"] * (n * times),
        "status": ["ok"] * (n * times),
    }
    known = bool(cohort.pristine.probabilities.size)
    chances = {
        f"p_{label}": np.concatenate([p[3].probabilities[:, k] for p in points])
        if known
        else np.full(n * times, np.nan)
        for k, label in enumerate(cohort.labels)
    }
    return pl.DataFrame(columns | chances)


def strength_at(population: Population, margins: Sequence[Margin], level: float) -> float:
    """Find the strength at which the worst of the losses is ``level`` margins, and never less."""

    def over(strength: float) -> float:
        return max(population.loss(margin, strength) / margin.limit for margin in margins) - level

    return _least(over)


def _least(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    while rising(high) < 0:
        high *= 2
        if high > 64:
            raise ValueError("no strength loses as much")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) >= 0 else (middle, high)
    return high


def _of_confusion(margin: Margin, labels: tuple[str, ...], confusion: Floats) -> float:
    place = labels.index(margin.label) if margin.label else -1
    functions = {
        "accuracy": metric.accuracy,
        "sensitivity": metric.sensitivity,
        "specificity": metric.specificity,
        "precision": metric.precision,
        "f1": metric.f1_score,
        "macro_f1": metric.macro_f1,
    }
    values = np.asarray(functions[margin.metric](confusion))
    return float(values[place] if margin.label else values.mean())


def _area(separation: float) -> float:
    return 0.5 * math.erfc(-separation / 2)


def _cohort(
    labels: tuple[str, ...],
    fates: Fates,
    true: np.ndarray,
    before: ConditionPredictions,
    points: list[list[ConditionPredictions]],
) -> Cohort:
    rows = [
        _rows(chain, step, answers, fates.n)
        for chain, steps in zip(CHAINS, points, strict=False)
        for step, answers in enumerate(steps)
    ]
    by_name = {row.point: row for row in rows}
    names = _names(fates.prefix)
    return Cohort(labels, names[: fates.n], true, fates.patient, names[: fates.count], before, by_name)


@cache
def _names(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:05d}" for number in range(20_000))


def _rows(chain: str, step: int, answers: ConditionPredictions, n: int) -> PointRows:
    codec, at, size = chain.partition("@")
    file = np.full(n, 1_000_000)
    coded = np.full(n, 100_000 // (step + 1) - CHAINS.index(chain))
    return PointRows(f"{codec}:{90 - step}{at}{size}", chain, float(step), answers, file, file, coded)
