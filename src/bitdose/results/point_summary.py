"""All numbers of one point: from its rows and the predictions at pristine to a ``PointSummary``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitdose.metrics.catalogue import METRICS
from bitdose.results.conditions import Condition, PristineReference, whole_condition
from bitdose.results.estimates import difference_of, estimate_of, share
from bitdose.results.rates import mean_psnr_db, number, rates_of
from bitdose.results.schema import OK
from bitdose.results.summary import ClassSummary, Flips, PointSummary
from bitdose.stats.estimate import Estimate
from bitdose.stats.obuchowski import obuchowski
from bitdose.stats.proportions import mcnemar_midp

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Compared:
    """A point's rows, its condition, and both conditions on the cases that the reference has too.

    ``early`` holds estimates by metric and class that need no draws but most of the other work.
    """

    rows: pl.DataFrame
    condition: Condition
    now: Condition
    then: Condition
    early: Mapping[tuple[str, int], tuple[Estimate, Estimate]]


def compare_point(rows: pl.DataFrame, reference: PristineReference) -> Compared:
    """Read one point's rows, failed ones among them, against the reference."""
    condition = whole_condition(reference.design, rows)
    now, then = reference.pair(condition)
    early = {
        (name, k): (estimate_of(metric, condition, k), difference_of(metric, now, then, k))
        for name, metric in METRICS.items()
        if metric.family == "auroc"
        for k in range(len(reference.design.labels))
    }
    return Compared(rows, condition, now, then, early)


def summarize_point(compared: Compared) -> PointSummary:
    """Take all numbers of one point."""
    rows, condition = compared.rows, compared.condition
    ok, first = rows.filter(rows["status"] == OK), rows.row(0, named=True)
    return PointSummary(
        point=first["point"],
        chain=first["codec_chain"],
        codec=first["codec_name"] or first["point"].split(":")[0],
        quality=first["codec_quality"],
        strength=first["codec_strength"],
        size=first["codec_size"] or "",
        n_ok=len(ok),
        n_failed=len(rows) - len(ok),
        estimates=_estimates(compared),
        classes=tuple(_class(k, compared) for k in range(len(condition.design.labels))),
        confusion=tuple(tuple(map(int, row)) for row in condition.confusion),
        flips=flips_between(compared.now, compared.then),
        **vars(rates_of(ok)),
        psnr_db=mean_psnr_db(ok),
        ssim=number(ok["ssim"].drop_nans().mean()),
        encode_ms=number(ok["encode_ms"].median()),
        decode_ms=number(ok["decode_ms"].median()),
    )


def _class(k: int, compared: Compared) -> ClassSummary:
    label, n = compared.condition.design.labels[k], int((compared.condition.true == k).sum())
    return ClassSummary(label=label, n=n, estimates=_estimates(compared, k))


def _estimates(compared: Compared, k: int = -1) -> dict[str, Estimate]:
    """Estimate every metric of a class, or of all classes, and then the differences against pristine."""
    values, differences = {}, {}
    for name, metric in METRICS.items():
        if not metric.estimated or (metric.of_class == "never") != (k < 0):
            continue
        if (name, k) in compared.early:
            values[name], differences[f"{name}_difference"] = compared.early[name, k]
            continue
        values[name] = estimate_of(metric, compared.condition, k)
        if metric.compared:
            differences[f"{name}_difference"] = difference_of(metric, compared.now, compared.then, k)
    return values | differences


def flips_between(now: Condition, then: Condition) -> Flips:
    """Count the predictions of the one condition that differ from the other's."""
    right_now, right_then = now.predicted == now.true, then.predicted == then.true
    lost, gained, changed = ~right_now & right_then, right_now & ~right_then, now.predicted != then.predicted
    everyone, clustered = np.ones(now.cases.size, bool), now.design.clustered
    n_changed, harmful, healed = int(changed.sum()), int(lost.sum()), int(gained.sum())
    midp = mcnemar_midp(healed, harmful) if now.cases.size and not clustered else math.nan
    p_value, method, why = midp, "mcnemar-midp", "" if now.cases.size else "no paired case"
    if clustered:
        test = obuchowski(gained, lost, now.patients)
        p_value, method, why = test.p_value, "obuchowski", test.reason
    return Flips(
        n=now.cases.size,
        changed=n_changed,
        right_to_wrong=harmful,
        wrong_to_right=healed,
        wrong_to_wrong=n_changed - harmful - healed,
        share=share(changed, everyone, now, "paired case"),
        harmful_share=share(lost, everyone, now, "paired case"),
        mcnemar_midp=midp,
        p_value=p_value,
        p_method=method,
        p_reason=why,
    )
