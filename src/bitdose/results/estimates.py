"""Estimates of one condition, and of the difference between two conditions on the same cases.

What is estimated is a row of ``metrics/catalogue.py``, and how follows from its family. Proportions take
Wilson's interval and paired differences of them Tango's; where patients have several cases both take the
effective sample size (``stats/clusters.py``), and differences of functions of the confusion matrix (F1,
Matthews' correlation) always do. Those functions and the Brier score take BCa limits of a bootstrap over
patients, the same draws for all points. AUROC takes DeLong's interval, between patients where they have
several cases, and its paired difference Tango's at the effective number of pairs (``stats/areas.py``). The
calibration error has limits of its own (``stats/gaps.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from bitdose.metrics.catalogue import METRICS, Family, Metric
from bitdose.metrics.influence import confusion_changes, confusion_influence
from bitdose.results.conditions import Bools, Condition, Design, Floats
from bitdose.stats.areas import clustered_interval, difference_interval
from bitdose.stats.bootstrap import bca_interval
from bitdose.stats.clusters import clustered_tango, clustered_wilson, paired_difference
from bitdose.stats.delong import delong_interval
from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.gaps import gap_difference, gap_interval
from bitdose.stats.proportions import tango, wilson

NO_PAIR = "no case classified here and pristine"


def share(hits: Bools, among: Bools, condition: Condition, what: str) -> Estimate:
    """Share of hits among some of an condition's cases; ``what`` names the cases, for the reason."""
    hit, level = hits[among], condition.design.level
    if condition.design.clustered:
        return clustered_wilson(hit, condition.patients[among], level=level, what=what)
    return wilson(int(hit.sum()), hit.size, level=level, what=what)


def share_difference(now: Bools, then: Bools, among: Bools, condition: Condition, what: str = "") -> Estimate:
    """Share of cases right now minus those right then, among some of an condition's cases."""
    gained, lost = (now & ~then)[among], (~now & then)[among]
    if what and condition.cases.size and not gained.size:
        return undefined(f"no {what}", level=condition.design.level, unit=condition.design.unit)
    if condition.design.clustered:
        return clustered_tango(gained, lost, condition.patients[among], level=condition.design.level)
    return tango(int(gained.sum()), int(lost.sum()), gained.size, level=condition.design.level)


def accuracy_difference(now: Condition, then: Condition) -> Estimate:
    """Accuracy of the one condition minus that of the other."""
    return difference_of(METRICS["accuracy"], now, then)


def estimate_of(metric: Metric, condition: Condition, k: int = -1) -> Estimate:
    """Estimate one metric of one condition.

    Parameters
    ----------
    metric : Metric
        Of the catalogue; none of the flips.
    condition : Condition
        The predictions.
    k : int
        Index of the class; -1 for a metric of all classes.
    """
    return _ESTIMATES[metric.family](metric, condition, k)


def difference_of(metric: Metric, now: Condition, then: Condition, k: int = -1) -> Estimate:
    """Estimate one metric of the one condition minus the other; parameters as of :func:`estimate_of`."""
    return _DIFFERENCES[metric.family](metric, now, then, k)


def _share(metric: Metric, condition: Condition, k: int) -> Estimate:
    hits, among = _hits(metric, condition, k)
    return share(hits, among, condition, _among(metric, condition, k))


def _share_difference(metric: Metric, now: Condition, then: Condition, k: int) -> Estimate:
    hits, among = _hits(metric, now, k)
    return share_difference(hits, _hits(metric, then, k)[0], among, now, _among(metric, now, k))


def _hits(metric: Metric, condition: Condition, k: int) -> tuple[Bools, Bools]:
    if metric.share is None:
        raise TypeError(f"{metric.words}: a metric of the family 'share' needs a function 'share'")
    return metric.share(condition.true, condition.predicted, k)


def _among(metric: Metric, condition: Condition, k: int) -> str:
    return metric.among.format(repr(condition.design.labels[k])) if k >= 0 else metric.among


def _of_confusion(metric: Metric, condition: Condition, k: int) -> Estimate:
    value = float(metric.of_confusion(condition.confusion, k))
    samples = metric.of_confusion(condition.confusions, k)
    why = _undefined_why(metric, condition, k)
    return _boot(value, samples, _influence(metric, condition, k), condition, why)


