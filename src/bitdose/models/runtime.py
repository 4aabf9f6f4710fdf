"""Time classifiers on inputs of their own, in processor time: what ``runtime='auto'`` chooses by."""

from __future__ import annotations

import math
import time
from statistics import median

import numpy as np

from bitdose.models.base import Batch, Classifier, InputSpec

_BATCH_SAMPLES = 2**19
_SIDE, _SLICES = 256, 32  # where the model takes any


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
