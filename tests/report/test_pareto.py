"""The Pareto front: who is on it, and who never is."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from bitdose.report.pareto import front
from bitdose.results.summarize import summarize

MakeRows = Callable[..., pl.DataFrame]


def test_the_front_holds_what_nothing_beats_in_bytes_and_score(make_rows: MakeRows) -> None:
    """From the fewest bytes up, each more accurate than the last; pristine and the beaten are off it."""
    truth = ["sick", "well"] * 10
    wrong = {"sick": "well", "well": "sick"}
    lost = {"pristine": 0, "jpeg:q90": 0, "jpeg:q50": 4, "jpeg:q10": 9, "jpeg2000:10x": 4, "jpeg2000:40x": 3}
    coded = {"jpeg:q90": 500, "jpeg:q50": 300, "jpeg:q10": 50, "jpeg2000:10x": 400, "jpeg2000:40x": 100}
    answers = {p: [wrong[t] if n < k else t for n, t in enumerate(truth)] for p, k in lost.items()}
    summary = summarize(make_rows(answers, truth, coded_bytes=coded), draws=50)
    assert [p.point for p in front(summary.points)] == ["jpeg:q10", "jpeg2000:40x", "jpeg:q90"]
    assert front(summary.points[:1]) == []
