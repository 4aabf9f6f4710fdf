"""From what a user names as ``model`` to a loaded, checked classifier."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bitdose.errors import MissingBackendError, UsageError, argument, command
from bitdose.image import Image
from bitdose.models.base import FP32, Batch, CallableClassifier, Classifier
from bitdose.models.prepare import prepare
from bitdose.models.runtime import cpu_ms, sample_inputs

_LOG = logging.getLogger(__name__)
SHIPPED = {"phantom": "shipped/phantom.onnx"}
REFERENCE = ("covid-next", "brain-tumor")
RUNTIMES = ("onnxruntime", "openvino", "auto")
PRECISIONS = (FP32, "bf16")

_TORCHSCRIPT = (".pt", ".pts", ".ts", ".torchscript")
_CLASSES_SIGNS = ",="
_SECONDS = 1.0
_CLEARLY = 0.95  # the default stays unless another runtime takes less than this share of its time
_PROBE_SIDE = 64
_PROBE_SLICES = 8


@dataclass(frozen=True)
class ModelRef:
    """A classifier by reference; small, and loadable in another process.

    Parameters
    ----------
    model : str
        An ``.onnx`` file, a TorchScript file, ``module:factory``, a shipped classifier
        (``phantom``), or one of the paper's networks (``covid-next``, ``brain-tumor``).
    weights : str
        A ``state_dict`` file for ``module:factory`` or a network's name; empty for none.
    flags : mapping
        Spec fields given by the user.
    runtime : {"onnxruntime", "openvino", "auto"}
        Of ``.onnx`` files; ``auto`` measures both (see ``runtime.py``).
    precision : {"fp32", "bf16"}
        In another one than fp32 it is another classifier, of another name.
    """

    model: str
    weights: str = ""
    flags: Mapping[str, Any] = field(default_factory=dict)
    runtime: str = "onnxruntime"
    precision: str = FP32

    def __post_init__(self) -> None:
        """Check what needs no file."""
        if self.runtime not in RUNTIMES:
            raise UsageError(f"{argument('runtime')}: expected {' or '.join(RUNTIMES)}, got {self.runtime!r}")
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"{argument('precision')}: expected {' or '.join(PRECISIONS)}, got {self.precision!r}; "
                "an int8 network is a model file of its own (docs/how-to/onnx.md)"
            )

    @property
    def onnx_file(self) -> Path | None:
        """The ONNX file it stands for; None for a classifier of PyTorch's."""
        if self.model in SHIPPED:
            return Path(__file__).parent / SHIPPED[self.model]
        path = Path(self.model)
        return path if path.suffix.lower() == ".onnx" else None

    def load(self, *, threads: int = 1) -> CallableClassifier:
        """Load the classifier.

        Raises
        ------
        UsageError
            If it is not there, does not load, or its spec is incomplete.
        """
        flags = dict(self.flags)
        if self.onnx_file:
            return self._load_onnx(self.onnx_file, threads)
        if self.runtime == "openvino":
            raise UsageError(
                f"{argument('runtime', 'openvino')}: it runs .onnx files, got {argument('model', self.model)}"
            )
        path, precision = Path(self.model), self.precision
        if path.suffix.lower() in _TORCHSCRIPT:
            from bitdose.models.torch import load_torchscript

            return load_torchscript(path, flags=flags, threads=threads, precision=precision)
        if self.model in REFERENCE:
            from bitdose.models.torch import load_reference

            if not self.weights:
                train = f"bitdose.training.run.train() for {self.model!r}"
                hint = f"{command(f'train {self.model} DATA', python=train)} makes them"
                raise UsageError(
                    f"{argument('model', self.model)}: give its weights with "
                    f"{argument('weights', 'FILE')} ({hint})"
                )
            weights = Path(self.weights)
            return load_reference(
                self.model, weights=weights, flags=flags, threads=threads, precision=precision
            )
        if ":" in self.model:
            from bitdose.models.torch import load_factory

            given = Path(self.weights) if self.weights else None
            return load_factory(self.model, weights=given, flags=flags, threads=threads, precision=precision)
        raise UsageError(
            f"{argument('model')} {self.model!r}: expected an .onnx file, a TorchScript file "
            f"({', '.join(_TORCHSCRIPT)}), module:factory, or one of: {', '.join((*SHIPPED, *REFERENCE))}"
        )

    def _load_onnx(self, path: Path, threads: int) -> CallableClassifier:
        from bitdose.models.onnx import load_onnx
        from bitdose.models.openvino import load_openvino

        ref = choose_runtime(self)[0]
        flags = dict(ref.flags)
        if ref.runtime == "openvino":
            return load_openvino(path, flags=flags, threads=threads, precision=ref.precision)
        if ref.precision != FP32:
            raise UsageError(
                f"{argument('precision', ref.precision)}: onnxruntime runs an .onnx file in its own "
                "precision; "
                f"add {argument('runtime', 'openvino')}"
            )
        return load_onnx(path, flags=flags, threads=threads)


