"""The classifier contract: a batch of arrays in, class probabilities out, and the input spec.

- **In**: ``float32`` of shape ``(N, ...)`` in the spec's layout, already sized, scaled and
  normalised by ``prepare.py``. N is any number from 1 up.
- **Out**: ``(N, K)`` float probabilities in the order of ``labels``. They need not sum to one.
- A model with **one** output is binary: two labels, the output is the probability of the
  second, and the threshold was fixed in advance.
- Logits are turned into probabilities here (softmax, or a sigmoid for one output); NaN and
  values outside [0, 1] are found row by row, so one bad row does not cost the others.
- A classifier knows no data set: it never sees a label, a path or a split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError
from bitdose.hashing import digest
from bitdose.resample.kernels import check_kernel

Batch = NDArray[np.float32]
Probabilities = NDArray[np.float64]
RawModel = Callable[[Any], Any]

FP32 = "fp32"
LAYOUTS = {"NCHW": False, "NHWC": False, "NCDHW": True, "NDHWC": True}
OUTPUTS = ("probabilities", "logits")
_TOLERANCE = 1e-4
_BINARY_LABELS = 2
_DIGEST_DIGITS = 12


@dataclass(frozen=True)
class InputSpec:
    """What a classifier wants to see and how its answer reads.

    Parameters
    ----------
    labels : tuple of str
        Classes in the order of the outputs.
    size : tuple of int, or None
        ``(height, width)``; None takes images as they come.
    slices : int or None
        For volumes: the only number of slices the classifier takes; None takes any.
    channels : {1, 3}
        1 takes the luma of colour images; 3 repeats grey ones.
    layout : {"NCHW", "NHWC", "NCDHW", "NDHWC"}
        With a ``D`` the classifier takes volumes.
    range : tuple of float
        What black and white become before mean and std.
    mean, std : tuple of float
        One value, or one per channel.
    resize : str
        Kernel of ``resample.py`` used to reach ``size``.
    output : {"probabilities", "logits"}
        What the model returns.
    threshold : float or None
        For one output: probability from which the answer is the second label.

    Raises
    ------
    UsageError
        If a field holds something else.
    """

    labels: tuple[str, ...]
    size: tuple[int, int] | None = None
    slices: int | None = None
    channels: int = 1
    layout: str = "NCHW"
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: str = "bilinear"
    output: str = "probabilities"
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("labels", "size", "range", "mean", "std"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        check_kernel(self.resize)
        self._check_types()
        _expect(self.layout in LAYOUTS, "layout", " or ".join(LAYOUTS), self.layout)
        _expect(self.output in OUTPUTS, "output", " or ".join(OUTPUTS), self.output)
        _expect(self.channels in (1, 3), "channels", "1 or 3", self.channels)
        _expect(
            len(set(self.labels)) == len(self.labels) >= _BINARY_LABELS,
            "labels",
            "at least two different labels",
            list(self.labels),
        )
        if self.threshold is not None:
            _expect(0 < self.threshold < 1, "threshold", "a probability between 0 and 1", self.threshold)
            _expect(len(self.labels) == _BINARY_LABELS, "threshold", "two labels with it", list(self.labels))
        for name in ("mean", "std"):
            values = getattr(self, name)
            _expect(len(values) in (1, self.channels), name, f"1 or {self.channels} numbers", list(values))
        _expect(all(value > 0 for value in self.std), "std", "numbers above 0", list(self.std))
        _expect(self.size is None or min(self.size) > 0, "size", "height and width above 0", self.size)
        depth = self.slices is None or (type(self.slices) is int and self.slices > 0 and self.takes_volumes)
        _expect(depth, "slices", "a whole number above 0, for volumes only", self.slices)
        _expect(self.range[0] < self.range[1], "range", "low before high", list(self.range))

    def _check_types(self) -> None:
        """Check what kind of thing each field is: JSON may hold anything."""
        names = isinstance(self.labels, tuple) and all(isinstance(label, str) for label in self.labels)
        _expect(names, "labels", 'a list of names, as in ["normal", "pneumonia"]', self.labels)
        for field in ("mean", "std"):
            _expect(_are_numbers(getattr(self, field)), field, "a list of numbers", getattr(self, field))
        pair = _are_numbers(self.range) and len(self.range) == 2  # noqa: PLR2004
        _expect(pair, "range", "two numbers", self.range)
        sides = isinstance(self.size, tuple) and len(self.size) == 2  # noqa: PLR2004
        whole = sides and all(type(side) is int for side in self.size or ())
        _expect(self.size is None or whole, "size", "[height, width]", self.size)
        _expect(_are_numbers((self.threshold or 0,)), "threshold", "a number", self.threshold)

    @property
    def takes_volumes(self) -> bool:
        """Whether the classifier takes volumes rather than images."""
        return LAYOUTS[self.layout]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


class Classifier(Protocol):
    """A loaded classifier."""

    @property
    def spec(self) -> InputSpec:
        """What it wants to see."""
        ...

    @property
    def name(self) -> str:
        """Its name with the start of its digest, for the ``model`` column."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: ``cpu``, ``cuda``, or ``cpu:openvino``; another one can change the last digits."""
        ...

    @property
    def in_fp32(self) -> Classifier | None:
        """The same network in fp32 with its usual runtime, where this one is of another precision."""
        ...

    def predict(self, batch: Batch) -> Probabilities:
        """Return ``(N, K)`` probabilities, NaN in rows where the model gave none."""
        ...


