"""What a precision does by itself: a study's pristine answers beside those in fp32."""

from __future__ import annotations

from typing import Any

import pytest

from bitdose.results.schema import PRISTINE
from bitdose.results.summarize import summarize
from bitdose.results.table import rows_to_table
from bitdose.stats.proportions import tango, wilson

# Case: true class, pristine answer, the same in fp32, the largest gap.
ANSWERS = {
    "1": ("sick", "sick", "sick", 0.01),
    "2": ("sick", "well", "sick", 0.30),  # the precision lost it
    "3": ("well", "well", "sick", 0.20),  # and gained this one
    "4": ("well", "well", "well", 0.00),
    "5": ("well", "sick", "sick", 0.05),
    "6": ("sick", "well", "sick", 0.10),  # lost as well
}


def rows(*, fp32: bool) -> list[dict[str, Any]]:
    """Write six cases at pristine and at one coded point, where nothing is known of fp32."""
    found = []
    for case, (label, answer, plain, gap) in ANSWERS.items():
        for point in (PRISTINE, "jpeg:q50"):
            more = {"fp32_predicted": plain, "fp32_gap": gap} if fp32 and point == PRISTINE else {}
            found.append(
                {
                    "case_id": case, "case_label": label, "point": point, "codec_chain": point[:4],
                    "codec_strength": 0.0, "bytes_file": 9, "bytes_pixels": 9, "bytes_coded": 9,
                    "model": "toy-bf16@1", "predicted": answer, "p_sick": 0.5, "p_well": 0.5, "status": "ok",
                } | more
            )  # fmt: skip
    return found


def test_the_counts_are_those_by_hand() -> None:
    """In fp32 four of six are right; the precision loses two and gains one."""
    found = summarize(rows_to_table(rows(fp32=True))).in_fp32
    assert found is not None
    assert (found.n, found.largest_gap) == (6, 0.30)
    assert found.accuracy == wilson(4, 6, level=0.95, what="classified case")
    assert found.accuracy_difference == tango(1, 2, 6, level=0.95)
    flips = found.flips
    assert (flips.changed, flips.right_to_wrong, flips.wrong_to_right, flips.wrong_to_wrong) == (3, 2, 1, 0)


def test_a_failed_row_is_in_neither() -> None:
    """A case without an answer in the one precision is left out of both."""
    written = rows(fp32=True)
    written[0] |= {"status": "model-output", "predicted": None, "p_sick": None, "p_well": None}
    written[2] |= {"fp32_predicted": None, "fp32_gap": None}
    found = summarize(rows_to_table(written)).in_fp32
    assert found is not None
    assert (found.n, found.flips.right_to_wrong, found.flips.wrong_to_right) == (4, 1, 1)


@pytest.mark.parametrize("columns", [True, False])
def test_a_study_in_fp32_has_no_such_row(columns: bool) -> None:
    """Nothing is compared where the study itself is in fp32, nor in an older table without the columns."""
    table = rows_to_table(rows(fp32=False))
    assert summarize(table if columns else table.drop("fp32_predicted", "fp32_gap")).in_fp32 is None
