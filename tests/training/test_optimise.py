"""What the optimiser and its schedules promise."""

from __future__ import annotations

import math

import pytest
import torch

from bitdose.training.device import Device
from bitdose.training.optimise import Optimiser
from bitdose.training.recipe import Recipe


def optimiser(steps_per_epoch: int = 4, **fields: object) -> tuple[torch.nn.Linear, Optimiser]:
    """Give one weight and its optimiser."""
    torch.manual_seed(0)
    module = torch.nn.Linear(1, 1, bias=False)
    recipe = Recipe("x", **{"rate": 0.1, **fields})  # type: ignore[arg-type]
    return module, Optimiser(module, recipe, Device("cpu"), steps_per_epoch=steps_per_epoch)


def step(module: torch.nn.Linear, own: Optimiser, gradient: float = 1.0) -> float:
    """Make a step along a gradient."""
    own.backward(module.weight.sum() * gradient)
    return own.step()


def test_plateau_waits_longer_than_its_patience() -> None:
    """The rate falls by the factor after one epoch more than the patience without a better score."""
    _, own = optimiser(schedule="plateau", plateau_factor=0.7, plateau_patience=2)
    rates = []
    for score in (0.5, 0.5, 0.4, 0.5, 0.5, 0.5, 0.5, 0.6, 0.1):
        own.end_epoch(score)
        rates.append(own.rate)
    assert rates == pytest.approx([0.1] * 3 + [0.07] * 3 + [0.049] * 3)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_other_schedules_know_no_plateau(schedule: str) -> None:
    """Scores do not change the rate of a schedule that goes by steps, or of none."""
    _, own = optimiser(schedule=schedule, plateau_patience=0)
    for _ in range(5):
        own.end_epoch(0.1)
    assert own.rate == pytest.approx(0.1)


def test_cosine_falls_to_zero_over_all_steps() -> None:
    """From the rate, through half of it in the middle, to zero after the last step."""
    module, own = optimiser(schedule="cosine", epochs=5)
    rates = []
    for _ in range(20):
        rates.append(own.rate)
        step(module, own)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 20)) for n in range(20)])
    assert own.rate == pytest.approx(0, abs=1e-12)


def test_warm_up_rises_linearly() -> None:
    """Over the epochs asked the rate rises step by step to its value, and stays."""
    module, own = optimiser(schedule="constant", warmup=1.5)
    rates = []
    for _ in range(8):
        rates.append(own.rate)
        step(module, own)
    assert rates == pytest.approx([0.1 * min(1, (n + 1) / 6) for n in range(8)])


def test_adamw_decays_weights_apart_from_the_gradient() -> None:
    """Without a gradient AdamW shrinks a weight by rate times decay; Adam makes the decay a gradient."""
    for kind, moved in (("adamw", 0.1 * 0.5), ("adam", 0.1)):
        module, own = optimiser(optimizer=kind, weight_decay=0.5, schedule="constant")
        with torch.no_grad():
            module.weight.fill_(1.0)
        step(module, own, gradient=0.0)
        assert module.weight.item() == pytest.approx(1 - moved, abs=1e-6)


def test_clipping_bounds_the_norm_and_tells_the_one_before() -> None:
    """``step`` returns the norm as it was; the step is made with the clipped gradient."""
    module, own = optimiser(clip=1.0)
    assert step(module, own, gradient=50.0) == pytest.approx(50.0)
    moments = own.state()["optimiser"]["state"][0]["exp_avg"]
    assert float(moments) == pytest.approx(0.1, rel=1e-4)  # (1 - beta1) times a norm of one


@pytest.mark.parametrize("gradient", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_steps_nothing(gradient: float) -> None:
    """Weights and moments stay as they were; the norm tells."""
    module, own = optimiser()
    step(module, own)
    before = module.weight.detach().clone()
    assert not math.isfinite(step(module, own, gradient=gradient))
    assert torch.equal(module.weight, before)
    assert torch.isfinite(own.state()["optimiser"]["state"][0]["exp_avg"]).all()


def test_a_saved_state_goes_on_as_if_never_saved() -> None:
    """Restored in another object, weights, rate and plateau count go on alike."""
    fields = {"schedule": "plateau", "plateau_patience": 1, "warmup": 1.0}
    module, own = optimiser(**fields)
    for score in (0.5, 0.4):
        step(module, own)
        own.end_epoch(score)
    other_module, other = optimiser(**fields)
    other_module.load_state_dict(module.state_dict())
    other.restore(own.state())
    for each_module, each in ((module, own), (other_module, other)):
        each.end_epoch(0.3)
        step(each_module, each)
    assert own.rate == other.rate < 0.1
    assert torch.equal(module.weight, other_module.weight)
