"""One margin at one point: from a cohort's answers to a test of the loss.

Three kinds of metric, three tests:

- **shares of cases** (accuracy, a class's sensitivity or specificity): cases gained and lost;
- **rates of flips**: the exact binomial test;
- **everything else** (F1, AUROC, calibration, means over classes): draws of weights, the same for
  both arms.

Where a patient has several cases, all three take draws of weights of patients; a share must pass
Tango's test at the effective sample size as well. The worst-case patient of each draw is right at
pristine and wrong when coded on all of its cases, as many as the patient of a random case has.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitdose.decision.base import MarginTest
from bitdose.decision.cohort import Answers, Cohort
from bitdose.decision.dirichlet import DirichletWeights, usual_size
from bitdose.decision.resampled_tests import check_composite
from bitdose.rule.margins import Margin
from bitdose.stats.clusters import effective_size
from bitdose.stats.noninferiority import (
    LossTest,
    both,
    draws_test,
    paired_loss_test,
    rate_test,
    tango_p,
    untestable,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def check_margin(
    margin: Margin, cohort: Cohort, answers: Answers, draws: DirichletWeights, *, alpha: float
) -> MarginTest:
    """Test one margin of one point.

    Parameters
    ----------
    margin : Margin
        What is asked; its class must be one of the cohort's labels.
    cohort : Cohort
        The cases with their pristine answers.
    answers : Answers
        Those of the point.
    draws : DirichletWeights
        Weightings of the cohort's patients.
    alpha : float
        One-sided level.

    Returns
    -------
    MarginTest
        With NaN and the reason where the metric is undefined or answers are missing.
    """
    reason = answers.reason or _undefined(margin, cohort)
    if reason:
        return MarginTest(margin, math.nan, math.nan, _untestable(margin, cohort, alpha, reason))
    if margin.is_rate:
        return _test_rate(margin, cohort, answers, draws, alpha)
    if is_share(margin):
        return _test_share(margin, cohort, answers, draws, alpha)
    return check_composite(margin, cohort, answers, draws, alpha=alpha)


def is_share(margin: Margin) -> bool:
    """Whether a metric is a share of cases: an accuracy, a rate, a sensitivity of one class."""
    simple = margin.is_rate or margin.metric in {"accuracy", "specificity"}
    return simple or (margin.metric == "sensitivity" and bool(margin.label))


def among(margin: Margin, cohort: Cohort) -> Bools:
    """Return which cases a metric is of, ``(n_cases,)``."""
    if not margin.label:
        return np.ones(cohort.true.size, bool)
    of_class = cohort.true == cohort.labels.index(margin.label)
    if margin.metric == "specificity":
        return np.asarray(~of_class)
    return of_class if margin.metric in {"sensitivity", "harmful_flips", "flips"} else np.ones_like(of_class)


def changed_share(margin: Margin, cohort: Cohort, answers: Answers) -> float:
    """Return the share of a metric's cases whose answer turns right or wrong; NaN without answers."""
    mask = among(margin, cohort)
    if answers.reason or not mask.any():
        return math.nan
    before, after = right(margin, cohort, cohort.pristine), right(margin, cohort, answers)
    return float((before != after)[mask].mean())


def _undefined(margin: Margin, cohort: Cohort) -> str:
    """Say why a metric has no value on these cases; empty where it may have one."""
    counts = np.bincount(cohort.true, minlength=len(cohort.labels))
    classes = [margin.label] if margin.label else list(cohort.labels)
    asks_all = not margin.label and margin.metric in {"sensitivity", "macro_f1", "auroc"}
    if margin.label or asks_all:
        missing = [c for c in classes if not counts[cohort.labels.index(c)]]
        if missing and margin.metric != "specificity":
            return f"no case of class {', '.join(map(repr, missing))}"
        full = [c for c in classes if counts[cohort.labels.index(c)] == cohort.true.size]
        if full and margin.metric in {"specificity", "auroc", "precision"}:
            return f"every case is of class {full[0]!r}"
    if margin.metric in {"auroc", "brier", "ece"} and not cohort.pristine.probabilities.size:
        return "the results hold no probabilities"
    return ""


def _untestable(margin: Margin, cohort: Cohort, alpha: float, reason: str) -> LossTest:
    n, unit = cohort.units(among(margin, cohort))
    return untestable(reason, margin=margin.limit, alpha=alpha, n=n, unit=unit)


def right(margin: Margin, cohort: Cohort, answers: Answers) -> Bools:
    """Return which cases are right in the metric's sense."""
    if margin.metric == "specificity":
        return np.asarray(answers.predicted != cohort.labels.index(margin.label))
    return np.asarray(answers.predicted == cohort.true)


def _test_share(
    margin: Margin, cohort: Cohort, answers: Answers, draws: DirichletWeights, alpha: float
) -> MarginTest:
    mask = among(margin, cohort)
    before, after = (right(margin, cohort, a)[mask] for a in (cohort.pristine, answers))
    gained, lost = after & ~before, before & ~after
    if not cohort.clustered:
        found = paired_loss_test(
            int(gained.sum()), int(lost.sum()), before.size, margin=margin.limit, alpha=alpha
        )
        return MarginTest(margin, float(before.mean()), float(after.mean()), found)
    loss = lost.astype(float) - gained
    patients = cohort.patient_of_case[mask]
    size = effective_size(loss, patients)
    by_score = _tango_clustered(float(gained.mean()) * size, float(lost.mean()) * size, size, margin, alpha)
    found = both(_test_mean(loss, patients, draws, margin, alpha), by_score)
    return MarginTest(margin, float(before.mean()), float(after.mean()), found)


def _tango_clustered(gained: float, lost: float, size: float, margin: Margin, alpha: float) -> LossTest:
    from bitdose.stats.proportions import tango

    limits = tango(gained, lost, size, level=1 - 2 * alpha)
    p = tango_p(gained, lost, size, margin.limit)
    n = round(size)
    return LossTest(-limits.value, -limits.low, p, margin.limit, alpha, "tango-rao-scott", n, "patient")


def _test_rate(
    margin: Margin, cohort: Cohort, answers: Answers, draws: DirichletWeights, alpha: float
) -> MarginTest:
    mask = among(margin, cohort)
    now, then = answers.predicted[mask], cohort.pristine.predicted[mask]
    event = now != then
    if margin.metric == "harmful_flips":
        event &= then == cohort.true[mask]
    if cohort.clustered:
        patients = cohort.patient_of_case[mask]
        found = _test_mean(event.astype(float), patients, draws, margin, alpha)
    else:
        found = rate_test(int(event.sum()), event.size, margin=margin.limit, alpha=alpha)
    return MarginTest(margin, math.nan, float(event.mean()), found)


def _test_mean(
    loss: Floats, patients: NDArray[np.int64], draws: DirichletWeights, margin: Margin, alpha: float
) -> LossTest:
    """Test a mean over cases by weights of patients, one of them lost altogether."""
    size = draws.patients.shape[0]
    per_patient = np.bincount(patients, weights=loss, minlength=size)
    cases = np.bincount(patients, minlength=size).astype(float)
    usual = usual_size(cases)
    total = draws.kept(("cases", cases.tobytes()), lambda: draws.sums(cases[:, None]))
    sums = draws.with_worst(
        np.hstack([draws.sums(per_patient[:, None].astype(float)), total]), np.array([usual, usual])
    )
    samples = sums[:, 0] / sums[:, 1]
    n = int((cases > 0).sum())
    return draws_test(
        float(loss.mean()), samples.astype(float), margin=margin.limit, alpha=alpha, n=n, unit="patient"
    )
