"""A results table made of answers alone: who is right where, and what each point costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from bitdose.results.table import rows_to_table

MakeRows = Callable[..., pl.DataFrame]


def table_of(
    answers: Mapping[str, Sequence[str]],
    truth: Sequence[str],
    *,
    patients: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    coded_bytes: Mapping[str, int] | None = None,
    classes: Sequence[str] = ("sick", "well"),
    sure: float = 0.9,
) -> pl.DataFrame:
    """Make a table from each point's answers; a point's strength is its place, files have 1,000 bytes."""
    rows: list[dict[str, Any]] = []
    for place, (point, given) in enumerate(answers.items()):
        chain = point.partition(":")[0] + ("@" + point.partition("@")[2] if "@" in point else "")
        for n, (label, answer) in enumerate(zip(truth, given, strict=True)):
            rest = (1 - sure) / (len(classes) - 1)
            rows.append(
                {
                    "case_id": f"case-{n:04d}", "case_label": label, "point": point, "codec_chain": chain,
                    "case_patient": patients[n] if patients else f"case-{n:04d}",
                    "case_split": splits[n] if splits else "", "codec_strength": float(place),
                    "bytes_file": 1000, "bytes_pixels": 4000,
                    "bytes_coded": (coded_bytes or {}).get(point, 1000 // (place + 1)),
                    "model": "toy@1", "predicted": answer, "status": "ok",
                    **{f"p_{c}": sure if c == answer else rest for c in classes},
                }
            )  # fmt: skip
    return rows_to_table(rows)


@pytest.fixture
def make_rows() -> MakeRows:
    """Hand out the table maker."""
    return table_of
