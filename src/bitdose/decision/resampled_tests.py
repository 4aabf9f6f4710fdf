"""Metrics that are no mean over cases, tested by Dirichlet weights.

F1, Matthews' correlation, AUROC, calibration, means over classes. Every one but AUROC is a function of
weighted sums of features, so that all weightings of both conditions come from two matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.decision.base import MarginTest
from bitdose.decision.dirichlet import DirichletWeights, usual_size
from bitdose.metrics.calibration import brier_per_case, calibration_gaps
from bitdose.metrics.classification import auroc
from bitdose.metrics.weighted import weighted_auroc
from bitdose.results.predictions import Cohort, ConditionPredictions
from bitdose.rule.margins import Margin
from bitdose.stats.noninferiority import draws_test

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Finish = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class _Sums:
    """A metric of weighted sums: features of both conditions per case, and how to finish them.

    ``worst`` holds candidates for the features of the worst-case patient in both conditions.
    """

    name: str
    before: Floats
    after: Floats
    worst: tuple[tuple[Floats, Floats], ...]
    finish: Finish
    sign: float


def check_composite(
    margin: Margin, cohort: Cohort, coded: ConditionPredictions, weights: DirichletWeights, *, alpha: float
) -> MarginTest:
    """Test one margin by Dirichlet weights; parameters and result as of ``margin_tests.check_margin``."""
    family = margin.kind.family
    if family == "auroc":
        before, after, samples = _auroc_samples(margin, cohort, coded, weights)
        loss = before - after
    elif family == "ece":
        before, after, samples = _ece_samples(cohort, coded, weights)
        loss = after - before
    else:
        sums = _sums(margin, cohort, coded)
        before, after = (float(sums.finish(part.sum(0)[None])[0]) for part in (sums.before, sums.after))
        loss, samples = sums.sign * (before - after), _loss_samples(sums, cohort, weights)
    n, unit = cohort.units(np.ones(cohort.true.size, bool))
    found = draws_test(loss, samples, margin=margin.limit, alpha=alpha, n=n, unit=unit)
    if math.isnan(loss):
        found = replace(found, reason=margin.kind.undefined)
    elif family == "ece" and found.reason == "":
        found = replace(found, method=f"{found.method}-bound")
    return MarginTest(margin, before, after, found)


def _sums(margin: Margin, cohort: Cohort, coded: ConditionPredictions) -> _Sums:
    sign = -1.0 if margin.kind.lower_is_better else 1.0
    if margin.kind.family == "brier":
        one = np.ones(cohort.true.size)
        conditions = [
            np.column_stack([brier_per_case(cohort.true, a.probabilities), one])
            for a in (cohort.pristine, coded)
        ]
        worst = (np.array([margin.kind.low, 1.0]), np.array([margin.kind.high, 1.0]))
        return _Sums(margin.name, conditions[0], conditions[1], (worst,), lambda s: s[:, 0] / s[:, 1], sign)
    k = len(cohort.labels)
    conditions = [np.eye(k * k)[cohort.true * k + a.predicted] for a in (cohort.pristine, coded)]
    cell = np.eye(k * k)
    flips = [(cell[c * k + c], cell[c * k + d]) for c in _present(cohort) for d in range(k) if d != c]
    return _Sums(
        margin.name, conditions[0], conditions[1], tuple(flips), _of_confusion(margin, cohort.labels), sign
    )


def _present(cohort: Cohort) -> list[int]:
    """Return the classes that have cases; a worst-case patient is of one of them."""
    return [int(c) for c in np.unique(cohort.true)]


def _ece_samples(
    cohort: Cohort, coded: ConditionPredictions, weights: DirichletWeights
) -> tuple[float, float, Floats]:
    """Return the calibration error pristine, coded, and for each weighting a bound of what it grew by.

    Chance opens gaps, the more the better the calibration is, so that the difference of two
    observed errors is too small where coding spoils a good one. What is weighted is therefore
    ``Σ_b |γ_b - g_b|`` over the bins' gaps coded and pristine: never less than the difference of
    the errors, and too large by chance, not too small. The worst-case patient adds its weight.
    """
    before, after = (calibration_gaps(cohort.true, a.probabilities) for a in (cohort.pristine, coded))
    n = cohort.true.size
    usual = usual_size(np.bincount(cohort.patient_of_case).astype(float))
    total = weights.kept("all cases", lambda: weights.sums(_per_patient(np.ones((n, 1)), cohort)))[:, 0]
    moved = np.abs(weights.sums(_per_patient(after - before, cohort))).sum(1)
    samples = (moved + usual * weights.worst) / (total + usual * weights.worst)
    was, now = (float(np.abs(gaps.mean(0)).sum()) for gaps in (before, after))
    return was, now, np.asarray(samples, float)


def _of_confusion(margin: Margin, labels: tuple[str, ...]) -> Finish:
    """Return the function from flat confusion matrices ``(m, K * K)`` to the metric ``(m,)``."""
    k, place = len(labels), labels.index(margin.label) if margin.label else -1
    return lambda flat: margin.kind.of_confusion(flat.reshape(-1, k, k), place)


def _loss_samples(sums: _Sums, cohort: Cohort, weights: DirichletWeights) -> Floats:
    """Return the loss of each weighting, with the worst-case patient that costs the most."""
    before, after = (_per_patient(part, cohort) for part in (sums.before, sums.after))
    usual = usual_size(np.bincount(cohort.patient_of_case).astype(float))

    def loss_with(worst: tuple[Floats, Floats]) -> float:
        conditions = (before.sum(0) + usual * worst[0], after.sum(0) + usual * worst[1])
        values = [float(sums.finish(condition[None])[0]) for condition in conditions]
        loss = sums.sign * (values[0] - values[1])
        return -math.inf if math.isnan(loss) else loss

    was, turned = max(sums.worst, key=loss_with)
    plain = weights.kept(sums.name, lambda: weights.sums(before))
    changed = plain + weights.sums(after - before)
    pristine = weights.kept(
        (sums.name, was.tobytes()), lambda: sums.finish(weights.with_worst(plain, usual * was))
    )
    coded = sums.finish(weights.with_worst(changed, usual * turned))
    return np.asarray(sums.sign * (pristine - coded), float)


def _per_patient(features: Floats, cohort: Cohort) -> Floats:
    found = np.zeros((len(cohort.patients), features.shape[1]))
    np.add.at(found, cohort.patient_of_case, features)
    return found


def _auroc_samples(
    margin: Margin, cohort: Cohort, coded: ConditionPredictions, weights: DirichletWeights
) -> tuple[float, float, Floats]:
    """Return AUROC pristine, coded, and the loss of each weighting, the mean over the classes asked."""
    places = [cohort.labels.index(margin.label)] if margin.label else list(range(len(cohort.labels)))
    worst_class = _worst_of_auroc(places, cohort)
    per_case = weights.kept("cases", lambda: _weights_of_cases(cohort, weights))

    def under_weights(condition: ConditionPredictions, end: float) -> tuple[float, Floats]:
        parts = list(_one_against_rest(condition, end, places, cohort.true, worst_class))
        value = float(np.mean([auroc(truth[:-1], score[:-1]) for truth, score in parts]))
        return value, np.mean([weighted_auroc(truth, score, per_case) for truth, score in parts], axis=0)

    before = weights.kept((margin.name, worst_class), lambda: under_weights(cohort.pristine, math.inf))
    after = under_weights(coded, -math.inf)
    return before[0], after[0], np.asarray(before[1] - after[1], float)


def _weights_of_cases(cohort: Cohort, weights: DirichletWeights) -> Floats:
    """Return ``(n_weightings, n_cases + 1)`` weights, the worst-case patient's cases as the last one."""
    usual = usual_size(np.bincount(cohort.patient_of_case).astype(float))
    columns = [*cohort.patient_of_case, len(cohort.patients)]
    rows = weights.as_rows().T[columns].astype(float)  # mixed precision would be cast at every step
    rows[-1] *= usual
    return rows.T


def _worst_of_auroc(places: list[int], cohort: Cohort) -> int:
    """Return the class of the worst-case patient: one case weighs most among the fewest."""
    counts = np.bincount(cohort.true, minlength=len(cohort.labels))
    present = _present(cohort)
    place = min(places, key=lambda c: counts[c])
    others = [c for c in present if c != place]
    fewer_positives = counts[place] <= cohort.true.size - counts[place]
    return (
        place
        if place in present and (fewer_positives or not others)
        else min(others, key=lambda c: counts[c])
    )


def _one_against_rest(
    condition: ConditionPredictions, end: float, places: list[int], true: NDArray[np.int64], worst_class: int
) -> Iterator[tuple[Bools, Floats]]:
    """Yield truth and scores of each class asked, with the worst-case case last.

    Its scores lie at the right end of the scale where ``end`` is infinite, at the wrong one where it
    is minus infinite.
    """
    for place in places:
        own = place == worst_class
        yield (
            np.append(true == place, own),
            np.append(condition.probabilities[:, place], end if own else -end),
        )
