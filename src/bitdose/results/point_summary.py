"""All numbers of one point: from its rows and the answers at pristine to a ``PointSummary``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitdose.results import estimates as estimate
from bitdose.results.predictions import Condition, PristineReference, answers_at, whole_arm
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
    """A point's rows, its arm, and the two arms on the cases that the reference has too.

    ``aurocs`` and ``auroc_differences`` are those of each class: most of the work that needs no draws.
    """

    rows: pl.DataFrame
    arm: Condition
    now: Condition
    then: Condition
    aurocs: tuple[Estimate, ...]
    auroc_differences: tuple[Estimate, ...]


def compare_point(rows: pl.DataFrame, reference: PristineReference) -> Compared:
    """Read one point's rows, failed ones among them, against the reference."""
    design = reference.design
    arm = whole_arm(design, answers_at(rows, design))
    now, then = reference.pair(arm)
    classes = range(len(design.labels))
    aurocs = tuple(estimate.auroc(arm, k) for k in classes)
    return Compared(
        rows, arm, now, then, aurocs, tuple(estimate.auroc_difference(now, then, k) for k in classes)
    )


def summarize_point(compared: Compared) -> PointSummary:
    """Take all numbers of one point."""
    rows, arm, now, then = compared.rows, compared.arm, compared.now, compared.then
    ok, first = rows.filter(rows["status"] == OK), rows.row(0, named=True)
    everyone = np.ones(arm.cases.size, bool)
    return PointSummary(
        point=first["point"],
        chain=first["codec_chain"],
        codec=first["codec_name"] or first["point"].split(":")[0],
        quality=first["codec_quality"],
        strength=first["codec_strength"],
        size=first["codec_size"] or "",
        n_ok=len(ok),
        n_failed=len(rows) - len(ok),
        accuracy=estimate.share(arm.predicted == arm.true, everyone, arm, "classified case"),
        macro_f1=estimate.macro_f1(arm),
        accuracy_difference=estimate.accuracy_difference(now, then),
        macro_f1_difference=estimate.macro_f1_difference(now, then),
        brier=estimate.brier(arm),
        ece=estimate.ece(arm),
        brier_difference=estimate.brier_difference(now, then),
        ece_difference=estimate.ece_difference(now, then),
        classes=tuple(_class(k, compared) for k in range(len(arm.design.labels))),
        confusion=tuple(tuple(map(int, row)) for row in arm.confusion),
        flips=flips_between(now, then),
        **vars(rates_of(ok)),
        psnr_db=mean_psnr_db(ok),
        ssim=number(ok["ssim"].drop_nans().mean()),
        encode_ms=number(ok["encode_ms"].median()),
        decode_ms=number(ok["decode_ms"].median()),
    )


def _class(k: int, compared: Compared) -> ClassSummary:
    arm, now, then = compared.arm, compared.now, compared.then
    label = arm.design.labels[k]
    inside, outside = f"case of class {label!r}", f"case outside class {label!r}"
    is_class, called, positive = arm.true == k, arm.predicted == k, now.true == k
    now_called, then_called = now.predicted == k, then.predicted == k
    return ClassSummary(
        label=label,
        n=int(is_class.sum()),
        sensitivity=estimate.share(called, is_class, arm, inside),
        specificity=estimate.share(~called, ~is_class, arm, outside),
        precision=estimate.share(is_class, called, arm, f"answer {label!r}"),
        f1=estimate.f1(arm, k),
        auroc=compared.aurocs[k],
        sensitivity_difference=estimate.share_difference(now_called, then_called, positive, now, inside),
        specificity_difference=estimate.share_difference(~now_called, ~then_called, ~positive, now, outside),
        f1_difference=estimate.f1_difference(now, then, k),
        auroc_difference=compared.auroc_differences[k],
    )


def flips_between(now: Condition, then: Condition) -> Flips:
    """Count the answers of the one arm that differ from the other's."""
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
        share=estimate.share(changed, everyone, now, "paired case"),
        harmful_share=estimate.share(lost, everyone, now, "paired case"),
        mcnemar_midp=midp,
        p_value=p_value,
        p_method=method,
        p_reason=why,
    )
