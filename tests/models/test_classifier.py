"""What the classifier contract promises: the input spec's fields, probabilities, answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from bitdose.errors import UsageError
from bitdose.models.base import CallableClassifier, InputSpec, answer, to_probabilities

AB = ("a", "b")
ABC = ("a", "b", "c")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("layout", "CHW", "NCHW or NHWC or NCDHW or NDHWC"),
        ("output", "scores", "probabilities or logits"),
        ("channels", 2, "1 or 3"),
        ("labels", ("a",), "at least two different labels"),
        ("labels", ("a", "a"), "at least two different labels"),
        ("labels", "ab", "a list of names"),
        ("labels", (0, 1), "a list of names"),
        ("mean", (0.1, 0.2), "1 or 1 numbers"),
        ("mean", 0.5, "a list of numbers"),
        ("std", (0.0,), "numbers above 0"),
        ("std", ("1",), "a list of numbers"),
        ("size", (0, 8), "height and width above 0"),
        ("size", 256, r"\[height, width\]"),
        ("size", (8,), r"\[height, width\]"),
        ("range", (1.0, 0.0), "low before high"),
        ("range", (0.0,), "two numbers"),
        ("threshold", 1.5, "a probability between 0 and 1"),
        ("threshold", "0.5", "a number"),
    ],
)
def test_each_field_is_checked(field: str, value: Any, expected: str) -> None:
    """A field that holds something else is an error: which, what was expected, what came."""
    with pytest.raises(UsageError, match=f"model input spec: {field}: expected {expected}"):
        InputSpec(**({"labels": AB} | {field: value}))


def test_an_unknown_kernel_is_refused() -> None:
    """The resize kernel is one of ours."""
    with pytest.raises(UsageError, match="unknown kernel 'nearest'"):
        InputSpec(labels=AB, resize="nearest")


def test_a_threshold_needs_two_labels() -> None:
    """One output with a threshold tells two classes apart, not three."""
    with pytest.raises(UsageError, match="threshold: expected two labels"):
        InputSpec(labels=ABC, threshold=0.5)


def test_a_spec_is_json_and_back() -> None:
    """A spec written as JSON and read again is equal: lists and tuples are one to it."""
    spec = InputSpec(labels=AB, size=(8, 9), channels=3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    assert InputSpec(**json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(("layout", "volumes"), [("NCHW", False), ("NHWC", False), ("NCDHW", True)])
def test_the_layout_says_what_is_classified(layout: str, volumes: bool) -> None:
    """A D in the layout means volumes."""
    assert InputSpec(labels=AB, layout=layout).takes_volumes is volumes


def test_probabilities_pass_as_they_are() -> None:
    """Outputs that are probabilities are not touched; they need not sum to one."""
    raw = np.array([[0.2, 0.9], [0.0, 1.0]])
    assert to_probabilities(raw, 2, InputSpec(labels=AB)).tolist() == raw.tolist()


def test_logits_become_probabilities() -> None:
    """Softmax by hand (0 and ln 3 give 1/4 and 3/4) and against SciPy, far outside exp's range too."""
    spec = InputSpec(labels=AB, output="logits")
    assert to_probabilities(np.array([[0.0, np.log(3)]]), 1, spec)[0] == pytest.approx([0.25, 0.75])
    raw = np.random.default_rng(0).normal(0, 400, (20, 2))
    np.testing.assert_allclose(to_probabilities(raw, 20, spec), softmax(raw, axis=1), atol=1e-12)


def test_one_output_is_the_second_label() -> None:
    """A single output, flat or as a column, is the probability of the second label."""
    spec = InputSpec(labels=AB, threshold=0.5)
    for raw in (np.array([[0.2], [0.9]]), np.array([0.2, 0.9])):
        np.testing.assert_allclose(to_probabilities(raw, 2, spec), [[0.8, 0.2], [0.1, 0.9]], atol=1e-15)
    logits = InputSpec(labels=AB, threshold=0.5, output="logits")
    found = to_probabilities(np.array([[-800.0], [1.5]]), 2, logits)
    np.testing.assert_allclose(found[:, 1], expit([-800.0, 1.5]), atol=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_bad_row_costs_only_itself(bad: float) -> None:
    """NaN, infinity or a value outside [0, 1] makes its own row NaN and no other."""
    found = to_probabilities(np.array([[bad, 0.5], [0.3, 0.7]]), 2, InputSpec(labels=AB))
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [0.3, 0.7]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_logit_costs_only_its_row(bad: float) -> None:
    """A logit that is no finite number makes its row NaN, without a warning."""
    found = to_probabilities(np.array([[bad, bad], [0.0, 0.0]]), 2, InputSpec(labels=AB, output="logits"))
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [0.5, 0.5]


def test_rounding_beyond_the_ends_is_forgiven() -> None:
    """A softmax in half precision may give 1.00005: it is clipped, not refused."""
    found = to_probabilities(np.array([[1.00005, -0.00005]]), 1, InputSpec(labels=AB))
    assert found.tolist() == [[1.0, 0.0]]


def test_a_wrong_number_of_outputs_prints_the_labels() -> None:
    """Three outputs for two labels: the error has both shapes and the labels."""
    with pytest.raises(UsageError, match=r"shape \(1, 2\) for labels \['a', 'b'\], got \(1, 3\)$"):
        to_probabilities(np.zeros((1, 3)), 1, InputSpec(labels=AB))


def test_one_output_without_a_threshold_says_what_it_needs() -> None:
    """One output and two labels but no threshold: the error says so."""
    with pytest.raises(UsageError, match="one output needs two labels and a threshold"):
        to_probabilities(np.zeros((4, 1)), 4, InputSpec(labels=AB))


@pytest.mark.parametrize("shape", [(2, 3), (1, 6), (6,), (3, 2, 1)])
def test_outputs_are_never_reshuffled(shape: tuple[int, ...]) -> None:
    """Six numbers for three cases and two labels count only as (3, 2): a transposed output is an error."""
    with pytest.raises(UsageError, match=r"expected outputs of shape \(3, 2\)"):
        to_probabilities(np.zeros(shape), 3, InputSpec(labels=AB))


def test_answers() -> None:
    """The largest probability wins, the first of a tie; a NaN row has no answer."""
    found = answer(np.array([[0.1, 0.6, 0.3], [0.5, 0.5, 0.0], [np.nan] * 3]), InputSpec(labels=ABC))
    assert found == ["b", "a", None]


def test_the_threshold_decides_for_one_output() -> None:
    """From the threshold on, itself included, the answer is the second label."""
    spec = InputSpec(labels=AB, threshold=0.25)
    second = np.array([0.24, 0.25, 0.9])
    assert answer(np.stack([1 - second, second], axis=1), spec) == ["a", "b", "b"]


def test_any_callable_is_a_classifier() -> None:
    """A function that returns lists is wrapped; its shape is checked at every call."""
    spec = InputSpec(labels=AB, layout="NHWC")
    classifier = CallableClassifier(lambda batch: [[1 - x.mean(), x.mean()] for x in batch], spec, "mean")
    assert classifier.predict(np.full((3, 2, 2, 1), 0.25, np.float32)).tolist() == [[0.75, 0.25]] * 3
    with pytest.raises(UsageError, match="expected outputs of shape"):
        CallableClassifier(lambda batch: [[0.1, 0.2, 0.7]], spec).predict(np.zeros((1, 2, 2, 1), np.float32))