def choose_runtime(ref: ModelRef) -> tuple[ModelRef, str]:
    """Settle ``auto`` and say what was taken; any other runtime stays as it is.

    Parameters
    ----------
    ref : ModelRef
        The classifier.

    Returns
    -------
    tuple of ModelRef and str
        The classifier with a runtime, and a sentence of what was measured; empty where nothing was to
        be settled. Asked again in the same process the answer is the same.

    Raises
    ------
    UsageError
        If the classifier does not load.
    """
    if ref.runtime != "auto":
        return ref, ""
    if ref.onnx_file is None:
        return replace(ref, runtime="onnxruntime"), "runtime: PyTorch runs its own classifiers"
    if ref.precision != FP32:
        return replace(ref, runtime="openvino"), f"runtime: openvino, the one with {ref.precision}"
    runtime, said = _measured(ref.model, json.dumps(dict(ref.flags), sort_keys=True))
    _LOG.info("%s", said)
    return replace(ref, runtime=runtime), said


@lru_cache(maxsize=8)
def _measured(model: str, flags: str) -> tuple[str, str]:
    usual = ModelRef(model, flags=json.loads(flags)).load()
    if usual.device != "cpu":
        return "onnxruntime", f"runtime: onnxruntime, which has the {usual.device} device"
    try:
        other = ModelRef(model, flags=json.loads(flags), runtime="openvino").load()
    except MissingBackendError:
        return "onnxruntime", "runtime: onnxruntime; pip install 'bitdose[openvino]' adds another to measure"
    ours, theirs = cpu_ms([usual, other], sample_inputs(usual.spec), seconds=_SECONDS)
    taken = "openvino" if theirs < _CLEARLY * ours else "onnxruntime"
    times = f"onnxruntime {ours:.3g} ms per input, openvino {theirs:.3g} ms"
    return taken, f"runtime: {times}: {taken} is taken"


def probe(classifier: Classifier) -> None:
    """Classify a blank input, so that a wrong shape is found before a study and not in it.

    Raises
    ------
    UsageError
        If the model cannot take the input of its spec or returns another shape.
    """
    spec = classifier.spec
    plane = (_PROBE_SIDE, _PROBE_SIDE)
    shape = (spec.slices or _PROBE_SLICES, *plane) if spec.takes_volumes else plane
    batch = prepare(Image(np.zeros(shape, np.uint8)), spec)[None]
    try:
        found = classifier.predict(batch)
    except UsageError:
        raise
    except Exception as error:  # any model, any runtime: what it raises is not ours to know
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"model: cannot take an input of shape {batch.shape} as its spec says: {first_line}"
        raise UsageError(message) from error
    if np.isnan(found).any() and _are_logits(classifier, batch):
        raise UsageError(
            "model: output: expected probabilities, got values outside [0, 1]: a network that ends without "
            f"softmax gives logits; say so with {argument('output', 'logits')}"
        )


def _are_logits(classifier: Classifier, batch: Batch) -> bool:
    """Whether numbers were refused as probabilities; a blank input may well give none at all."""
    if not isinstance(classifier, CallableClassifier) or classifier.spec.output != "probabilities":
        return False
    return bool(np.isfinite(np.asarray(classifier.function(batch), np.float64)).all())


def check_labels(model_labels: tuple[str, ...], data_labels: tuple[str, ...]) -> None:
    """Compare a model's labels with a set's; a class absent from the set is allowed.

    Raises
    ------
    UsageError
        If the set has a label that the model does not know; prints both lists and how to
        map them.
    """
    unknown = [label for label in data_labels if label not in model_labels]
    if unknown:
        raise UsageError(
            f"labels do not match: the data has {_quoted(data_labels)}; the model has "
            f"{_quoted(model_labels)}; {_way_out(unknown, model_labels)}"
        )


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels))


def _way_out(unknown: Sequence[str], model_labels: Sequence[str]) -> str:
    """Say how to map the labels: on the command line, or where its signs stand in them, in a study file."""
    if any(sign in label for label in (*unknown, *model_labels) for sign in _CLASSES_SIGNS):
        return "labels with ',' or '=' can be mapped in a study file's [data.classes]"
    example, drop = {unknown[0]: model_labels[0]}, {unknown[0]: ""}
    return (
        f"map them with {argument('classes', example)} (or drop a class: {argument('classes', drop)}); "
        "labels with ',' or '=' need a study file's [data.classes]"
    )
