"""What ONNX classifiers in OpenVINO promise: onnxruntime's spec and answers, bf16 under its own name."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitdose.errors import MissingBackendError, UsageError
from bitdose.models.load import ModelRef, choose_runtime, probe
from bitdose.models.onnx import load_onnx
from bitdose.models.openvino import load_openvino
from bitdose.models.runtime import cpu_ms, sample_inputs
from bitdose.testing import check_classifier

from .conftest import WriteOnnx

LABELS = {"labels": ["a", "b"]}


def write_net(write_onnx: WriteOnnx) -> str:
    """Write a convolution and a matrix product of random weights, where bf16 shows."""
    path, rng = write_onnx("conv.onnx"), np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(size=(16, 1, 3, 3)).astype(np.float32),
        "slope": rng.normal(size=(16 * 36, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["bent"]),
        helper.make_node("Flatten", ["bent"], ["flat"]),
        helper.make_node("MatMul", ["flat", "slope"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    path.with_suffix(".json").write_text(json.dumps(LABELS | {"output": "logits"}))
    return str(path)


def batch_of(n: int) -> np.ndarray:
    """Give inputs of 8x8."""
    return np.random.default_rng(n).random((n, 1, 8, 8), np.float32)


@pytest.mark.parametrize("fixed", ["N", 1, 3])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_answers_are_onnxruntimes(write_onnx: WriteOnnx, fixed: int | str, dtype: int) -> None:
    """Any batch, free or fixed, in any type of float: the same spec, name and, to rounding, answers."""
    path = write_onnx(batch=fixed, dtype=dtype)
    ours, usual = load_openvino(path, flags=LABELS), load_onnx(path, flags=LABELS)
    probe(ours)
    assert (ours.spec, ours.name) == (usual.spec, usual.name)
    assert (ours.device, usual.device, ours.in_fp32) == ("cpu:openvino", "cpu", None)
    for n in (1, 7):
        atol = 1e-3 if dtype == TensorProto.FLOAT16 else 1e-6
        np.testing.assert_allclose(ours.predict(batch_of(n)), usual.predict(batch_of(n)), atol=atol)


def test_it_keeps_the_contract(write_onnx: WriteOnnx) -> None:
    """The whole contract of classifiers holds, volumes included."""
    check_classifier(ModelRef(write_net(write_onnx), runtime="openvino").load())
    volumes = write_onnx("volumes.onnx", shape=(1, "L", 8, 8))
    check_classifier(load_openvino(volumes, flags=LABELS))


def test_bf16_is_another_classifier_with_its_fp32_beside_it(write_onnx: WriteOnnx) -> None:
    """Its answers differ by bf16's rounding and no more, its name differs, and it knows itself in fp32."""
    path = write_net(write_onnx)
    usual = ModelRef(path).load()
    try:
        rough = ModelRef(path, runtime="openvino", precision="bf16").load()
    except UsageError as error:
        pytest.skip(str(error))
    gap = np.abs(rough.predict(batch_of(9)) - usual.predict(batch_of(9))).max()
    assert 0 < gap < 0.05
    assert rough.name.startswith("conv-bf16@")
    assert rough.name.partition("@")[2] != usual.name.partition("@")[2]
    assert rough.in_fp32 is not None
    assert rough.in_fp32.name == usual.name
    np.testing.assert_array_equal(rough.in_fp32.predict(batch_of(9)), usual.predict(batch_of(9)))


