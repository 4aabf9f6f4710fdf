"""Classifiers as ONNX files, through onnxruntime: the CPU, and CUDA where its build has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitdose.errors import UsageError
from bitdose.hashing import digest, file_digest
from bitdose.models.base import FP32, CallableClassifier, Classifier, InputSpec, RawModel, identified
from bitdose.models.spec import Fields, fp32_file, merge_spec, metadata_fields, sidecar_fields

_DTYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_DEPTH = {"NCDHW": 2, "NDHWC": 1}
_SPATIAL = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2), "NCDHW": (1, 3, 4), "NDHWC": (4, 2, 3)}


@dataclass(frozen=True)
class Graph:
    """An ONNX file as onnxruntime reads it: what every runtime must know of it.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    identity : str
        Digest of the file and of its weights.
    session : onnxruntime.InferenceSession
        The graph, ready to run.
    spec : InputSpec
        What it wants to see.
    dtype : type
        Of its input.
    fp32 : pathlib.Path or None
        The same network in fp32, where this one is quantised and says so.
    """

    path: Path
    identity: str
    session: Any
    spec: InputSpec
    dtype: type[np.floating[Any]]
    fp32: Path | None = None

    def classifier(
        self, run: RawModel, device: str, *, precision: str = FP32, in_fp32: Classifier | None = None
    ) -> CallableClassifier:
        """Make a classifier of what runs the graph on a batch of its own type and, if fixed, size."""

        def cast(batch: Any) -> Any:
            return run(batch.astype(self.dtype, copy=False))

        fixed = self.session.get_inputs()[0].shape[0]
        function = _in_chunks(cast, fixed) if isinstance(fixed, int) else cast
        name = identified(self.path.stem, self.identity, precision=precision)
        return CallableClassifier(function, self.spec, name, device, in_fp32)


def read_graph(path: Path, *, flags: Fields | None = None, threads: int = 1) -> Graph:
    """Read an ONNX file with one input and settle its spec; raises ``UsageError`` as ``load_onnx`` does."""
    identity, session = _open(path, threads)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise UsageError(f"model {path.name}: expected one input, got {[i.name for i in inputs]}")
    dtype = _DTYPES.get(inputs[0].type)
    if dtype is None:
        raise UsageError(f"model {path.name}: expected an input of floats, got {inputs[0].type}")
    metadata = session.get_modelmeta().custom_metadata_map
    plain = fp32_file(path, metadata)
    sources = {"metadata": metadata_fields(metadata), "sidecar": sidecar_fields(path), "flags": flags or {}}
    layout = next((fields["layout"] for fields in sources.values() if "layout" in fields), None)
    sources["graph"] = _shape_fields(inputs[0].shape, layout)
    return Graph(path, identity, session, merge_spec(sources), dtype, plain)


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
        If the file is no ONNX model, has several inputs or one that is not float, or its spec is
        incomplete.

    Notes
    -----
    A graph that was exported with a fixed batch (mostly of one) gets batches of that size, the
    last one filled up with copies of its last entry. Of several outputs the first counts. A quantised
    file that names the same network in fp32 (``fp32`` in its metadata or sidecar) has it beside it.
    """
    graph = read_graph(path, flags=flags, threads=threads)
    return in_onnxruntime(graph, in_fp32=load_fp32(graph, threads=threads))


def load_fp32(graph: Graph, *, threads: int = 1) -> CallableClassifier | None:
    """Load the fp32 network that a quantised graph names; None for a graph that names none.

    Raises
    ------
    UsageError
        If it does not load, or wants to see something else.
    """
    if graph.fp32 is None:
        return None
    flags = {name: value for name, value in graph.spec.to_dict().items() if value is not None}
    plain = read_graph(graph.fp32, flags=flags, threads=threads)
    if plain.fp32 is not None:
        raise UsageError(f"model {graph.path.name}: fp32: {plain.path.name} is quantised itself")
    return in_onnxruntime(plain)


def in_onnxruntime(graph: Graph, *, in_fp32: Classifier | None = None) -> CallableClassifier:
    """Run a graph in the session that read it."""
    session = graph.session
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(batch: Any) -> Any:
        return session.run([output], {name: batch})[0]

    device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
    return graph.classifier(run, device, in_fp32=in_fp32)


def _in_chunks(run: RawModel, size: int) -> RawModel:
    """Let a graph of fixed batch size take batches of any."""

    def chunked(batch: Any) -> Any:
        found = []
        for start in range(0, len(batch), size):
            some = batch[start : start + size]
            full = np.concatenate([some, *[some[-1:]] * (size - len(some))])
            answers = np.asarray(run(full))
            # A graph that drops the batch axis has one row to give; others must have one per entry.
            rows = answers.reshape(1, -1) if size == 1 and answers.ndim <= 1 else answers
            found.append(rows[: len(some)])
        return np.concatenate(found)

    return chunked


def _open(path: Path, threads: int) -> tuple[str, Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Without its own word CUDA multiplies in TF32: ten bits of mantissa under the name of fp32.
    wanted = {"CUDAExecutionProvider": {"use_tf32": "0"}, "CPUExecutionProvider": {}}
    providers = [(name, how) for name, how in wanted.items() if name in ort.get_available_providers()]
    try:
        return _identity(path), ort.InferenceSession(str(path), options, providers=providers)
    except OSError as error:
        raise UsageError(f"model {path}: {error.strerror}; give the path of an ONNX file") from error
    except Exception as error:  # onnxruntime raises classes of its own without a common root
        first_line = str(error).splitlines()[0]
        raise UsageError(f"model {path.name}: not an ONNX model that loads: {first_line}") from error


def _identity(path: Path) -> str:
    """Digest of the model file, and of the file of weights that large exports lay beside it."""
    beside = [path.with_name(path.name + suffix) for suffix in (".data", "_data")]
    digests = [file_digest(file) for file in (path, *(file for file in beside if file.is_file()))]
    return digests[0] if len(digests) == 1 else digest(digests)


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
    if known in _DEPTH and isinstance(shape[_DEPTH[known]], int):
        fields["slices"] = shape[_DEPTH[known]]
    return fields
