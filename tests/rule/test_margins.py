"""How a margin is written, and which are refused."""

from __future__ import annotations

import pytest

from bitdose.errors import UsageError
from bitdose.metrics.catalogue import METRICS
from bitdose.rule.margins import Margin, check_labels, read_margins


@pytest.mark.parametrize(
    "text", ["accuracy=0.02", "sensitivity[covid-19]=0.03", "auroc=0.05", "flips[a,b]=0.1"]
)
def test_a_margin_prints_what_it_was_read_from(text: str) -> None:
    """Text form, back and forth, a class with a comma included."""
    assert [str(margin) for margin in read_margins([text])] == [text]


def test_margins_come_sorted_whatever_the_order_they_were_given_in() -> None:
    """Two spellings of one list are one rule."""
    assert read_margins(["macro_f1=0.1,accuracy=0.02"]) == read_margins(["accuracy=0.02", "macro_f1=0.1"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("accuracy", "expected METRIC=LIMIT"),
        ("accuracy=", "expected a number"),
        ("accuracy=two", "expected a number"),
        ("accuracy=0", "above 0 and below 1"),
        ("accuracy=1", "above 0 and below 1"),
        ("accuracy=-0.02", "above 0 and below 1"),
        ("accuracy=nan", "above 0 and below 1"),
        ("acuracy=0.1", "did you mean 'accuracy'"),
        ("accuracy[sick]=0.1", "without a class"),
        ("f1=0.1", r"f1\[CLASS\]"),
        ("[sick]=0.1", "unknown metric"),
    ],
)
def test_what_is_no_margin_is_refused_in_one_line(text: str, says: str) -> None:
    """The message says what was expected."""
    with pytest.raises(UsageError, match=says) as caught:
        read_margins([text])
    assert "\n" not in str(caught.value)


def test_none_and_two_of_one_metric_are_refused() -> None:
    """A rule without a margin certifies nothing; two limits for one metric contradict each other."""
    with pytest.raises(UsageError, match="at least one"):
        read_margins([])
    with pytest.raises(UsageError, match="accuracy is given twice"):
        read_margins(["accuracy=0.02", "accuracy=0.03"])


def test_a_class_that_the_classifier_does_not_answer_is_refused() -> None:
    """With the nearest name and the list."""
    with pytest.raises(UsageError, match="did you mean 'covid-19'.*classes: normal, covid-19"):
        check_labels(read_margins(["sensitivity[covid19]=0.1"]), ("normal", "covid-19"))


def test_every_metric_can_be_asked_for() -> None:
    """Each of the list takes a margin in the form that it states."""
    for name, metric in METRICS.items():
        assert Margin.of(f"{name}[x]" if metric.of_class == "must" else name, 0.1).metric == name
