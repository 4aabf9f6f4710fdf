"""Small real networks, written where a test needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

WriteOnnx = Callable[..., Path]


def linear_onnx(
    path: Path,
    *,
    batch: int | str = "N",
    shape: tuple[int | str, ...] = (1, 8, 8),
    outputs: int = 2,
    dtype: int = TensorProto.FLOAT,
    metadata: dict[str, str] | None = None,
    extra_input: bool = False,
    nan: bool = False,
    reshape: tuple[int, ...] | None = None,
) -> Path:
    """Write a network whose k-th output is k times the mean of the image (NaN if asked for).

    ``reshape`` gives it an inner shape that its input shape does not tell of.
    """
    slope = np.full((1, outputs), np.nan) if nan else np.arange(outputs)[None, :]
    weights = {"slope": slope.astype(np.float32), "axes": np.arange(1, len(shape) + 1)}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["kept"]),
        helper.make_node("Flatten", ["kept"], ["mean"]),
        helper.make_node("MatMul", ["mean", "slope"], ["scores"]),
    ]
    if reshape:
        weights["inner"] = np.array(reshape)
        nodes[0] = helper.make_node("Reshape", ["image", "inner"], ["float"])
    inputs = [helper.make_tensor_value_info("image", dtype, [batch, *shape])]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [batch, 1]))
    graph = helper.make_graph(
        nodes,
        "linear",
        inputs,
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, outputs])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


@pytest.fixture
def write_onnx(tmp_path: Path) -> WriteOnnx:
    """Give a function that writes a network into the test's folder."""
    return lambda name="net.onnx", **options: linear_onnx(tmp_path / name, **options)
