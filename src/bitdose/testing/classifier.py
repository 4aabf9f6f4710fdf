"""The contract of a classifier (``bitdose/models/base.py``), checked on any classifier."""

from __future__ import annotations

import numpy as np

from bitdose.hashing import rng_for
from bitdose.image import Image, stack
from bitdose.models.base import Batch, Classifier, InputSpec, Probabilities
from bitdose.models.prepare import prepare
from bitdose.testing.failure import expect
from bitdose.testing.images import textured_image

_TOLERANCE = 1e-4
_N_CASES = 5
_FREE_SIZE = (64, 64)
_SLICES = 8


def check_classifier(classifier: Classifier) -> None:
    """Check that a classifier keeps its contract; it is asked about a few random textures.

    Output of ``(N, K)`` for any N from 1 up, values in [0, 1] or whole rows of NaN, the same
    answer alone and in a batch within 1e-4, input not changed.

    Parameters
    ----------
    classifier : Classifier
        A loaded classifier.

    Raises
    ------
    CheckFailedError
        With the first promise that is broken.

    Examples
    --------
    >>> from bitdose.models.base import CallableClassifier
    >>> spec = InputSpec(labels=("dark", "bright"), layout="NHWC")
    >>> bright = CallableClassifier(lambda x: [[1 - v.mean(), v.mean()] for v in x], spec)
    >>> check_classifier(bright)
    """
    spec = classifier.spec
    expect(isinstance(spec, InputSpec), "spec is an InputSpec", type(spec).__name__)
    expect(
        isinstance(classifier.name, str) and classifier.name, "name is text, not empty", repr(classifier.name)
    )
    batch = np.stack([_input(spec, index) for index in range(_N_CASES)])
    together = _predict(classifier, batch)
    alone = np.concatenate([_predict(classifier, batch[i : i + 1]) for i in range(_N_CASES)])
    _expect_same(alone, together, "a case gets the same answer alone and in a batch, within 1e-4")
    reversed_order = _predict(classifier, np.ascontiguousarray(batch[::-1]))[::-1]
    _expect_same(reversed_order, together, "an answer does not depend on the case's place, within 1e-4")


def _input(spec: InputSpec, index: int) -> Batch:
    height, width = spec.size or _FREE_SIZE
    rng = rng_for("check_classifier", index)
    colour = spec.channels > 1 and not spec.takes_volumes
    count = _SLICES if spec.takes_volumes else 1
    slices: list[Image] = [textured_image(height, width, rng=rng, colour=colour) for _ in range(count)]
    return prepare(stack(slices, volume=spec.takes_volumes), spec)


def _predict(classifier: Classifier, batch: Batch) -> Probabilities:
    before = batch.copy()
    answers = classifier.predict(batch)
    expect(np.array_equal(batch, before), "the input is not changed")
    expected = (len(batch), len(classifier.spec.labels))
    shape = getattr(answers, "shape", type(answers).__name__)
    expect(shape == expected, f"{len(batch)} inputs give probabilities of shape {expected}", shape)
    expect(np.issubdtype(answers.dtype, np.floating), "probabilities are floats", answers.dtype)
    missing = np.isnan(answers)
    torn = answers[missing.any(axis=1) & ~missing.all(axis=1)]
    expect(not len(torn), "a row is NaN as a whole or not at all", torn[:1].tolist())
    outside = answers[(answers < 0) | (answers > 1)]
    expect(not len(outside), "probabilities are in [0, 1] or NaN", outside[:1].tolist())
    return answers


def _expect_same(came: Probabilities, wanted: Probabilities, promise: str) -> None:
    same = np.allclose(came, wanted, rtol=0, atol=_TOLERANCE, equal_nan=True)
    expect(same, promise, f"a difference of {np.abs(came - wanted).max(initial=0):.2g}")
