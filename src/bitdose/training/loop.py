"""The training loop: epochs of steps, validation, and a checkpoint each epoch and every five minutes.

All randomness depends on seed, epoch and batch only, so a resumed run has the same batches,
augmentations and dropout masks as an uninterrupted one.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, argument
from bitdose.hashing import rng_for
from bitdose.training import checkpoint
from bitdose.training.augment import apply, draw
from bitdose.training.batches import Loader, epoch_batches, same_shapes
from bitdose.training.device import Device
from bitdose.training.evaluate import Predictions, predict, validation_scores
from bitdose.training.logbook import Logbook
from bitdose.training.loss import batch_loss
from bitdose.training.networks import Network
from bitdose.training.optimise import Optimiser
from bitdose.training.recalibrate import recalibrate
from bitdose.training.recipe import Recipe
from bitdose.training.samples import Sample, SampleReader
from bitdose.training.teacher import Teacher

NAN_FILE = "nan-batch.json"
CHECKPOINT_SECONDS = 300

Watch = Callable[[dict[str, Any]], None]
Tick = Callable[[int], None]


@dataclass
class Progress:
    """State of a run as plain numbers, stored in ``last.pt``.

    Parameters
    ----------
    epoch : int
        Number of finished epochs.
    batch : int
        Number of finished steps of the next epoch.
    best_f1, best_loss, best_epoch : float, float, int
        Best validation macro F1, its loss and epoch; -1, infinite and 0 before the first.
    loss_sum, weight_sum, seen, right, train_seconds, wait_seconds : float
        Sums over the steps of the unfinished epoch.
    """

    epoch: int = 0
    batch: int = 0
    best_f1: float = -1.0
    best_loss: float = math.inf
    best_epoch: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seen: int = 0
    right: int = 0
    train_seconds: float = 0.0
    wait_seconds: float = 0.0

    def is_better(self, record: dict[str, Any]) -> bool:
        """Whether an epoch has a higher validation F1, or the same with a lower loss.

        A few dozen cases yield only a few distinct values of F1; the loss breaks ties, which would
        otherwise favour the first epoch.
        """
        score = (record["validation_f1"], -record["validation_loss"])
        return score > (self.best_f1, -self.best_loss)

    def begin_epoch(self) -> None:
        """Reset the sums."""
        self.batch = self.seen = self.right = 0
        self.loss_sum = self.weight_sum = self.train_seconds = self.wait_seconds = 0.0


class Trainer:
    """Training of one network on given cases.

    Parameters
    ----------
    network : Network
        Network, whose weights are changed in place.
    recipe : Recipe
        How.
    device : Device
        Where, and in which precision.
    fit, validation : sequence of Case
        Training cases; cases for the choice of the checkpoint.
    weights : sequence of float
        Class weights in the order of the network's labels.
    reader, loader
        Sources of samples; the loader records unreadable cases.
    folder : pathlib.Path
        For checkpoints and logs.
    teacher : Teacher or None
        Teacher for distillation, if any.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        device: Device,
        *,
        fit: Sequence[Case],
        validation: Sequence[Case],
        weights: Sequence[float],
        reader: SampleReader,
        loader: Loader,
        folder: Path,
        teacher: Teacher | None = None,
    ) -> None:
        self.network, self.recipe, self.device, self.folder = network, recipe, device, folder
        self.fit, self.validation, self.teacher = fit, validation, teacher
        self.reader, self.loader, self.failures = reader, loader, loader.failures
        self.module = device.place(network.module)
        self.averaged = copy.deepcopy(self.module) if recipe.ema else None
        self.class_weights = [float(weight) for weight in weights]
        self._weights = device.tensor(np.asarray(weights, np.float32))
        self.steps_per_epoch = len(epoch_batches(fit, batch=recipe.batch, seed=0, epoch=0))
        updates = -(-self.steps_per_epoch // recipe.accumulate)
        self.optimiser = Optimiser(self.module, recipe, device, steps_per_epoch=updates)
        self.progress = Progress()

    @property
    def chosen_module(self) -> Any:
        """The weights to validate and write: the moving average, if any."""
        return self.module if self.averaged is None else self.averaged

    def run(self, watch: Watch, tick: Tick) -> None:
        """Train until the last epoch, or for ``stop_after`` epochs without improvement.

        Parameters
        ----------
        watch : callable
            Called with each epoch's record.
        tick : callable
            Called with the number of optimiser steps, including those before a resume.

        Raises
        ------
        BitdoseError
            If the loss or its gradient is not finite, or too many cases cannot be read.
        """
        logbook = Logbook(self.folder, done=self.progress.epoch)
        try:
            while not self.finished:
                record = self._epoch(tick)
                logbook.add(record)
                watch(record)
                checkpoint.save(self.folder / checkpoint.LAST, self.state())
        finally:
            logbook.close()

    @property
    def finished(self) -> bool:
        """Whether training is finished."""
        past_best = self.progress.epoch - self.progress.best_epoch
        stopped = bool(self.recipe.stop_after) and past_best >= self.recipe.stop_after
        return self.progress.epoch >= self.recipe.epochs or stopped

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`."""
        return {
            "progress": vars(self.progress) | {},
            "module": self.module.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimiser": self.optimiser.state(),
            "failed": dict(self.failures.reasons),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.progress = Progress(**state["progress"])
        self.module.load_state_dict(state["module"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimiser.restore(state["optimiser"])
        self.failures.reasons.update(state["failed"])

    def _epoch(self, tick: Tick) -> dict[str, Any]:
        """Finish the current epoch, and validate."""
        epoch, progress = self.progress.epoch + 1, self.progress
        self._train(epoch, tick)
        started = time.perf_counter()
        module, size = self.chosen_module, self.recipe.batch
        self._recalibrate(module)
        predictions = predict(module, self.validation, self.reader, self.loader, self.device, batch=size)
        record = self._record(epoch, predictions)
        record["validation_s"] = round(time.perf_counter() - started, 3)
        if progress.is_better(record):
            progress.best_f1, progress.best_loss = record["validation_f1"], record["validation_loss"]
            progress.best_epoch = epoch
            checkpoint.save(self.folder / checkpoint.BEST, self.chosen_module.state_dict())
        self.optimiser.end_epoch(record["validation_f1"])
        progress.epoch = epoch
        progress.begin_epoch()
        return record

    def _recalibrate(self, module: Any) -> None:
        if self.recipe.recalibrate:
            sizes = {
                "n": self.recipe.recalibrate,
                "batch": max(self.recipe.batch, 2),
                "seed": self.recipe.seed,
            }
            recalibrate(module, self.fit, self.reader, self.loader, self.device, **sizes)

    def _train(self, epoch: int, tick: Tick) -> None:
        import torch

        saved = time.monotonic()
        self.module.train()
        groups = list(self._groups(epoch))
        flat = [part for group in groups[self.progress.batch :] for part in group]
        samples = self.loader.batches(flat, lambda case: self.reader.training(case, epoch))
        for number in range(self.progress.batch, len(groups)):
            started, waited = time.perf_counter(), self.loader.waited_seconds
            parts = [next(samples) for _ in groups[number]]
            torch.manual_seed(int(rng_for("dropout", self.recipe.seed, epoch, number).integers(2**62)))
            self._step(epoch, number, parts)
            self.progress.batch = number + 1
            self.progress.train_seconds += time.perf_counter() - started
            self.progress.wait_seconds += self.loader.waited_seconds - waited
            tick((epoch - 1) * len(groups) + number + 1)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                checkpoint.save(self.folder / checkpoint.LAST, self.state())
                saved = time.monotonic()

    def _groups(self, epoch: int) -> Iterator[list[list[Case]]]:
        """Yield the batches of each optimiser step."""
        batches = epoch_batches(self.fit, batch=self.recipe.batch, seed=self.recipe.seed, epoch=epoch)
        for start in range(0, len(batches), self.recipe.accumulate):
            parts = batches[start : start + self.recipe.accumulate]
            yield [self.failures.without(part) for part in parts]

    def _step(self, epoch: int, number: int, parts: list[list[Sample]]) -> None:
        """Run one optimiser step of one or more batches; raise if a value is not finite."""
        total = sum(self.class_weights[sample.label] for part in parts for sample in part)
        if not total:
            return
        loss_sum = 0.0
        for index, part in enumerate(parts):
            rng = rng_for("augment", self.recipe.seed, epoch, number, index)
            for group in same_shapes(part):
                loss_sum += self._backward(group, total, rng)
        if not math.isfinite(loss_sum):
            self._broken(epoch, number, "loss")
        if not math.isfinite(self.optimiser.step()):
            self._broken(epoch, number, "gradient")
        self._average()
        self.progress.loss_sum += loss_sum
        self.progress.weight_sum += total

    def _backward(self, samples: list[Sample], total: float, rng: np.random.Generator) -> float:
        recipe, device = self.recipe, self.device
        batch = device.batch(samples, self.network.spec.channels)
        batch = apply(batch, draw(recipe, len(samples), rng))
        labels = device.tensor(np.asarray([sample.label for sample in samples], np.int64))
        told = self.teacher.log_probabilities(batch) if self.teacher else None
        logits = self._logits(device.normalised(batch, self.network.spec))
        mix = {"distill": recipe.distill, "temperature": recipe.temperature} if told is not None else {}
        loss = batch_loss(logits, labels, self._weights, teacher=told, **mix)
        value = float(loss.detach())
        if math.isfinite(value):
            self.optimiser.backward(loss / total)
        self.progress.seen += len(samples)
        self.progress.right += int((logits.argmax(dim=1) == labels).sum())
        return value

    def _logits(self, batch: Any) -> Any:
        try:
            with self.device.autocast():
                return self.module(batch).float()
        except ValueError as error:  # batch norm with a single value per channel
            reason = str(error).splitlines()[0]
            raise BitdoseError(
                f"the network cannot learn from a batch of {len(batch)} at this size ({reason}); "
                f"raise {argument('batch')} or {argument('size')}"
            ) from error

    def _average(self) -> None:
        """Update the moving average of the weights, with a smaller decay in early steps."""
        import torch

        if self.averaged is None:
            return
        steps = self.optimiser.steps
        decay = min(self.recipe.ema, (1 + steps) / (10 + steps))
        with torch.no_grad():
            pairs = zip(self.averaged.state_dict().values(), self.module.state_dict().values(), strict=True)
            for average, value in pairs:
                if average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    def _record(self, epoch: int, predictions: Predictions) -> dict[str, Any]:
        progress = self.progress
        seconds = max(progress.train_seconds, 1e-9)
        scores = validation_scores(predictions, len(self.network.spec.labels))
        if not math.isfinite(scores["validation_loss"]):
            raise BitdoseError(
                f"the validation loss of epoch {epoch} is not a finite number; {self._way_on()}"
            )
        return {
            "epoch": epoch,
            "loss": progress.loss_sum / max(progress.weight_sum, 1e-9),
            "train_accuracy": progress.right / max(progress.seen, 1),
            **scores,
            "rate": self.optimiser.rate,
            "cases_per_s": progress.seen / seconds,
            "loader_wait_share": progress.wait_seconds / seconds,
            "failed_cases": len(self.failures.reasons),
        }

    def _broken(self, epoch: int, number: int, what: str) -> NoReturn:
        """Stop for a non-finite loss; the cases are listed in a file, not in the log."""
        groups = list(self._groups(epoch))
        cases = [case.id for part in groups[number] for case in part]
        document = {"epoch": epoch, "batch": number + 1, "cases": cases}
        checkpoint.write_text_atomically(self.folder / NAN_FILE, json.dumps(document, indent=2))
        raise BitdoseError(
            f"the {what} is not a finite number in batch {number + 1} of epoch {epoch} (its cases are in "
            f"{NAN_FILE}); {self._way_on()}"
        )

    def _way_on(self) -> str:
        best = self.progress.best_epoch
        kept = f"{checkpoint.BEST} keeps the weights of epoch {best}" if best else "no epoch was finished"
        return (
            f"{kept}; try a lower {argument('rate')}, {argument('clip', 1)} or "
            f"{argument('precision', 'fp32')} in another {argument('out')}"
        )
