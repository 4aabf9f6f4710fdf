"""What an estimate promises when it is written down."""

from __future__ import annotations

import json
import math

from bitdose.stats.estimate import Estimate, undefined


def test_value_and_limits_are_formatted_alike() -> None:
    """One format code serves value and limits."""
    found = Estimate(0.81818, 0.76189, 0.86377, 0.95, "wilson", 220)
    assert f"{found:.3f}" == "0.818 (0.762 to 0.864)"
    assert f"{found:.0%}" == "82% (76% to 86%)"


def test_undefined_is_printed_with_its_reason() -> None:
    """A NaN value prints its reason; a value without limits prints both."""
    assert f"{undefined('no case'):.3f}" == "undefined (no case)"
    half = Estimate(1.0, math.nan, math.nan, 0.95, "delong", 9, reason="no spread")
    assert f"{half:.2f}" == "1.00 (no spread)"


def test_nan_becomes_none_in_json() -> None:
    """JSON has no NaN: it is written as null, with the reason beside it."""
    found = undefined("no case", level=0.9, unit="patient").to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["value"], found["low"], found["high"]) == (None, None, None)
    assert (found["reason"], found["level"], found["unit"], found["n"]) == ("no case", 0.9, "patient", 0)
