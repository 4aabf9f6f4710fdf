"""Training recipe: every setting of a run except the data, as one frozen record of JSON values.

The defaults of ``covid-next`` and ``brain-tumor`` are the paper's; each field that departs from
them can be set by itself, and the model card prints them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bitdose.codecs.grid import expand_points
from bitdose.codecs.point import Point
from bitdose.data.base import Color
from bitdose.errors import UsageError, argument

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("plateau", "cosine", "constant")
PRECISIONS = ("fp32", "bf16", "fp16")
FLIPS = ("h", "v")
MAX_SIDE = 4096
NAMED_WEIGHTS = ("paper", "balanced", "none")


@dataclass(frozen=True)
class Recipe:
    """Settings of the training of one network.

    Parameters
    ----------
    network : str
        ``covid-next``, ``brain-tumor`` or ``module:factory``.
    epochs, batch, accumulate : int
        Passes over the data; cases per forward pass; forward passes per optimiser step.
    optimizer : {"adam", "adamw"}
        AdamW decouples the weight decay from the gradient.
    rate, weight_decay : float
        Learning rate and weight decay.
    schedule : {"plateau", "cosine", "constant"}
        ``plateau`` multiplies the rate by ``plateau_factor`` after more than
        ``plateau_patience`` epochs without a better validation F1; ``cosine`` falls to zero over
        all steps.
    warmup : float
        Epochs over which the rate rises linearly from zero.
    stop_after : int
        Epochs without a better validation F1, or the same with a lower loss, after which
        training stops; 0 never stops.
    class_weights : str
        ``paper`` (the published weights if the labels are the published ones, else as
        ``balanced``), ``balanced`` (inverse frequency, mean one), ``none``, or
        ``label=weight,...``.
    flips : str
        Axes flipped with probability one half: ``hv``, ``h``, ``v`` or empty.
    jitter : float
        Largest relative change of brightness and of contrast; each applied to half the images.
    affine : bool
        Rotation to 20 degrees, shift to 0.15, scale 0.8 to 1.2, shear to 5 degrees, on half
        the images: used by the public COVID-Next code, not listed in the paper.
    ema : float
        Decay of a moving average of the weights over steps, which is then validated and
        written; 0 uses the weights themselves.
    recalibrate : int
        Pristine training cases from which batch norm's statistics are estimated again before
        each validation; 0 keeps those gathered on augmented images.
    precision : {"fp32", "bf16", "fp16"}
        Precision of the forward and backward pass; weights and optimiser stay in float32.
    clip : float
        Largest norm of the gradient; 0 disables clipping.
    size : int
        Side of the network's input.
    color : {"keep", "grey"}
        Whether colour sources become grey before anything else.
    validation : float
        Share of each class's cases held out, by whole patients, to choose the checkpoint, if the
        data have no such split.
    codec_augment : tuple of str
        Points from which one is drawn to code a training image; empty for
        none.
    codec_share : float
        Share of coded training images.
    teacher : str
        Classifier for distillation; empty for none.
    distill, temperature : float
        Weight of the teacher's predictions against the labels, and their softmax temperature
        (Hinton et al. 2015, arXiv:1503.02531). The teacher sees the augmented image.
    seed : int
        Random seed.

    Raises
    ------
    UsageError
        If a field is invalid.
    """

    network: str
    epochs: int = 40
    batch: int = 64
    accumulate: int = 1
    optimizer: str = "adam"
    rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: str = "plateau"
    plateau_factor: float = 0.7
    plateau_patience: int = 5
    warmup: float = 0.0
    stop_after: int = 15
    class_weights: str = "paper"
    flips: str = "hv"
    jitter: float = 0.3
    affine: bool = False
    ema: float = 0.0
    recalibrate: int = 0
    precision: str = "fp32"
    clip: float = 0.0
    size: int = 256
    color: Color = "keep"
    validation: float = 0.15
    codec_augment: tuple[str, ...] = ()
    codec_share: float = 0.5
    teacher: str = ""
    distill: float = 0.7
    temperature: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate every field; the messages name the flag."""
        object.__setattr__(self, "codec_augment", tuple(self.codec_augment))
        _expect(self.size <= MAX_SIDE, "size", f"a side up to {MAX_SIDE}", self.size)
        for name in ("epochs", "batch", "accumulate", "size"):
            _expect(getattr(self, name) >= 1, name, "a whole number from 1", getattr(self, name))
        for name in ("plateau_patience", "stop_after", "recalibrate", "seed"):
            _expect(getattr(self, name) >= 0, name, "a whole number from 0", getattr(self, name))
        for name in ("rate", "temperature"):
            _expect(0 < getattr(self, name) < float("inf"), name, "a number above 0", getattr(self, name))
        for name in ("weight_decay", "warmup", "clip"):
            _expect(0 <= getattr(self, name) < float("inf"), name, "a number from 0", getattr(self, name))
        for name in ("distill", "codec_share"):
            _expect(0 <= getattr(self, name) <= 1, name, "a share from 0 to 1", getattr(self, name))
        for name in ("validation", "plateau_factor"):
            value = getattr(self, name)
            _expect(0 < value < 1, name, "a number between 0 and 1", value)
        for name in ("ema", "jitter"):
            _expect(0 <= getattr(self, name) < 1, name, "a number from 0 and below 1", getattr(self, name))
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("color", self.color, ("keep", "grey"))
        _expect(set(self.flips) <= set(FLIPS), "flips", "letters of 'hv', or none", repr(self.flips))
        parse_class_weights(self.class_weights)
        if self.codec_augment:
            expected = f"points that code ({argument('codec_share')} leaves the rest pristine)"
            _expect(self.coding_points(), "codec_augment", expected, "pristine alone")

    def coding_points(self) -> tuple[Point, ...]:
        """Return the points of ``codec_augment``; none of them is pristine."""
        try:
            points = expand_points(self.codec_augment) if self.codec_augment else ()
        except UsageError as error:
            raise UsageError(f"{argument('codec_augment')}: {error.message}") from error
        return tuple(point for point in points if not point.is_pristine)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


