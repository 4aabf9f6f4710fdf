"""Optimiser and schedule in one object that can be saved and restored."""

from __future__ import annotations

import math
from typing import Any

from bitdose.training.device import Device
from bitdose.training.recipe import Recipe


class Optimiser:
    """Adam or AdamW with warm-up and schedule.

    Parameters
    ----------
    module : torch.nn.Module
        Module with the parameters.
    recipe : Recipe
        Recipe with rate, decay and schedule.
    device : Device
        Device with the gradient scaler for its precision.
    steps_per_epoch : int
        Optimiser steps per epoch.
    """

    def __init__(self, module: Any, recipe: Recipe, device: Device, *, steps_per_epoch: int) -> None:
        import torch

        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        self._module, self._recipe, self._scaler = module, recipe, device.scaler()
        self._optimiser = kind(module.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.steps_per_epoch = steps_per_epoch
        self.steps = 0
        self._factor = 1.0  # of the plateau schedule
        self._best = -math.inf
        self._bad_epochs = 0

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        recipe = self._recipe
        warm_steps = recipe.warmup * self.steps_per_epoch
        warm = min(1.0, (self.steps + 1) / warm_steps) if warm_steps else 1.0
        if recipe.schedule == "cosine":
            share = min(1.0, self.steps / (recipe.epochs * self.steps_per_epoch))
            return recipe.rate * warm * 0.5 * (1 + math.cos(math.pi * share))
        return recipe.rate * warm * self._factor

    def backward(self, loss: Any) -> None:
        """Accumulate the gradient of a loss."""
        self._scaler.scale(loss).backward()

    def step(self) -> float:
        """Step with the accumulated gradients and clear them.

        Returns
        -------
        float
            Norm of the gradient; non-finite without a step. In half precision on a GPU the scaler
            skips such a step by itself and lowers its scale: zero is returned.
        """
        import torch

        for group in self._optimiser.param_groups:
            group["lr"] = self.rate
        self._scaler.unscale_(self._optimiser)
        limit = self._recipe.clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self._module.parameters(), limit))
        scaled = self._scaler.is_enabled()
        if scaled or math.isfinite(norm):
            self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad(set_to_none=True)
        self.steps += 1
        return 0.0 if scaled and not math.isfinite(norm) else norm

    def end_epoch(self, score: float) -> None:
        """Update the plateau schedule with an epoch's score; larger is better."""
        if score > self._best:
            self._best, self._bad_epochs = score, 0
            return
        self._bad_epochs += 1
        if self._recipe.schedule == "plateau" and self._bad_epochs > self._recipe.plateau_patience:
            self._factor *= self._recipe.plateau_factor
            self._bad_epochs = 0

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`."""
        own = {
            "steps": self.steps,
            "factor": self._factor,
            "best": self._best,
            "bad_epochs": self._bad_epochs,
        }
        return own | {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        self.steps, self._factor = state["steps"], state["factor"]
        self._best, self._bad_epochs = state["best"], state["bad_epochs"]
