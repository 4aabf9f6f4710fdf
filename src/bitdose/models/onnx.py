"""Classifiers as ONNX files, through onnxruntime: the CPU, and CUDA where its build has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bitdose.errors import UsageError
from bitdose.hashing import bytes_digest
from bitdose.models.base import CallableClassifier
from bitdose.models.spec import Fields, merge_spec, metadata_fields, sidecar_fields

_SPATIAL = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2), "NCDHW": (1, 3, 4), "NDHWC": (4, 2, 3)}


def load_onnx(path: Path, *, flags: Fields | None = None, threads: int = 1) -> CallableClassifier:
    """Load an ONNX classifier with one input.

    Parameters
    ----------
    path : pathlib.Path
        The model; its spec as described in ``spec.py``.
    flags : dict, optional
        Spec fields given by the user.
    threads : int
        Threads inside one inference. One is best where several workers share a machine.

    Raises
    ------
    UsageError
        If the file is no ONNX model, has several inputs, or its spec is incomplete.
    """
    data, session = _open(path, threads)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise UsageError(f"model {path.name}: expected one input, got {[i.name for i in inputs]}")
    metadata = metadata_fields(session.get_modelmeta().custom_metadata_map)
    sources = {"metadata": metadata, "sidecar": sidecar_fields(path), "flags": flags or {}}
    layout = next((fields["layout"] for fields in sources.values() if "layout" in fields), None)
    sources["graph"] = _shape_fields(inputs[0].shape, layout)
    spec = merge_spec(sources)
    name, output = inputs[0].name, session.get_outputs()[0].name
    dtype = np.float16 if inputs[0].type == "tensor(float16)" else np.float32

    def run(batch: Any) -> Any:
        return session.run([output], {name: batch.astype(dtype, copy=False)})[0]

    return CallableClassifier(run, spec, f"{path.stem}@{bytes_digest(data)[:12]}")


def _open(path: Path, threads: int) -> tuple[bytes, Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in ort.get_available_providers()]
    try:
        data = path.read_bytes()
        return data, ort.InferenceSession(str(path), options, providers=providers)
    except OSError as error:
        raise UsageError(f"model {path}: {error.strerror}; give the path of an ONNX file") from error
    except Exception as error:  # onnxruntime raises classes of its own without a common root
        first_line = str(error).splitlines()[0]
        raise UsageError(f"model {path.name}: not an ONNX model that loads: {first_line}") from error


def _shape_fields(shape: list[Any], layout: str | None) -> Fields:
    """Read size and channels off a static input shape."""
    known = layout or ("NCHW" if len(shape) == 4 else "NCDHW")  # noqa: PLR2004
    if len(shape) != len(known):
        raise UsageError(f"model: input of shape {shape} does not go with layout {known}")
    channel, height, width = (shape[axis] for axis in _SPATIAL[known])
    fields: Fields = {"layout": known}
    if isinstance(channel, int):
        fields["channels"] = channel
    if isinstance(height, int) and isinstance(width, int):
        fields["size"] = [height, width]
    return fields
