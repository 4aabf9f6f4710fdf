"""Where a model's input spec comes from, and what happens when two sources disagree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitdose.errors import UsageError
from bitdose.models.spec import fields_of, merge_spec, metadata_fields, sidecar_fields

LABELS = ["a", "b"]


def test_sources_fill_each_other_in() -> None:
    """Metadata, sidecar and flags each add what the others lack."""
    sources = {"metadata": {"labels": LABELS}, "sidecar": {"channels": 3}, "flags": {"size": [8, 9]}}
    spec = merge_spec(sources)
    assert (spec.labels, spec.channels, spec.size) == (("a", "b"), 3, (8, 9))


def test_what_two_sources_say_alike_is_fine() -> None:
    """The same value twice, as list or tuple, as 0 or 0.0, is no contradiction."""
    sources = {"metadata": {"labels": LABELS, "mean": [0]}, "flags": {"labels": ("a", "b"), "mean": [0.0]}}
    assert merge_spec(sources).labels == ("a", "b")


def test_a_contradiction_names_both_sources() -> None:
    """Two sources that disagree are never settled by rank: the error has both values and both places."""
    sources = {"metadata": {"labels": LABELS}, "sidecar": {"mean": [0.5]}, "flags": {"mean": [0.4]}}
    with pytest.raises(
        UsageError, match=r"mean is \[0\.5\] in the model's sidecar but \[0\.4\] in its flags"
    ):
        merge_spec(sources)


def test_a_contradiction_names_the_first_that_said_so() -> None:
    """Where three speak and the last differs, the first is the one that is named."""
    sources = {"metadata": {"labels": LABELS}, "sidecar": {"labels": LABELS}, "flags": {"labels": ["b", "a"]}}
    with pytest.raises(UsageError, match=r"in the model's metadata but \['b', 'a'\] in its flags"):
        merge_spec(sources)


def test_missing_labels_say_where_to_give_them() -> None:
    """Labels have no default: the error lists the three places."""
    with pytest.raises(UsageError, match=r"metadata, in a sidecar .*labels=\['a', 'b', 'c'\]"):
        merge_spec({"sidecar": {"channels": 1}})


def test_values_of_another_kind_are_usage_errors() -> None:
    """Whatever JSON holds, the error is one of ours and names the field."""
    for field, value in [("size", 256), ("mean", 0.5), ("layout", {}), ("resize", {}), ("labels", "a,b")]:
        with pytest.raises(UsageError):
            merge_spec({"sidecar": {"labels": LABELS} | {field: value}})


def test_a_sidecar_in_full() -> None:
    """The documented form gives all ten fields."""
    document = {
        "input": {
            "size": [256, 256], "channels": 3, "layout": "NCHW", "range": [0, 1],
            "mean": [0.5], "std": [0.25], "resize": "bicubic",
        },
        "output": "logits", "labels": LABELS, "threshold": 0.3,
    }  # fmt: skip
    spec = merge_spec({"sidecar": fields_of(document, origin="x")})
    assert (spec.size, spec.resize, spec.output, spec.threshold) == ((256, 256), "bicubic", "logits", 0.3)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"input": {"colour": 1, "side": 2}}, "net: unknown input keys colour, side; known: size, slices"),
        ({"input": [256, 256]}, "net: 'input': expected an object, got list"),
        (["a", "b"], "net: expected a JSON object, got list"),
        ({"mean": [0.5]}, "net: 'mean' belongs inside 'input'"),
        ({"label": LABELS}, "net: unknown key 'label': did you mean 'labels'?"),
        ({"treshold": 0.5}, "net: unknown key 'treshold': did you mean 'threshold'?"),
    ],
)
def test_keys_gone_astray_are_named(document: object, words: str) -> None:
    """A key that was meant for the spec but is misspelt or misplaced is refused, never passed over."""
    with pytest.raises(UsageError) as caught:
        fields_of(document, origin="net")
    assert words in str(caught.value)


def test_notes_of_the_model_are_left_alone() -> None:
    """Top-level keys of another meaning are the model's own; null counts as not given."""
    document = {"labels": LABELS, "licence": "CC0", "trained_on": "phantoms", "threshold": None}
    assert fields_of(document, origin="net") == {"labels": LABELS}


@pytest.mark.parametrize("name", ["net.json", "net.onnx.json"])
def test_a_sidecar_lies_beside_its_model(tmp_path: Path, name: str) -> None:
    """Both ``net.json`` and ``net.onnx.json`` serve ``net.onnx``; without one there are no fields."""
    assert sidecar_fields(tmp_path / "net.onnx") == {}
    (tmp_path / name).write_text(json.dumps({"labels": LABELS}))
    assert sidecar_fields(tmp_path / "net.onnx") == {"labels": LABELS}


@pytest.mark.parametrize("content", [b"{labels: [a]}", b"", b"\xff\xfe"])
def test_a_broken_sidecar_is_named(tmp_path: Path, content: bytes) -> None:
    """A sidecar that is no JSON is an error with its name."""
    (tmp_path / "net.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"sidecar net\.json: not readable as JSON"):
        sidecar_fields(tmp_path / "net.onnx")


def test_metadata_holds_json_or_plain_text() -> None:
    """ONNX metadata are strings: JSON where they parse, text where not; foreign keys do not matter."""
    metadata = {
        "labels": '["a", "b"]',
        "output": "logits",
        "input": '{"channels": 3}',
        "author": "x",
        "label": "y",
    }
    assert metadata_fields(metadata) == {"labels": LABELS, "output": "logits", "channels": 3}
