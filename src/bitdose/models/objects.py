"""Classifiers from Python objects, beside those of files (``load.py``).

| object | what is to be said beside it | its identity |
| --- | --- | --- |
| a path or name, as a ``ModelRef`` takes | as its metadata and sidecar leave open | the file |
| ``Classifier`` | nothing | its name |
| ``torch.nn.Module`` | labels and input | weights, class and architecture |
| ``onnx.ModelProto``, ``onnxruntime.InferenceSession`` | what its metadata leave open | the model's bytes |
| fitted scikit-learn classifier | size, where its features are no square image | its pickle |
| callable: ``(n, C, H, W)`` float32 to ``(n, K)`` probabilities | labels | its qualified name and source |

An ONNX object is written to a file of this process, so that worker processes can load it; what else is an
object runs in this process. Outputs are probabilities unless ``input`` says ``{"output": "logits"}``.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import inspect
import math
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from bitdose.errors import UsageError
from bitdose.models.base import FP32, CallableClassifier, Classifier, InputSpec, identified
from bitdose.models.load import ModelRef
from bitdose.models.spec import Fields, merge_spec

_ONNXRUNTIME = "onnxruntime"
_RGB = 3
_PICKLE = (
    "the estimator's pickle: the same training with another scikit-learn, or in another process, may have "
    "another digest"
)
_SOURCE = "the function's qualified name and source: what it calls or closes over is not part of it"
_NAME = "the function's qualified name and bytecode: its source is unavailable"


def classifier_from(
    model: Any,
    *,
    labels: Sequence[str] | None = None,
    input: Mapping[str, Any] | None = None,  # noqa: A002 -- the name it has in a study's spec
    weights: str | Path = "",
    runtime: str = _ONNXRUNTIME,
    precision: str = FP32,
) -> Classifier | ModelRef:
    """Make a classifier of a path, a name or a Python object.

    Parameters
    ----------
    model : object
        One of those in the table at the top of this module.
    labels : sequence of str, optional
        Class names in the order of the outputs; short for ``input={"labels": ...}``.
    input : mapping, optional
        Fields of :class:`~bitdose.models.base.InputSpec` that the object does not state itself.
    weights : str or pathlib.Path
        For ``module:factory`` and names, as in ``ModelRef``.
    runtime, precision : str
        As in ``ModelRef``; a runtime is for ONNX, a precision for ONNX and torch.

    Returns
    -------
    ModelRef or Classifier
        What worker processes can load by themselves as a reference, else the classifier.

    Raises
    ------
    UsageError
        If it is none of these, or an argument does not go with it.

    Examples
    --------
    >>> bright = classifier_from(lambda x: [[1 - v.mean(), v.mean()] for v in x], labels=("dark", "bright"))
    >>> bright.spec.layout, bright.name.partition("@")[0]
    ('NCHW', 'lambda')
    """
    fields = dict(input or {}) | ({"labels": list(labels)} if labels is not None else {})
    if input and labels is not None and list(input.get("labels", labels)) != list(labels):
        raise UsageError(f"labels: expected those of input, {list(input['labels'])}, got {list(labels)}")
    if isinstance(model, str | Path):
        return ModelRef(str(model), str(weights), fields, runtime, precision)
    if isinstance(model, ModelRef):
        _refuse(model, **fields, weights=weights)
        return model
    if weights:
        raise UsageError("weights: they go with a model's name or module:factory; an object has its own")
    onnx_file = _onnx_file(model)
    if onnx_file:
        return ModelRef(str(onnx_file), "", fields, runtime, precision)
    if runtime != _ONNXRUNTIME:
        raise UsageError(f"runtime {runtime!r}: it runs ONNX models, got {type(model).__name__}")
    return _of_object(model, fields, precision)


def _of_object(model: Any, fields: Fields, precision: str) -> Classifier:
    """Make a classifier of what runs in this process."""
    if _is_a(model, "torch", "Module"):
        from bitdose.models.torch import module_classifier

        return module_classifier(model, fields, precision=precision)
    if precision != FP32:
        raise UsageError(f"precision {precision!r}: it goes with ONNX and torch, got {type(model).__name__}")
    if isinstance(getattr(model, "spec", None), InputSpec) and hasattr(model, "predict"):
        _refuse(model, **fields)
        given: Classifier = model
        return given
    if hasattr(model, "predict_proba"):
        return _estimator(model, fields)
    if callable(model):
        return _function(model, fields)
    raise UsageError(
        "model: expected a path, a Classifier, a torch module, an ONNX model or session, a scikit-learn "
        f"classifier or a callable, got {type(model).__name__}"
    )


def _refuse(model: object, **given: object) -> None:
    """Refuse what a classifier with a spec of its own states already."""
    named = next((name for name, value in given.items() if value), None)
    if named:
        raise UsageError(f"{named}: a {type(model).__name__} states its own; leave it out")


def _is_a(model: object, library: str, kind: str) -> bool:
    """Whether an object's class, or one above it, is a library's of that name; imports nothing."""
    return any(
        base.__module__.split(".")[0] == library and base.__name__ == kind for base in type(model).__mro__
    )


def _onnx_file(model: Any) -> Path | None:
    """Return the file of an ONNX object, written for it where it has none; None for other objects."""
    if _is_a(model, "onnx", "ModelProto"):
        return _written(model.SerializeToString(deterministic=True), model.graph.name or "onnx")
    if not _is_a(model, "onnxruntime", "InferenceSession"):
        return None
    path, data = getattr(model, "_model_path", None), getattr(model, "_model_bytes", None)
    if path:
        return Path(path)
    if not data:
        raise UsageError(
            "model: this InferenceSession keeps neither path nor bytes of its model; give the file"
        )
    return _written(data, model.get_modelmeta().graph_name or "onnx")


def _written(data: bytes, name: str) -> Path:
    """Write a model's bytes to a file that is there as long as this process; the same bytes once."""
    path = _folder() / hashlib.sha256(data).hexdigest()[:16] / f"{_plain(name)}.onnx"
    if not path.exists():
        path.parent.mkdir()
        path.write_bytes(data)
    return path


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bitdose-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _estimator(model: Any, fields: Fields) -> CallableClassifier:
    """Make a classifier of a fitted scikit-learn one, whose samples are flattened images."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        raise UsageError(f"model: this {type(model).__name__} has no classes_; fit it first")
    own: Fields = {"layout": "NHWC"} if "layout" not in fields else {}
    if all(isinstance(name, str) for name in classes) or "labels" not in fields:
        own["labels"] = [str(name) for name in classes]
    elif len(fields["labels"]) != len(classes):
        raise UsageError(
            f"labels: expected {len(classes)} as the model's classes_, got {len(fields['labels'])}"
        )
    n_features = getattr(model, "n_features_in_", None)
    if n_features and "size" not in fields:
        own |= _square(n_features, fields.get("channels"))
    spec = merge_spec({"classes_ and features": own, "input": fields})
    if spec.size is None:
        raise UsageError('model: its number of features is not known: give input={"size": [height, width]}')
    if n_features not in (None, math.prod(spec.size) * spec.channels):
        raise UsageError(
            f"size and channels: the model has {n_features} features, got {spec.size[0]}x{spec.size[1]} "
            f"with {spec.channels}"
        )
    try:
        identity = hashlib.sha256(pickle.dumps(model)).hexdigest()
    except Exception as error:  # whatever the estimator holds
        raise UsageError(
            f"model: this {type(model).__name__} cannot be pickled, which is what it is known by "
            f"({type(error).__name__}); give a function that calls it"
        ) from error

    def run(batch: Any) -> Any:
        return model.predict_proba(batch.reshape(len(batch), -1))

    return CallableClassifier(run, spec, identified(type(model).__name__, identity), known_by=_PICKLE)


def _square(n_features: int, channels: int | None) -> Fields:
    """Return the size of square images with so many values; nothing where there is none."""
    for n_channels in (channels,) if channels else (1, _RGB):
        side = math.isqrt(n_features // n_channels)
        if side * side * n_channels == n_features:
            return {"size": [side, side], "channels": n_channels}
    return {}


def _function(function: Callable[..., Any], fields: Fields) -> CallableClassifier:
    code = function
    while isinstance(code, functools.partial):
        code = code.func
    named = code if hasattr(code, "__qualname__") else type(code)  # an object with __call__
    qualified = f"{getattr(named, '__module__', '')}.{named.__qualname__}"
    compiled = _bytecode(getattr(named, "__code__", None))
    try:
        text, known_by = inspect.getsource(named), _SOURCE
        text += compiled if named.__name__ == "<lambda>" else ""  # two of them may share a line
    except (OSError, TypeError):
        text, known_by = compiled, _NAME
    identity = hashlib.sha256(f"{qualified}\n{text}".encode()).hexdigest()
    name = identified(_plain(named.__name__), identity)
    return CallableClassifier(function, merge_spec({"input": fields}), name, known_by=known_by)


def _bytecode(code: CodeType | None) -> str:
    """Write what a function does without where it stands."""
    if code is None:
        return ""
    parts = [_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} ({', '.join(parts)})"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "", name)
