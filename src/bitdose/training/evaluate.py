"""Predictions of a network in evaluation mode, and the scores for the choice of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.data.base import Case
from bitdose.errors import BitdoseError
from bitdose.metrics.classification import accuracy, confusion_matrix, f1_score
from bitdose.training.batches import Loader, same_shapes
from bitdose.training.device import Device
from bitdose.training.samples import Sample, SampleReader

_BATCH = 16


@dataclass(frozen=True)
class Predictions:
    """Predictions of a network for the readable cases.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(n,)`` int: true classes.
    log_probabilities : numpy.ndarray
        ``(n, K)`` float.
    """

    labels: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]


def predict(
    module: Any, cases: Sequence[Case], reader: SampleReader, loader: Loader, device: Device, *, batch: int
) -> Predictions:
    """Classify pristine cases without augmentation, with the module in evaluation mode."""
    import torch

    failures = loader.failures
    kept = failures.without(cases)
    size = min(batch, _BATCH)
    parts = [kept[start : start + size] for start in range(0, len(kept), size)]
    labels: list[int] = []
    predictions: list[Any] = []
    training = module.training
    module.eval()
    with torch.inference_mode(), device.autocast():
        for samples in loader.batches(parts, reader.pristine):
            for group in same_shapes(samples):
                labels += [sample.label for sample in group]
                predictions.append(_log_probabilities(module, group, reader, device))
    module.train(training)
    width = len(reader.spec.labels)
    scores = np.concatenate(predictions) if predictions else np.empty((0, width))
    return Predictions(np.asarray(labels, np.int64), scores)


def validation_scores(predictions: Predictions, n_classes: int) -> dict[str, float]:
    """Return the mean cross-entropy, accuracy and macro F1 of a validation split.

    F1 is the mean over the classes with a readable case.

    Raises
    ------
    BitdoseError
        If no case could be read.
    """
    if not len(predictions.labels):
        raise BitdoseError("no validation case could be read: the checkpoint cannot be chosen")
    own = predictions.log_probabilities[np.arange(len(predictions.labels)), predictions.labels]
    predicted = predictions.log_probabilities.argmax(axis=1)
    confusion = confusion_matrix(predictions.labels, predicted, n_classes)
    return {
        "validation_loss": float(-own.mean()),
        "validation_accuracy": float(accuracy(confusion)),
        "validation_f1": float(np.nanmean(f1_score(confusion))),
    }


def _log_probabilities(
    module: Any, group: list[Sample], reader: SampleReader, device: Device
) -> NDArray[np.float64]:
    spec = reader.spec
    logits = module(device.normalised(device.batch(group, spec.channels), spec)).double()
    return np.asarray(logits.log_softmax(dim=1).cpu().numpy())
