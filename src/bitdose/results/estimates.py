"""Estimates of one arm, and of the difference between two arms on the same cases.

Proportions take Wilson's interval and paired differences of them Tango's; where patients have
several cases both take the effective sample size (``stats/clusters.py``), and differences of F1
always do. F1 and the Brier score take BCa limits of a bootstrap over patients, the same draws for all
points. AUROC takes DeLong's interval, between patients where they have several cases, and its
paired difference Tango's at the effective number of pairs (``stats/areas.py``). The calibration error
has limits of its own (``stats/gaps.py``).
"""

from __future__ import annotations

import numpy as np

from bitdose.metrics import classification as metric
from bitdose.metrics.influence import f1_changes
from bitdose.results.predictions import Bools, Condition, Design, Floats
from bitdose.stats.areas import clustered_interval, difference_interval
from bitdose.stats.bootstrap import bca_interval
from bitdose.stats.clusters import clustered_tango, clustered_wilson, paired_difference
from bitdose.stats.delong import delong_interval
from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.gaps import gap_difference, gap_interval
from bitdose.stats.proportions import tango, wilson

NO_PAIR = "no case classified here and pristine"


def share(hits: Bools, among: Bools, arm: Condition, what: str) -> Estimate:
    """Share of hits among some of an arm's cases; ``what`` names the cases, for the reason."""
    hit, level = hits[among], arm.design.level
    if arm.design.clustered:
        return clustered_wilson(hit, arm.patients[among], level=level, what=what)
    return wilson(int(hit.sum()), hit.size, level=level, what=what)


def share_difference(now: Bools, then: Bools, among: Bools, arm: Condition, what: str = "") -> Estimate:
    """Share of cases right now minus those right then, among some of an arm's cases."""
    gained, lost = (now & ~then)[among], (~now & then)[among]
    if what and arm.cases.size and not gained.size:
        return undefined(f"no {what}", level=arm.design.level, unit=arm.design.unit)
    if arm.design.clustered:
        return clustered_tango(gained, lost, arm.patients[among], level=arm.design.level)
    return tango(int(gained.sum()), int(lost.sum()), gained.size, level=arm.design.level)


def accuracy_difference(now: Condition, then: Condition) -> Estimate:
    """Accuracy of the one arm minus that of the other."""
    everyone = np.ones(now.cases.size, bool)
    return share_difference(now.predicted == now.true, then.predicted == then.true, everyone, now)


def macro_f1(arm: Condition) -> Estimate:
    """Mean of the classes' F1."""
    influence = arm.f1_influence.mean(1)
    value, samples = float(metric.macro_f1(arm.confusion)), metric.macro_f1(arm.confusions)
    return _boot(value, samples, influence, arm, _absent(arm))


def macro_f1_difference(now: Condition, then: Condition) -> Estimate:
    """Mean of the classes' F1, of the one arm minus the other."""
    return _f1_difference(now, then, list(range(len(now.design.labels))), _absent(now))


def f1(arm: Condition, k: int) -> Estimate:
    """F1 of class k."""
    influence = arm.f1_influence[:, k]
    value, samples = metric.f1_score(arm.confusion)[k], metric.f1_score(arm.confusions)[:, k]
    return _boot(float(value), samples, influence, arm, _no_case(arm, k))


def f1_difference(now: Condition, then: Condition, k: int) -> Estimate:
    """F1 of class k, of the one arm minus the other."""
    return _f1_difference(now, then, [k], _no_case(now, k))


def auroc(arm: Condition, k: int) -> Estimate:
    """Area under the ROC curve of class k against the rest."""
    if why := arm.without_probabilities:
        return _undefined(why, arm.design)
    area, level = arm.areas[k], arm.design.level
    if arm.design.clustered:
        return clustered_interval(area, arm.patients, level=level)
    return delong_interval(area, level=level)


def auroc_difference(now: Condition, then: Condition, k: int) -> Estimate:
    """Area under the ROC curve of class k, of the one arm minus the other."""
    if why := _unpaired(now, then):
        return _undefined(why, now.design)
    patients = now.patients if now.design.clustered else None
    return difference_interval(now.areas[k], then.areas[k], patients, level=now.design.level)


def brier(arm: Condition) -> Estimate:
    """Brier score over all classes."""
    if arm.without_probabilities:
        return _undefined(arm.without_probabilities, arm.design)
    value = float(arm.brier.mean())
    return _boot(value, arm.brier_samples, (arm.brier - value) / arm.brier.size, arm, "")


def brier_difference(now: Condition, then: Condition) -> Estimate:
    """Brier score of the one arm minus that of the other."""
    if why := _unpaired(now, then):
        return _undefined(why, now.design)
    change = now.brier - then.brier
    value, spread = float(change.mean()), now.brier_samples - then.brier_samples
    return _boot(value, spread, (change - value) / change.size, now, "")


def ece(arm: Condition) -> Estimate:
    """Calibration error of the most probable class."""
    if arm.without_probabilities:
        return _undefined(arm.without_probabilities, arm.design)
    design = arm.design
    return gap_interval(
        arm.gaps.mean(0), arm.gap_samples, n=design.n_patients, level=design.level, unit=design.unit
    )


def ece_difference(now: Condition, then: Condition) -> Estimate:
    """Calibration error of the one arm minus that of the other."""
    if why := _unpaired(now, then):
        return _undefined(why, now.design)
    design = now.design
    gaps, samples = (now.gaps.mean(0), then.gaps.mean(0)), (now.gap_samples, then.gap_samples)
    return gap_difference(gaps, samples, n=design.n_patients, level=design.level, unit=design.unit)


def _f1_difference(now: Condition, then: Condition, classes: list[int], absent: str) -> Estimate:
    """Mean over some classes of F1, of the one arm minus the other; ``absent`` says which have no case."""
    if not now.cases.size:
        return _undefined(NO_PAIR, now.design)
    patients_of = [int(np.count_nonzero(np.bincount(now.patients[now.true == k]))) for k in classes]
    if not all(patients_of):
        return _undefined(absent, now.design)
    n_classes = len(now.design.labels)
    changes = f1_changes(now.true, then.predicted, now.predicted, n_classes)
    pull = now.f1_influence - then.f1_influence
    moved, pulled = (part[:, classes].mean(1) for part in (changes, pull))
    least, design = min(patients_of), now.design
    return paired_difference(moved, pulled, now.patients, least=least, level=design.level, unit=design.unit)


def _boot(value: float, samples: Floats, influence: Floats, arm: Condition, reason: str) -> Estimate:
    design = arm.design
    return bca_interval(
        value,
        samples,
        arm.by_patient(influence),
        n=design.n_patients,
        level=design.level,
        reason=reason,
        unit=design.unit,
    )


def _undefined(reason: str, design: Design) -> Estimate:
    return undefined(reason, level=design.level, unit=design.unit)


def _unpaired(now: Condition, then: Condition) -> str:
    """Say why probabilities cannot be compared, if so."""
    return NO_PAIR if not now.cases.size else now.without_probabilities or then.without_probabilities


def _no_case(arm: Condition, k: int) -> str:
    return f"no case of class {arm.design.labels[k]!r}"


def _absent(arm: Condition) -> str:
    labels = arm.design.labels
    missing = [label for label, row in zip(labels, arm.confusion, strict=True) if not row.sum()]
    return f"no case of class {', '.join(map(repr, missing))}" if missing else ""