def _confusion_difference(metric: Metric, now: Condition, then: Condition, k: int) -> Estimate:
    """Metric of the one condition minus the other, from the part that each changed prediction has in it."""
    if not now.cases.size:
        return _undefined(NO_PAIR, now.design)
    why = next((why for one in (now, then) if (why := _undefined_why(metric, one, k))), "")
    if why:
        return _undefined(why, now.design)
    design, classes = now.design, range(len(now.design.labels))
    patients_of = [np.unique(now.patients[now.true == c]).size for c in (classes if k < 0 else [k])]
    if metric.changes:
        table = metric.changes(now.true, then.predicted, now.predicted, len(classes))
        moved = _of_classes(table, k)
    else:
        function = partial(metric.of_confusion, place=k)
        moved = confusion_changes(function, now.true, then.predicted, now.predicted, len(classes))
    pulled = _influence(metric, now, k) - _influence(metric, then, k)
    # Tango's interval is of a difference of shares, in (-1, 1): a wider range is told in its own width.
    width, least = metric.high - metric.low, min(n for n in patients_of if n)
    found = paired_difference(
        moved / width, pulled / width, now.patients, least=least, level=design.level, unit=design.unit
    )
    return replace(found, value=width * found.value, low=width * found.low, high=width * found.high)


def _influence(metric: Metric, condition: Condition, k: int) -> Floats:
    if metric.influence:
        return _of_classes(condition.influence(metric.influence), k)
    function = partial(metric.of_confusion, place=k)
    return confusion_influence(function, condition.true, condition.predicted, len(condition.design.labels))


def _of_classes(table: Floats, k: int) -> Floats:
    return np.asarray(table[:, k] if k >= 0 else table.mean(1))


def _undefined_why(metric: Metric, condition: Condition, k: int) -> str:
    """Say why a function of the confusion matrix has no value; empty where it has one."""
    labels, asked = condition.design.labels, [k] if k >= 0 else []
    asked = list(range(len(labels))) if metric.every_class and k < 0 else asked
    if "positives" in metric.needs:
        missing = [labels[c] for c in asked if not condition.confusion[c].sum()]
        if missing:
            return f"no case of class {', '.join(map(repr, missing))}"
    if not condition.cases.size:
        return "no case classified"
    return metric.undefined if np.isnan(metric.of_confusion(condition.confusion, k)) else ""


def _auroc(_metric: Metric, condition: Condition, k: int) -> Estimate:
    """Area under the ROC curve of class k against the rest."""
    if why := condition.without_probabilities:
        return _undefined(why, condition.design)
    area, level = condition.areas[k], condition.design.level
    if condition.design.clustered:
        return clustered_interval(area, condition.patients, level=level)
    return delong_interval(area, level=level)


def _auroc_difference(_metric: Metric, now: Condition, then: Condition, k: int) -> Estimate:
    if why := _unpaired(now, then):
        return _undefined(why, now.design)
    patients = now.patients if now.design.clustered else None
    return difference_interval(now.areas[k], then.areas[k], patients, level=now.design.level)


def _brier(_metric: Metric, condition: Condition, _k: int) -> Estimate:
    if condition.without_probabilities:
        return _undefined(condition.without_probabilities, condition.design)
    value = float(condition.brier.mean())
    influence = (condition.brier - value) / condition.brier.size
    return _boot(value, condition.brier_samples, influence, condition, "")


def _brier_difference(_metric: Metric, now: Condition, then: Condition, _k: int) -> Estimate:
    if why := _unpaired(now, then):
        return _undefined(why, now.design)
    change = now.brier - then.brier
    value, spread = float(change.mean()), now.brier_samples - then.brier_samples
    return _boot(value, spread, (change - value) / change.size, now, "")


def _ece(_metric: Metric, condition: Condition, _k: int) -> Estimate:
    if condition.without_probabilities:
        return _undefined(condition.without_probabilities, condition.design)
    design, gaps = condition.design, condition.gaps.mean(0)
    return gap_interval(
        gaps, condition.gap_samples, n=design.n_patients, level=design.level, unit=design.unit
    )


def _ece_difference(_metric: Metric, now: Condition, then: Condition, _k: int) -> Estimate:
    if why := _unpaired(now, then):
        return _undefined(why, now.design)
    design = now.design
    gaps, samples = (now.gaps.mean(0), then.gaps.mean(0)), (now.gap_samples, then.gap_samples)
    return gap_difference(gaps, samples, n=design.n_patients, level=design.level, unit=design.unit)


def _boot(value: float, samples: Floats, influence: Floats, condition: Condition, reason: str) -> Estimate:
    design = condition.design
    return bca_interval(
        value,
        samples,
        condition.by_patient(influence),
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


_ESTIMATES: dict[Family, Callable[[Metric, Condition, int], Estimate]] = {
    "share": _share,
    "confusion": _of_confusion,
    "auroc": _auroc,
    "brier": _brier,
    "ece": _ece,
}
_DIFFERENCES: dict[Family, Callable[[Metric, Condition, Condition, int], Estimate]] = {
    "share": _share_difference,
    "confusion": _confusion_difference,
    "auroc": _auroc_difference,
    "brier": _brier_difference,
    "ece": _ece_difference,
}
