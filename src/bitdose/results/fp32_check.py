"""What a precision does without any coding: a study's pristine predictions beside those in fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitdose.results import estimates as estimate
from bitdose.results.conditions import PristineReference, whole_condition
from bitdose.results.point_summary import flips_between
from bitdose.results.rates import number
from bitdose.results.schema import OK, PROBABILITY_PREFIX
from bitdose.results.summary import InFp32

if TYPE_CHECKING:
    import polars as pl

_PREDICTED = "fp32_predicted"


def compare_with_fp32(pristine: pl.DataFrame | None, reference: PristineReference) -> InFp32 | None:
    """Compare a study's pristine predictions with those of the same network in fp32.

    Parameters
    ----------
    pristine : polars.DataFrame or None
        The pristine rows.
    reference : PristineReference
        Of these rows.

    Returns
    -------
    InFp32 or None
        None where no row holds a prediction in fp32: the study itself ran in it.
    """
    if pristine is None or _PREDICTED not in pristine.columns:
        return None
    both = pristine.filter((pristine["status"] == OK) & pristine[_PREDICTED].is_not_null())
    if not len(both):
        return None
    design = reference.design
    others = [name for name in both.columns if name.startswith(PROBABILITY_PREFIX)]
    plain = both.drop(*others, "predicted").rename({_PREDICTED: "predicted"})
    then, now = whole_condition(design, plain), whole_condition(design, both)
    everyone = np.ones(then.cases.size, bool)
    return InFp32(
        n=then.cases.size,
        accuracy=estimate.share(then.predicted == then.true, everyone, then, "classified case"),
        accuracy_difference=estimate.accuracy_difference(now, then),
        flips=flips_between(now, then),
        largest_gap=number(both["fp32_gap"].max()),
    )