@dataclass(frozen=True)
class CallableClassifier:
    """Any callable from a batch to ``(N, K)`` outputs, with its spec: the base of all others.

    Parameters
    ----------
    function : callable
        Takes ``(N, ...)`` float32 in the spec's layout, returns ``(N, K)`` array-likes.
    spec : InputSpec
        For a plain Python callable usually with ``layout="NHWC"``.
    name : str
        For the results table.
    device : str
        Where it runs.
    in_fp32 : Classifier, optional
        The same network in fp32, where this one is of another precision.
    known_by : str
        What the digest in ``name`` is of, in words for the manifest, where that is less than the whole
        classifier; empty where it is the whole.

    Examples
    --------
    >>> spec = InputSpec(labels=("dark", "bright"), layout="NHWC")
    >>> bright = CallableClassifier(lambda x: [[1 - v.mean(), v.mean()] for v in x], spec)
    >>> bright.predict(np.ones((2, 4, 4, 1), np.float32)).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """

    function: RawModel
    spec: InputSpec
    name: str = "callable"
    device: str = "cpu"
    in_fp32: Classifier | None = None
    known_by: str = ""

    def predict(self, batch: Batch) -> Probabilities:
        """Return ``(N, K)`` probabilities; raises ``UsageError`` for outputs of another shape."""
        return to_probabilities(np.asarray(self.function(batch), np.float64), len(batch), self.spec)


def identified(stem: str, identity: str, *, precision: str = FP32) -> str:
    """Name a classifier ``name@digest``: in another precision than fp32 it is another classifier.

    Examples
    --------
    >>> identified("net", "0123456789abcdef")
    'net@0123456789ab'
    >>> identified("net", "0123456789abcdef", precision="bf16")
    'net-bf16@aba850cb0121'
    """
    if precision == FP32:
        return f"{stem}@{identity[:_DIGEST_DIGITS]}"
    return f"{stem}-{precision}@{digest([identity, precision])[:_DIGEST_DIGITS]}"


def to_probabilities(raw: Probabilities, n: int, spec: InputSpec) -> Probabilities:
    """Bring a model's raw output to ``(N, K)`` probabilities in the order of the labels.

    Rows that are not finite, or outside [0, 1] by more than 1e-4, come back as NaN.

    Raises
    ------
    UsageError
        If the output's shape does not go with the labels.

    Examples
    --------
    >>> spec = InputSpec(labels=("no", "yes"), output="logits", threshold=0.5)
    >>> to_probabilities(np.array([[0.0]]), 1, spec).tolist()
    [[0.5, 0.5]]
    """
    # One row without its axis, or one output per row; any other reshaping could mix cases.
    outputs = raw.reshape(n, -1) if raw.ndim <= 1 and n in (1, raw.size) else raw
    expected = 1 if spec.threshold is not None else len(spec.labels)
    if outputs.shape != (n, expected):
        hint = "; one output needs two labels and a threshold" if outputs.shape == (n, 1) else ""
        raise UsageError(
            f"model: expected outputs of shape ({n}, {expected}) for labels {list(spec.labels)}, "
            f"got {raw.shape}{hint}"
        )
    if spec.output == "logits":
        outputs = _sigmoid(outputs) if expected == 1 else _softmax(outputs)
    broken = ~np.isfinite(outputs) | (outputs < -_TOLERANCE) | (outputs > 1 + _TOLERANCE)
    outputs = np.where(broken.any(axis=1, keepdims=True), np.nan, np.clip(outputs, 0, 1))
    return np.hstack([1 - outputs, outputs]) if expected == 1 else outputs


def answer(probabilities: Probabilities, spec: InputSpec) -> list[str | None]:
    """Return the predicted label of each row, None for a row of NaN.

    Examples
    --------
    >>> spec = InputSpec(labels=("no", "yes"), threshold=0.2)
    >>> answer(np.array([[0.7, 0.3], [np.nan, np.nan]]), spec)
    ['yes', None]
    """
    if spec.threshold is not None:
        chosen = (probabilities[:, 1] >= spec.threshold).astype(int)
    else:
        chosen = np.where(np.isnan(probabilities), -1, probabilities).argmax(axis=1)
    bad = {int(row) for row in np.argwhere(np.isnan(probabilities))[:, 0]}
    return [None if row in bad else spec.labels[index] for row, index in enumerate(chosen)]


def _softmax(logits: Probabilities) -> Probabilities:
    with np.errstate(invalid="ignore"):  # infinite logits become NaN, which the caller reports by row
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def _sigmoid(logits: Probabilities) -> Probabilities:
    from scipy.special import expit

    return np.asarray(expit(logits))


def _are_numbers(values: object) -> bool:
    if not isinstance(values, tuple):
        return False
    return all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in values)


def _expect(ok: object, field: str, expected: str, came: object) -> None:
    if not ok:
        raise UsageError(f"model input spec: {field}: expected {expected}, got {came}")
