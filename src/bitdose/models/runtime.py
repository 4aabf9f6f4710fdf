"""``--runtime auto``: which runtime is the faster one here, measured on the model's own input."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bitdose.errors import MissingBackendError
from bitdose.models.base import FP32, Batch, Classifier, InputSpec

if TYPE_CHECKING:
    from bitdose.models.load import ModelRef

_SECONDS = 1.0
_BATCH_SAMPLES = 2**19
_SIDE, _SLICES = 256, 32  # where the model takes any
_CLEARLY = 0.95  # the default stays unless another runtime takes less than this share of its time


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
    return replace(ref, runtime=runtime), said


def sample_inputs(spec: InputSpec, n: int | None = None) -> Batch:
    """Draw ``n`` inputs as a classifier wants to see them; as many as a study's chunk if not given."""
    plane = spec.size or (_SIDE, _SIDE)
    whole = (spec.slices or _SLICES, *plane) if spec.takes_volumes else plane
    count = n or max(1, _BATCH_SAMPLES // (math.prod(whole) * spec.channels))
    first = spec.layout[1] == "C"
    shape = (spec.channels, *whole) if first else (*whole, spec.channels)
    return np.random.default_rng(0).random((count, *shape), np.float32)


def cpu_ms(classifiers: list[Classifier], inputs: Batch, *, seconds: float) -> list[float]:
    """Return each classifier's median processor time per input, in milliseconds.

    They take turns, so that a machine's moods meet all of them. Processor time rather than the
    clock's: a study keeps every core busy, and other programs do not count.
    """
    found: list[list[float]] = [[] for _ in classifiers]
    for one in classifiers:
        one.predict(inputs)  # the first call lays out its memory
    end = time.perf_counter() + seconds * len(classifiers)
    while not found[0] or time.perf_counter() < end:
        for times, one in zip(found, classifiers, strict=True):
            start = time.process_time()
            one.predict(inputs)
            times.append((time.process_time() - start) * 1e3 / len(inputs))
    return [median(times) for times in found]


@lru_cache(maxsize=8)
def _measured(model: str, flags: str) -> tuple[str, str]:
    from bitdose.models.load import ModelRef

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
