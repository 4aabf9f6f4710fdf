"""What a column's JSON promises: the text of ``canonical_json``, whatever the values."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitdose.hashing import canonical_json
from bitdose.results.canonical_json import json_items

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COLUMNS = [
    (pl.Float64, st.floats()),
    (pl.Float64, st.floats(0, 1)),
    (pl.Float32, st.floats(width=32)),
    (pl.String, TEXTS),
    (pl.String, st.sampled_from(["covid-19", "normal", 'q"', "\\", "é"])),
    (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
    (pl.Boolean, st.booleans()),
]


@pytest.mark.parametrize(("dtype", "values"), COLUMNS)
@given(data=st.data())
def test_items_are_canonical_json_without_brackets(dtype: Any, values: Any, data: st.DataObject) -> None:
    """Floats of any size, texts with quotes, nulls among them, and nothing at all."""
    column = pl.Series(data.draw(st.lists(st.none() | values, max_size=30)), dtype=dtype)
    assert json_items(column) == canonical_json(column.to_list())[1:-1]


def test_many_probabilities_are_written_as_python_writes_them() -> None:
    """A million digits of floats between 0 and 1, their ends and both sides of the exponent's limit."""
    from bitdose.hashing import rng_for

    rng = rng_for("items")
    column = pl.Series(
        [*rng.random(50_000), *10.0 ** rng.uniform(-9, 0, 20_000), 0.0, 1.0, 1e-4, 9.999e-5, 1e15, 1e16]
    )
    assert json_items(column) == canonical_json(column.to_list())[1:-1]
