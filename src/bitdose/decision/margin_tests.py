"""One margin at one point: from a cohort's predictions to a test of the loss.

Which test follows from the metric's family in ``metrics/catalogue.py``:

- **shares of cases** (accuracy, a class's sensitivity or specificity): cases gained and lost;
- **rates of flips**: the exact binomial test;
- **everything else** (F1, Matthews' correlation, AUROC, calibration, means over classes): Dirichlet
  weights, the same for both conditions.

Where a patient has several cases, all three take Dirichlet weights of patients; a share must pass
Tango's test at the effective sample size as well. The worst-case patient of each weighting is right at
pristine and wrong when coded on all of its cases, as many as the patient of a random case has.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitdose.decision.base import MarginTest
from bitdose.decision.dirichlet import DirichletWeights, usual_size
from bitdose.decision.resampled_tests import check_composite
from bitdose.results.predictions import Cohort, ConditionPredictions
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
    margin: Margin, cohort: Cohort, coded: ConditionPredictions, weights: DirichletWeights, *, alpha: float
) -> MarginTest:
    """Test one margin of one point.

    Parameters
    ----------
    margin : Margin
        What is asked; its class must be one of the cohort's labels.
    cohort : Cohort
        The cases with their pristine predictions.
    coded : ConditionPredictions
        Those of the point.
    weights : DirichletWeights
        Weightings of the cohort's patients.
    alpha : float
        One-sided level.

    Returns
    -------
    MarginTest
        With NaN and the reason where the metric is undefined or predictions are missing.
    """
    reason = coded.reason or _undefined(margin, cohort)
    if reason:
        return MarginTest(margin, math.nan, math.nan, _untestable(margin, cohort, alpha, reason))
    if margin.is_rate:
        return _test_rate(margin, cohort, coded, weights, alpha)
    if is_share(margin):
        return _test_share(margin, cohort, coded, weights, alpha)
    return check_composite(margin, cohort, coded, weights, alpha=alpha)


def is_share(margin: Margin) -> bool:
    """Whether a metric is a share of cases: an accuracy, a rate, a sensitivity of one class."""
    return margin.kind.tested_as(margin.label) in {"share", "flips"}


def among(margin: Margin, cohort: Cohort) -> Bools:
    """Return which cases a metric is of, ``(n_cases,)``."""
    if margin.is_rate and margin.label:
        return np.asarray(cohort.true == cohort.labels.index(margin.label))
    return _hits(margin, cohort, cohort.pristine)[1]


def right(margin: Margin, cohort: Cohort, predictions: ConditionPredictions) -> Bools:
    """Return which cases are right in the metric's sense, ``(n_cases,)``; of use among its own cases only."""
    return _hits(margin, cohort, predictions)[0]


def _hits(margin: Margin, cohort: Cohort, predictions: ConditionPredictions) -> tuple[Bools, Bools]:
    """Return which cases are hits, and which they are among; without a share, those right among all."""
    share = margin.kind.share
    if share and margin.kind.tested_as(margin.label) == "share":
        place = cohort.labels.index(margin.label) if margin.label else -1
        return share(cohort.true, predictions.predicted, place)
    return np.asarray(predictions.predicted == cohort.true), np.ones(cohort.true.size, bool)


def changed_share(margin: Margin, cohort: Cohort, coded: ConditionPredictions) -> float:
    """Return the share of a metric's cases that turn right or wrong; NaN without predictions."""
    mask = among(margin, cohort)
    if coded.reason or not mask.any():
        return math.nan
    before, after = right(margin, cohort, cohort.pristine), right(margin, cohort, coded)
    return float((before != after)[mask].mean())


def _undefined(margin: Margin, cohort: Cohort) -> str:
    """Say why a metric has no value on these cases; empty where it may have one."""
    counts, needs = np.bincount(cohort.true, minlength=len(cohort.labels)), margin.kind.needs
    every_class = cohort.labels if margin.kind.every_class else ()
    classes = [margin.label] if margin.label else every_class
    missing = [c for c in classes if not counts[cohort.labels.index(c)]]
    if missing and "positives" in needs:
        return f"no case of class {', '.join(map(repr, missing))}"
    full = [c for c in classes if counts[cohort.labels.index(c)] == cohort.true.size]
    if full and "negatives" in needs:
        return f"every case is of class {full[0]!r}"
    if "probabilities" in needs and not cohort.pristine.probabilities.size:
        return "the results hold no probabilities"
    return ""


def _untestable(margin: Margin, cohort: Cohort, alpha: float, reason: str) -> LossTest:
    n, unit = cohort.units(among(margin, cohort))
    return untestable(reason, margin=margin.limit, alpha=alpha, n=n, unit=unit)


def _test_share(
    margin: Margin, cohort: Cohort, coded: ConditionPredictions, weights: DirichletWeights, alpha: float
) -> MarginTest:
    mask = among(margin, cohort)
    before, after = (right(margin, cohort, a)[mask] for a in (cohort.pristine, coded))
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
    found = both(_test_mean(loss, patients, weights, margin, alpha), by_score)
    return MarginTest(margin, float(before.mean()), float(after.mean()), found)


def _tango_clustered(gained: float, lost: float, size: float, margin: Margin, alpha: float) -> LossTest:
    from bitdose.stats.proportions import tango

    limits = tango(gained, lost, size, level=1 - 2 * alpha)
    p = tango_p(gained, lost, size, margin.limit)
    n = round(size)
    return LossTest(-limits.value, -limits.low, p, margin.limit, alpha, "tango-rao-scott", n, "patient")


def _test_rate(
    margin: Margin, cohort: Cohort, coded: ConditionPredictions, weights: DirichletWeights, alpha: float
) -> MarginTest:
    mask = among(margin, cohort)
    if margin.kind.event is None:
        raise TypeError(f"{margin.metric}: a metric of the family 'flips' needs a function 'event'")
    event = margin.kind.event(cohort.true, cohort.pristine.predicted, coded.predicted)[mask]
    if cohort.clustered:
        patients = cohort.patient_of_case[mask]
        found = _test_mean(event.astype(float), patients, weights, margin, alpha)
    else:
        found = rate_test(int(event.sum()), event.size, margin=margin.limit, alpha=alpha)
    return MarginTest(margin, math.nan, float(event.mean()), found)


def _test_mean(
    loss: Floats, patients: NDArray[np.int64], weights: DirichletWeights, margin: Margin, alpha: float
) -> LossTest:
    """Test a mean over cases by weights of patients, one of them lost altogether."""
    size = weights.patients.shape[0]
    per_patient = np.bincount(patients, weights=loss, minlength=size)
    cases = np.bincount(patients, minlength=size).astype(float)
    usual = usual_size(cases)
    total = weights.kept(("cases", cases.tobytes()), lambda: weights.sums(cases[:, None]))
    sums = weights.with_worst(
        np.hstack([weights.sums(per_patient[:, None].astype(float)), total]), np.array([usual, usual])
    )
    samples = sums[:, 0] / sums[:, 1]
    n = int((cases > 0).sum())
    return draws_test(
        float(loss.mean()), samples.astype(float), margin=margin.limit, alpha=alpha, n=n, unit="patient"
    )