PAPER: Mapping[str, Mapping[str, Any]] = {
    "covid-next": {"epochs": 40, "batch": 64, "rate": 1e-4, "flips": "hv", "jitter": 0.3},
    "brain-tumor": {"epochs": 10, "batch": 1, "rate": 1e-5, "flips": "h", "jitter": 0.0},
}


@dataclass(frozen=True)
class Choices:
    """Fields set by a user, over the paper's or the general defaults of a network."""

    network: str
    given: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self) -> Recipe:
        """Return the resulting recipe."""
        return Recipe(network=self.network, **{**PAPER.get(self.network, {}), **self.given})

    def departures(self) -> dict[str, tuple[Any, Any]]:
        """Return each field that differs from the network's default: ``name: (default, chosen)``."""
        chosen = self.recipe().to_dict()
        default = Recipe(network=self.network, **PAPER.get(self.network, {})).to_dict()
        return {name: (default[name], chosen[name]) for name in chosen if chosen[name] != default[name]}


def parse_class_weights(text: str) -> dict[str, float] | str:
    """Return one of the named rules, or ``label: weight``.

    Examples
    --------
    >>> parse_class_weights("healthy=1,LGG=3.54")
    {'healthy': 1.0, 'LGG': 3.54}
    """
    if text in NAMED_WEIGHTS:
        return text
    weights = {}
    for item in text.split(","):
        label, _, number = item.rpartition("=")
        try:
            weights[label.strip()] = float(number)
        except ValueError:
            weights[""] = -1.0
    ok = "" not in weights and all(0 < value < float("inf") for value in weights.values())
    _expect(ok, "class_weights", f"{', '.join(NAMED_WEIGHTS)} or label=weight,label=weight", repr(text))
    return weights


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    _expect(value in allowed, name, " or ".join(allowed), repr(value))


def _expect(ok: object, name: str, expected: str, came: object) -> None:
    if not ok:
        raise UsageError(f"{argument(name)}: expected {expected}, got {came}")
