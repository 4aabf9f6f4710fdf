"""Metrics that are no mean over cases, tested by draws: F1, AUROC, calibration, means over classes.

Every metric but AUROC is a function of weighted sums of features, so that all draws of both arms
come from two matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.decision.base import MarginTest
from bitdose.decision.cohort import Answers, Cohort
from bitdose.decision.dirichlet import DirichletWeights, usual_size
from bitdose.metrics import classification as metric
from bitdose.metrics.calibration import brier_per_case, calibration_gaps
from bitdose.metrics.weighted import weighted_auroc
from bitdose.rule.margins import Margin
from bitdose.stats.noninferiority import draws_test

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Finish = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class _Sums:
    """A metric of weighted sums: features of both arms per case, and how to finish them.

    ``worst`` holds candidates for the features of the worst-case patient in both arms.
    """

    name: str
    before: Floats
    after: Floats
    worst: tuple[tuple[Floats, Floats], ...]
    finish: Finish
    sign: float


def check_composite(
    margin: Margin, cohort: Cohort, answers: Answers, draws: DirichletWeights, *, alpha: float
) -> MarginTest:
    """Test one margin by draws; parameters and result as of ``losses.check_margin``."""
    if margin.metric == "auroc":
        before, after, samples = _auroc_samples(margin, cohort, answers, draws)
        loss = before - after
    elif margin.metric == "ece":
        before, after, samples = _ece_samples(cohort, answers, draws)
        loss = after - before
    else:
        sums = _sums(margin, cohort, answers)
        before, after = (float(sums.finish(part.sum(0)[None])[0]) for part in (sums.before, sums.after))
        loss, samples = sums.sign * (before - after), _loss_samples(sums, cohort, draws)
    n, unit = cohort.units(np.ones(cohort.true.size, bool))
    found = draws_test(loss, samples, margin=margin.limit, alpha=alpha, n=n, unit=unit)
    if margin.metric == "ece" and found.reason == "":
        found = replace(found, method=f"{found.method}-bound")
    return MarginTest(margin, before, after, found)


def _sums(margin: Margin, cohort: Cohort, answers: Answers) -> _Sums:
    if margin.metric == "brier":
        one = np.ones(cohort.true.size)
        arms = [
            np.column_stack([brier_per_case(cohort.true, a.probabilities), one])
            for a in (cohort.pristine, answers)
        ]
        worst = (np.array([0.0, 1.0]), np.array([2.0, 1.0]))
        return _Sums(margin.name, arms[0], arms[1], (worst,), lambda s: s[:, 0] / s[:, 1], -1.0)
    k = len(cohort.labels)
    arms = [np.eye(k * k)[cohort.true * k + a.predicted] for a in (cohort.pristine, answers)]
    cell = np.eye(k * k)
    flips = [(cell[c * k + c], cell[c * k + d]) for c in _present(cohort) for d in range(k) if d != c]
    return _Sums(margin.name, arms[0], arms[1], tuple(flips), _of_confusion(margin, cohort.labels), 1.0)


def _present(cohort: Cohort) -> list[int]:
    """Return the classes that have cases; a worst-case patient is of one of them."""
    return [int(c) for c in np.unique(cohort.true)]


def _ece_samples(cohort: Cohort, answers: Answers, draws: DirichletWeights) -> tuple[float, float, Floats]:
    """Return the calibration error pristine, coded, and for each draw a bound of what it grew by.

    Chance opens gaps, the more the better the calibration is, so that the difference of two
    observed errors is too small where coding spoils a good one. What is drawn is therefore
    ``Σ_b |γ_b - g_b|`` over the bins' gaps coded and pristine: never less than the difference of
    the errors, and too large by chance, not too small. The worst-case patient adds its weight.
    """
    before, after = (calibration_gaps(cohort.true, a.probabilities) for a in (cohort.pristine, answers))
    n = cohort.true.size
    usual = usual_size(np.bincount(cohort.patient_of_case).astype(float))
    total = draws.kept("all cases", lambda: draws.sums(_per_patient(np.ones((n, 1)), cohort)))[:, 0]
    moved = np.abs(draws.sums(_per_patient(after - before, cohort))).sum(1)
    samples = (moved + usual * draws.worst) / (total + usual * draws.worst)
    was, now = (float(np.abs(gaps.mean(0)).sum()) for gaps in (before, after))
    return was, now, np.asarray(samples, float)


def _of_confusion(margin: Margin, labels: tuple[str, ...]) -> Finish:
    """Return the function from flat confusion matrices ``(m, K * K)`` to the metric ``(m,)``."""
    k = len(labels)
    place = labels.index(margin.label) if margin.label else -1
    functions = {
        "sensitivity": lambda m: metric.sensitivity(m).mean(-1),
        "precision": lambda m: metric.precision(m)[..., place],
        "f1": lambda m: metric.f1_score(m)[..., place],
        "macro_f1": metric.macro_f1,
    }
    chosen = functions[margin.metric]
    return lambda flat: np.asarray(chosen(flat.reshape(-1, k, k)))


def _loss_samples(sums: _Sums, cohort: Cohort, draws: DirichletWeights) -> Floats:
    """Return the loss of each draw, with the worst-case patient that costs the most."""
    before, after = (_per_patient(part, cohort) for part in (sums.before, sums.after))
    usual = usual_size(np.bincount(cohort.patient_of_case).astype(float))

    def loss_with(worst: tuple[Floats, Floats]) -> float:
        arms = (before.sum(0) + usual * worst[0], after.sum(0) + usual * worst[1])
        values = [float(sums.finish(arm[None])[0]) for arm in arms]
        loss = sums.sign * (values[0] - values[1])
        return -math.inf if math.isnan(loss) else loss

    was, turned = max(sums.worst, key=loss_with)
    plain = draws.kept(sums.name, lambda: draws.sums(before))
    changed = plain + draws.sums(after - before)
    pristine = draws.kept(
        (sums.name, was.tobytes()), lambda: sums.finish(draws.with_worst(plain, usual * was))
    )
    coded = sums.finish(draws.with_worst(changed, usual * turned))
    return np.asarray(sums.sign * (pristine - coded), float)


def _per_patient(features: Floats, cohort: Cohort) -> Floats:
    found = np.zeros((len(cohort.patients), features.shape[1]))
    np.add.at(found, cohort.patient_of_case, features)
    return found


def _auroc_samples(
    margin: Margin, cohort: Cohort, answers: Answers, draws: DirichletWeights
) -> tuple[float, float, Floats]:
    """Return AUROC pristine, coded, and the loss of each draw, the mean over the classes asked."""
    places = [cohort.labels.index(margin.label)] if margin.label else list(range(len(cohort.labels)))
    worst_class = _worst_of_auroc(places, cohort)
    weights = draws.kept("cases", lambda: _weights_of_cases(cohort, draws))

    def under_weights(arm: Answers, end: float) -> tuple[float, Floats]:
        parts = list(_one_against_rest(arm, end, places, cohort.true, worst_class))
        value = float(np.mean([metric.auroc(truth[:-1], score[:-1]) for truth, score in parts]))
        return value, np.mean([weighted_auroc(truth, score, weights) for truth, score in parts], axis=0)

    before = draws.kept((margin.name, worst_class), lambda: under_weights(cohort.pristine, math.inf))
    after = under_weights(answers, -math.inf)
    return before[0], after[0], np.asarray(before[1] - after[1], float)


def _weights_of_cases(cohort: Cohort, draws: DirichletWeights) -> Floats:
    """Return ``(draws, n_cases + 1)`` weights, the worst-case patient's cases as the last one."""
    usual = usual_size(np.bincount(cohort.patient_of_case).astype(float))
    columns = [*cohort.patient_of_case, len(cohort.patients)]
    rows = draws.weights().T[columns].astype(float)  # mixed precision would be cast at every step
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
    arm: Answers, end: float, places: list[int], true: NDArray[np.int64], worst_class: int
) -> Iterator[tuple[Bools, Floats]]:
    """Yield truth and scores of each class asked, with the worst-case case last.

    Its scores lie at the right end of the scale where ``end`` is infinite, at the wrong one where it
    is minus infinite.
    """
    for place in places:
        own = place == worst_class
        yield np.append(true == place, own), np.append(arm.probabilities[:, place], end if own else -end)
