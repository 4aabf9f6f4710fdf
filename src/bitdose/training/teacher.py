"""Teacher for distillation, applied to the student's augmented images.

Beyer et al. 2022, doi:10.1109/CVPR52688.2022.01065: a teacher that sees the student's augmented
view is better than precomputed predictions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bitdose.errors import UsageError, argument
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.models.load import ModelRef

_BT601 = (0.299, 0.587, 0.114)
_RGB = 3
_SMALLEST = 1e-6


class Teacher:
    """A teacher that returns log probabilities in the order of the student's labels.

    Parameters
    ----------
    model : str
        ``.onnx`` or TorchScript file, as for a study.
    spec : InputSpec
        Input specification of the student.

    Raises
    ------
    UsageError
        If its labels differ from the student's, or only one of them takes volumes.
    """

    def __init__(self, model: str, spec: InputSpec) -> None:
        import torch

        threads = torch.get_num_threads()
        try:
            self._classifier: CallableClassifier = ModelRef(model).load(threads=1)
        except UsageError as error:
            raise UsageError(f"{argument('teacher')}: {error.message}") from error
        torch.set_num_threads(threads)  # one made by torch has taken the student's threads
        own = self._classifier.spec
        if set(own.labels) != set(spec.labels):
            raise UsageError(
                f"{argument('teacher')}: its labels are {list(own.labels)}, the data's {list(spec.labels)}"
            )
        if own.takes_volumes != spec.takes_volumes:
            raise UsageError(
                f"{argument('teacher')}: one of teacher and student takes volumes, the other images"
            )
        self._order = [own.labels.index(label) for label in spec.labels]
        self.name = f"{Path(model).name} {self._classifier.name}"

    def log_probabilities(self, batch: Any) -> Any:
        """Return ``(N, K)`` log probabilities for a student's batch in [0, 1], channels first."""
        import torch

        spec = self._classifier.spec
        seen = _channels(batch.detach().float().cpu(), spec.channels)
        if spec.size is not None and tuple(seen.shape[-2:]) != spec.size:
            seen = _resized(seen, spec.size)
        low, high = spec.range
        values = seen.numpy() * (high - low) + low
        shape = (1, -1, *[1] * (values.ndim - 2))
        values = (values - np.reshape(spec.mean, shape)) / np.reshape(spec.std, shape)
        if not spec.layout.startswith("NC"):
            values = np.moveaxis(values, 1, -1)
        probabilities = self._classifier.predict(np.ascontiguousarray(values, np.float32))[:, self._order]
        probabilities = np.where(np.isnan(probabilities), 1 / probabilities.shape[1], probabilities)
        return torch.from_numpy(np.log(np.clip(probabilities, _SMALLEST, 1))).to(batch.device, torch.float32)


def _channels(batch: Any, wanted: int) -> Any:
    import torch

    if batch.shape[1] == wanted:
        return batch
    if wanted == _RGB:
        return batch.expand(-1, _RGB, *batch.shape[2:])
    return torch.einsum("nc...,c->n...", batch, torch.tensor(_BT601))[:, None]


def _resized(batch: Any, size: tuple[int, int]) -> Any:
    """Resize planes as Pillow's anti-aliased bilinear does."""
    from torch.nn import functional

    planes = batch.flatten(0, 1)[:, None] if batch.ndim == 4 else batch.flatten(0, 2)[:, None]  # noqa: PLR2004
    small = functional.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    return small.reshape(*batch.shape[:-2], *size)
