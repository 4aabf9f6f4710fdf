"""The rule: fixed once, the same wherever it is written, and refused where it does not hold together."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w

from bitdose.errors import UsageError
from bitdose.rule.margins import Margin
from bitdose.rule.rule import Rule

ACCURACY = Margin("accuracy", "", 0.02)
FULL = Rule((ACCURACY, Margin("sensitivity", "covid-19", 0.03)), 0.025, objective="seconds", link="gprs")


@pytest.mark.parametrize("rule", [Rule((ACCURACY,)), FULL, Rule((ACCURACY,), order=("jpeg@256", "jpeg:q90"))])
def test_a_rule_survives_a_study_file(rule: Rule) -> None:
    """Through TOML and back it is equal and has the same digest."""
    back = Rule.from_dict(tomllib.loads(tomli_w.dumps(rule.to_dict())))
    assert back == rule
    assert back.digest() == rule.digest()


def test_the_digest_tells_rules_apart() -> None:
    """Any change of margin, alpha or order is another rule; the order of margins is not."""
    margins = FULL.margins
    assert Rule(margins[::-1], 0.025, objective="seconds", link="gprs").digest() == FULL.digest()
    others = [FULL.updated(alpha=0.05), FULL.updated(margins=margins[:1]), FULL.updated(order=("jpeg",))]
    assert len({rule.digest() for rule in (FULL, *others)}) == 4


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "margins: expected a table"),
        ({"margins": {}}, "at least one"),
        ({"margins": {"accuracy": "2 %"}}, "margins: expected a table"),
        ({"margins": {"accuracy": True}}, "margins: expected a table"),
        ({"alpha": 0}, "above 0 and below 0.5"),
        ({"alpha": 0.5}, "above 0 and below 0.5"),
        ({"alpha": float("nan")}, "above 0 and below 0.5"),
        ({"alpha": "5 %"}, "alpha: expected a number"),
        ({"order": "jpeg"}, "order: expected a list"),
        ({"select": "calibration"}, "expected both or neither"),
        ({"select": "test", "confirm": "test"}, "expected two splits"),
        ({"select": "a", "confirm": "b", "order": ["jpeg"]}, "not together with select"),
        ({"objective": "speed"}, "expected ratio, bytes, seconds"),
        ({"objective": "seconds"}, "expected link too"),
        ({"link": 44}, "link: expected text"),
        ({"margin": {"accuracy": 0.02}}, "unknown key 'margin'"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_line(values: dict[str, Any], says: str) -> None:
    """The message names the key and what was expected."""
    whole = (
        values
        if not values or set(values) & {"margins", "margin"}
        else {"margins": {"accuracy": 0.02}} | values
    )
    with pytest.raises(UsageError, match=says) as caught:
        Rule.from_dict(whole)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "margins",
    [
        {"sensitivity[covid-19]": 0.03, "accuracy": 0.02},
        ["sensitivity[covid-19]=0.03", "accuracy=0.02"],
        "accuracy=0.02,sensitivity[covid-19]=0.03",
        [ACCURACY, "sensitivity[covid-19]=0.03"],
        (Margin("sensitivity", "covid-19", 0.03), ACCURACY),
    ],
)
def test_margins_in_any_form_make_one_rule(margins: Any) -> None:
    """A mapping, texts, margins or a mix of them: the same rule with the same digest."""
    assert Rule(margins, 0.025, objective="seconds", link="gprs") == FULL


@pytest.mark.parametrize(
    ("margins", "says"),
    [
        ({"accuracy": "2 %"}, "margin: accuracy: expected a number"),
        ({"acuracy": 0.02}, "did you mean 'accuracy'"),
        ([0.02], "expected text such as 'accuracy=0.02', got 0.02"),
        ({"mcc": 2.0}, "above 0 and below 2"),
        ([], "at least one"),
    ],
)
def test_margins_that_cannot_be_read_are_refused(margins: Any, says: str) -> None:
    """One line that says which margin and what was expected."""
    with pytest.raises(UsageError, match=says):
        Rule(margins)
