"""A quantised file names its network in fp32: it is studied beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bitdose.errors import UsageError
from bitdose.models.load import ModelRef

from .conftest import WriteOnnx

BATCH = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)


@pytest.fixture
def quantised(write_onnx: WriteOnnx) -> Path:
    """Write a network, and the same with rounded weights whose sidecar names the first."""
    exact, rounded = write_onnx("net.onnx"), write_onnx("net-int8.onnx")
    model = onnx.load(rounded)
    slope = next(one for one in model.graph.initializer if one.name == "slope")
    slope.CopyFrom(numpy_helper.from_array(np.array([[0, 0.9]], np.float32), "slope"))
    onnx.save(model, str(rounded))
    exact.with_suffix(".json").write_text(json.dumps({"labels": ["a", "b"]}))
    rounded.with_suffix(".json").write_text(json.dumps({"labels": ["a", "b"], "fp32": "net.onnx"}))
    return rounded


def test_the_network_in_fp32_stands_beside_it(quantised: Path) -> None:
    """It has its own file's name and answers; beside it is the classifier of the fp32 file."""
    found, plain = ModelRef(str(quantised)).load(), ModelRef(str(quantised.with_name("net.onnx"))).load()
    assert found.name.startswith("net-int8@")
    assert found.in_fp32 is not None
    assert found.in_fp32.name == plain.name
    np.testing.assert_array_equal(found.in_fp32.predict(BATCH), plain.predict(BATCH))
    np.testing.assert_allclose(found.predict(BATCH)[:, 1], 0.9 * plain.predict(BATCH)[:, 1], rtol=1e-5)
    assert plain.in_fp32 is None


def test_metadata_name_it_as_well(quantised: Path) -> None:
    """The key can stand in the file itself, as all others can."""
    model = onnx.load(quantised)
    onnx.helper.set_model_props(model, {"labels": '["a", "b"]', "fp32": "net.onnx"})
    onnx.save(model, str(quantised))
    quantised.with_suffix(".json").unlink()
    assert ModelRef(str(quantised)).load().in_fp32 is not None


def test_in_another_runtime_it_is_another_classifier(quantised: Path) -> None:
    """The sums of a quantised network are rounded differently there, so its name says where it ran."""
    found = ModelRef(str(quantised), runtime="openvino").load()
    assert found.name.startswith("net-int8-openvino@")
    assert found.in_fp32 is not None
    assert found.in_fp32.device == "cpu"


@pytest.mark.parametrize("named", ["gone.onnx", "../net.onnx", "net-int8.onnx", 3])
def test_what_is_named_must_lie_beside_it(quantised: Path, named: object) -> None:
    """A file that is not there, elsewhere, or the quantised one itself is an error that says so."""
    quantised.with_suffix(".json").write_text(json.dumps({"labels": ["a", "b"], "fp32": named}))
    with pytest.raises(UsageError, match="fp32: expected the name of a file beside it, got"):
        ModelRef(str(quantised)).load()


def test_a_chain_of_quantised_files_is_refused(quantised: Path) -> None:
    """What is named as fp32 must not name another one."""
    quantised.with_name("net.json").write_text(json.dumps({"labels": ["a", "b"], "fp32": "net-int8.onnx"}))
    with pytest.raises(UsageError, match="fp32: net.onnx is quantised itself"):
        ModelRef(str(quantised)).load()


def test_both_must_see_the_same(quantised: Path) -> None:
    """An fp32 network of another input is not the same network."""
    quantised.with_name("net.json").write_text(json.dumps({"labels": ["b", "a"]}))
    with pytest.raises(UsageError, match="labels is"):
        ModelRef(str(quantised)).load()
