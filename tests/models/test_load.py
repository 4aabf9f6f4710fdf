"""What finding and checking a model promises."""

from __future__ import annotations

import numpy as np
import pytest

from bitdose.errors import UsageError
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.models.load import SHIPPED, ModelRef, check_labels, probe

SPEC = InputSpec(labels=("a", "b"), size=(8, 8))


def test_an_unknown_model_lists_what_there_is() -> None:
    """A word that is no model: the error names the kinds of file and what is shipped."""
    with pytest.raises(UsageError, match=r"model 'resnet': expected an \.onnx file, .* one of: phantom"):
        ModelRef("resnet").load()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_name_loads(name: str) -> None:
    """A shipped classifier loads by its name alone, and answers."""
    classifier = ModelRef(name).load()
    probe(classifier)
    assert len(classifier.spec.labels) >= 2
    assert classifier.name.startswith(f"{name}@")


def test_a_shipped_name_takes_no_contradiction() -> None:
    """Flags cannot overrule what a shipped classifier states about itself."""
    with pytest.raises(UsageError, match="labels is .* but .* in its flags"):
        ModelRef("phantom", flags={"labels": ["x", "y"]}).load()


def test_labels_that_do_not_match_print_both_lists_and_the_way_out() -> None:
    """A set's label that the model does not know: both lists, an example of a mapping, and of a drop."""
    with pytest.raises(UsageError) as caught:
        check_labels(("normal", "covid-19"), ("healthy", "covid-19"))
    assert caught.value.for_command_line() == (
        "labels do not match: the data has 'healthy', 'covid-19'; the model has 'normal', 'covid-19'; "
        "map them with --classes healthy=normal (or drop a class: --classes healthy=); "
        "labels with ',' or '=' need a study file's [data.classes]"
    )


def test_labels_with_spaces_are_quoted_for_the_shell() -> None:
    """The example of a mapping can be pasted into a shell as it stands."""
    with pytest.raises(
        UsageError, match="classes={'no finding': 'normal'} .* classes={'no finding': ''}"
    ) as caught:
        check_labels(("normal", "sick"), ("no finding", "sick"))
    said = caught.value.for_command_line()
    assert "--classes 'no finding=normal' " in said
    assert "--classes 'no finding='" in said


def test_labels_that_no_option_can_spell_are_sent_to_a_study_file() -> None:
    """A label with a comma or an equals sign: each label in quotes, and no option that could not work."""
    with pytest.raises(UsageError) as caught:
        check_labels(("normal", "sick"), ("mass, left", "sick"))
    assert str(caught.value) == (
        "labels do not match: the data has 'mass, left', 'sick'; the model has 'normal', 'sick'; "
        "labels with ',' or '=' can be mapped in a study file's [data.classes]"
    )


def test_a_class_without_cases_is_allowed() -> None:
    """A set may lack a class of the model."""
    check_labels(("a", "b", "c"), ("b", "a"))


def test_the_probe_shows_a_blank_input_of_the_spec() -> None:
    """The probe's batch has one entry in the spec's layout; volumes get a few slices."""
    seen: list[tuple[int, ...]] = []

    def look(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.shape)
        return np.zeros((len(batch), 2))

    for layout in ("NCHW", "NHWC", "NCDHW"):
        probe(CallableClassifier(look, InputSpec(labels=("a", "b"), size=(8, 9), layout=layout)))
    assert seen == [(1, 1, 8, 9), (1, 8, 9, 1), (1, 1, 8, 8, 9)]


def test_the_probe_lets_nan_pass() -> None:
    """NaN on a blank image is the failure of a row, not of the model."""
    probe(CallableClassifier(lambda batch: np.full((len(batch), 2), np.nan), SPEC))


@pytest.mark.parametrize(("error", "words"), [(KeyError("x"), "'x'"), (RuntimeError(""), "RuntimeError")])
def test_whatever_a_model_raises_becomes_one_line(error: Exception, words: str) -> None:
    """A callable that raises is refused before the study, with what it said."""

    def broken(batch: np.ndarray) -> np.ndarray:
        raise error

    with pytest.raises(UsageError, match=rf"cannot take an input of shape \(1, 1, 8, 8\) .*: {words}$"):
        probe(CallableClassifier(broken, SPEC))
