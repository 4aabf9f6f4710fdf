"""Device and precision of training: CPU or CUDA, memory format, autocast."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError, argument
from bitdose.malloc import keep_freed_memory
from bitdose.models.base import InputSpec
from bitdose.training.samples import Sample

DEVICES = ("auto", "cpu", "cuda")

_IMAGE_NDIM = 4


class Device:
    """A torch device with a precision.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        ``auto`` selects CUDA if available.
    precision : {"fp32", "bf16", "fp16"}
        Precision of forward and backward pass; ``fp16`` needs CUDA.
    threads : int or None
        Threads on the CPU; None takes all cores.

    Raises
    ------
    UsageError
        If the device is missing, or does not support the precision.
    """

    def __init__(self, name: str = "auto", *, precision: str = "fp32", threads: int | None = None) -> None:
        import torch

        if name not in DEVICES:
            raise UsageError(f"{argument('device')}: expected {', '.join(DEVICES)}, got {name!r}")
        found = torch.cuda.is_available()
        if name == "cuda" and not found:
            raise UsageError(
                f"{argument('device', 'cuda')}: torch finds no CUDA device here; use "
                f"{argument('device', 'cpu')}"
            )
        self.name = "cuda" if name != "cpu" and found else "cpu"
        if precision == "fp16" and self.name == "cpu":
            raise UsageError(
                f"{argument('precision', 'fp16')}: needs a CUDA device; on the CPU use bf16 or fp32"
            )
        self.precision = precision
        if threads is not None:
            torch.set_num_threads(threads)
        if self.name == "cpu":
            keep_freed_memory()

    def place(self, module: Any) -> Any:
        """Move a module to the device, channels last."""
        import torch

        module = module.to(self.name)
        for weights in module.parameters():
            if weights.ndim == _IMAGE_NDIM:
                weights.data = weights.data.contiguous(memory_format=torch.channels_last)
            elif weights.ndim == _IMAGE_NDIM + 1:
                weights.data = weights.data.contiguous(memory_format=torch.channels_last_3d)
        return module

    def tensor(self, array: NDArray[Any]) -> Any:
        """Move an array to the device."""
        import torch

        return torch.from_numpy(array).to(self.name)

    def batch(self, samples: Sequence[Sample], channels: int) -> Any:
        """Stack samples of one shape into ``(N, channels, ...)`` float32 in [0, 1], channels last.

        Transfers integers instead of floats: a quarter of the bytes.
        """
        import torch

        depth = max(len(sample.pixels) for sample in samples)
        arrays = [np.broadcast_to(sample.pixels, (depth, *sample.pixels.shape[1:])) for sample in samples]
        wide = any(array.dtype != np.uint8 for array in arrays)
        stacked = torch.from_numpy(np.stack(arrays).astype(np.int32 if wide else np.uint8))
        if self.name == "cuda":
            stacked = stacked.pin_memory().to("cuda", non_blocking=True)
        tops = self.tensor(np.asarray([sample.max_value for sample in samples], np.float32))
        batch = stacked.float() / tops.reshape(-1, *[1] * (stacked.ndim - 1))
        if depth != channels:
            batch = batch.expand(-1, channels, *batch.shape[2:])
        return batch.contiguous(memory_format=_channels_last(batch.ndim))

    def normalised(self, batch: Any, spec: InputSpec) -> Any:
        """Scale a batch in [0, 1] to the range, mean and std of the network's input."""
        low, high = spec.range
        if (low, high) != (0.0, 1.0):
            batch = batch * (high - low) + low
        if set(spec.mean) != {0.0} or set(spec.std) != {1.0}:
            shape = (1, -1, *[1] * (batch.ndim - 2))
            mean, std = (
                self.tensor(np.asarray(values, np.float32)).reshape(shape) for values in (spec.mean, spec.std)
            )
            batch = (batch - mean) / std
        return batch.contiguous(memory_format=_channels_last(batch.ndim))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of the forward pass."""
        import torch

        if self.precision == "fp32":
            return contextlib.nullcontext()
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float16
        context: contextlib.AbstractContextManager[Any] = torch.autocast(self.name, kind)
        return context

    def scaler(self) -> Any:
        """Return the gradient scaler for ``fp16``, a no-op for other precisions."""
        import torch

        return torch.amp.GradScaler(self.name, enabled=self.precision == "fp16")


def _channels_last(ndim: int) -> Any:
    import torch

    return torch.channels_last if ndim == _IMAGE_NDIM else torch.channels_last_3d
