"""ONNX classifiers through OpenVINO (extra ``[openvino]``): on some CPUs faster than onnxruntime."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitdose.errors import MissingBackendError, UsageError, argument
from bitdose.models.base import FP32, CallableClassifier
from bitdose.models.onnx import in_onnxruntime, load_fp32, read_graph
from bitdose.models.spec import Fields

_TELEMETRY = "openvino_telemetry"
_HINTS = {FP32: "f32", "bf16": "bf16"}


def load_openvino(
    path: Path, *, flags: Fields | None = None, threads: int = 1, precision: str = FP32
) -> CallableClassifier:
    """Load an ONNX classifier with one input into OpenVINO, on the CPU.

    The file is read as by :func:`~bitdose.models.onnx.load_onnx`: the same spec, the same
    messages, the same name in fp32 (a quantised network, whose answers depend on the runtime by more
    than the last digits, has another).

    Parameters
    ----------
    path, flags, threads
        As for ``load_onnx``.
    precision : {"fp32", "bf16"}
        OpenVINO's own default is the CPU's fastest; here it is fp32 unless another one is asked for.

    Raises
    ------
    MissingBackendError
        If OpenVINO is not installed.
    UsageError
        As ``load_onnx``; if OpenVINO does not take the graph; if the CPU has no such precision.
    """
    openvino = import_openvino()
    graph = read_graph(path, flags=flags, threads=threads)
    core = openvino.Core()
    _check_precision(core, precision)
    try:
        compiled = core.compile_model(str(path), "CPU", _settings(precision, threads))
    except RuntimeError as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise UsageError(f"model {path.name}: OpenVINO does not take it: {first_line}") from error
    request, output = compiled.create_infer_request(), compiled.outputs[0]

    def run(batch: Any) -> Any:
        return request.infer({0: batch})[output]

    plain = load_fp32(graph, threads=threads)
    if plain:  # the two round a quantised network's sums differently: not the same classifier
        precision = "openvino" if precision == FP32 else f"openvino-{precision}"
    elif precision != FP32:
        plain = in_onnxruntime(graph)
    return graph.classifier(run, "cpu:openvino", precision=precision, in_fp32=plain)


def import_openvino() -> Any:
    """Return openvino; raises MissingBackendError with the install command where it is absent."""
    try:
        with _silent():
            import openvino
    except ImportError as error:
        message = (
            f"{argument('runtime', 'openvino')} needs OpenVINO: pip install 'bitdose[openvino]' ({error})"
        )
        raise MissingBackendError(message) from error
    return openvino


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep OpenVINO from reporting its own import to a server: nothing leaves the machine unasked.

    It does without the package that reports where that one is not installed.
    """
    modules: dict[str, Any] = sys.modules
    was = modules.get(_TELEMETRY)
    modules[_TELEMETRY] = None
    try:
        yield
    finally:
        modules.pop(_TELEMETRY)
        if was is not None:
            modules[_TELEMETRY] = was


def _settings(precision: str, threads: int) -> dict[str, Any]:
    """Return the compiled model's settings: several such processes share the cores."""
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # pinned, every worker would sit on the same core
    }


def _check_precision(core: Any, precision: str) -> None:
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision != FP32 and precision.upper() not in able:
        raise UsageError(f"{argument('precision', precision)}: this CPU has none; it has {', '.join(able)}")