def test_fp32_is_fp32(write_onnx: WriteOnnx) -> None:
    """A CPU that has bf16 does not take it unasked, as OpenVINO's own default would."""
    path = write_net(write_onnx)
    gap = ModelRef(path, runtime="openvino").load().predict(batch_of(9)) - ModelRef(path).load().predict(
        batch_of(9)
    )
    assert np.abs(gap).max() < 1e-5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"precision": "bf16"},
            "onnxruntime runs an .onnx file in its own precision; add runtime='openvino'",
        ),
        ({"runtime": "tensorrt"}, "runtime: expected onnxruntime or openvino or auto, got 'tensorrt'"),
        ({"precision": "int8"}, "precision: expected fp32 or bf16, got 'int8'; an int8 network is a model"),
        ({"model": "net.pt", "runtime": "openvino"}, "runtime='openvino': it runs .onnx files, got model="),
    ],
)
def test_what_does_not_go_together_is_said(write_onnx: WriteOnnx, given: dict[str, str], said: str) -> None:
    """A runtime or precision that is not to be had is an error, never another one in its place."""
    model = {"model": str(write_onnx()), "flags": LABELS}
    with pytest.raises(UsageError) as caught:
        ModelRef(**(model | given)).load()  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_without_openvino_one_line_says_how_to_get_it(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing extra names the install command; ``auto`` does without."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    path = str(write_onnx("alone.onnx"))
    with pytest.raises(MissingBackendError, match=r"pip install 'bitdose\[openvino\]'"):
        ModelRef(path, flags=LABELS, runtime="openvino").load()
    chosen, said = choose_runtime(ModelRef(path, flags=LABELS, runtime="auto"))
    assert chosen.runtime == "onnxruntime"
    assert "pip install 'bitdose[openvino]'" in said


def test_nothing_is_told_to_anybody(write_onnx: WriteOnnx) -> None:
    """OpenVINO reports its import to a server by itself; loaded from here it looks up and reaches nobody."""
    code = (
        "import socket, sys, time\n"
        "import numpy as np\n"
        "asked = []\n"
        "socket.getaddrinfo = socket.socket.connect = lambda *how, **more: asked.append(how)\n"
        "from bitdose.models.load import ModelRef\n"
        f"net = ModelRef({write_net(write_onnx)!r}, runtime='openvino').load()\n"
        "net.predict(np.zeros((1, 1, 8, 8), np.float32))\n"
        "time.sleep(0.5)\n"
        "print(asked, [name for name in sys.modules if 'openvino_telemetry' in name])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # it is mute there
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "[] []\n"


def test_auto_takes_one_by_measurement_and_says_so(
    write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are timed on the model's own input; asked twice, the answer is the same."""
    monkeypatch.setattr("bitdose.models.load._SECONDS", 0.05)
    ref = ModelRef(write_net(write_onnx), runtime="auto")
    chosen, said = choose_runtime(ref)
    assert said.startswith("runtime: onnxruntime ")
    assert said.endswith(f"{chosen.runtime} is taken")
    assert choose_runtime(ref) == (chosen, said)
    assert ref.load().device == {"openvino": "cpu:openvino", "onnxruntime": "cpu"}[chosen.runtime]


def test_auto_with_nothing_to_measure() -> None:
    """PyTorch's classifiers and bf16 have one runtime each; a runtime that was named stays."""
    assert choose_runtime(ModelRef("net.pt", runtime="auto"))[0].runtime == "onnxruntime"
    assert choose_runtime(ModelRef("a.onnx", runtime="auto", precision="bf16"))[0].runtime == "openvino"
    assert choose_runtime(ModelRef("a.onnx")) == (ModelRef("a.onnx"), "")


def test_the_faster_classifier_has_the_smaller_time() -> None:
    """Processor time tells a classifier that works from one that does not; inputs follow the spec."""
    from bitdose.models.base import CallableClassifier, InputSpec

    spec = InputSpec(labels=("a", "b"), layout="NDHWC", size=(8, 8))
    inputs = sample_inputs(spec, 3)
    assert inputs.shape == (3, 32, 8, 8, 1)

    def work(batch: np.ndarray) -> np.ndarray:
        np.linalg.svd(np.ones((200, 200)))
        return rest(batch)

    def rest(batch: np.ndarray) -> np.ndarray:
        return np.tile([0.5, 0.5], (len(batch), 1))

    slow, fast = cpu_ms([CallableClassifier(f, spec) for f in (work, rest)], inputs, seconds=0.05)
    assert slow > fast
