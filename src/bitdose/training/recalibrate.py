"""Batch norm statistics, re-estimated on pristine images.

During training, batch norm accumulates statistics of augmented images and of outdated weights, but
inference uses pristine images. Re-estimating mean and variance on pristine training images, with the
final weights, removes that difference (Touvron et al. 2019,
arXiv:1906.06423; Izmailov et al. 2018, arXiv:1803.05407, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitdose.data.base import Case
from bitdose.hashing import rng_for
from bitdose.training.batches import Loader, same_shapes
from bitdose.training.device import Device
from bitdose.training.samples import SampleReader


def recalibrate(
    module: Any,
    cases: Sequence[Case],
    reader: SampleReader,
    loader: Loader,
    device: Device,
    *,
    n: int,
    batch: int,
    seed: int,
) -> None:
    """Replace the running mean and variance of every batch norm by the average over pristine batches.

    Parameters
    ----------
    module : torch.nn.Module
        Module, whose batch norm statistics (not its weights) are changed in place.
    cases : sequence of Case
        Training cases, of which ``n`` are drawn by the seed.
    reader, loader, device
        Sources of samples, and the device.
    n, batch, seed : int
        Number of cases, batch size, and seed.
    """
    import torch

    norms = [part for part in module.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001
    kept = loader.failures.without(cases)
    order = rng_for("recalibrate", seed).permutation(len(kept))[:n]
    drawn = [kept[int(index)] for index in order]
    momenta = [part.momentum for part in norms]
    was_training = module.training
    module.eval()
    for part in norms:
        part.reset_running_stats()
        part.momentum = None  # a cumulative average
        part.train()
    cuts = np.array_split(np.arange(len(drawn)), max(1, -(-len(drawn) // batch)))
    parts = [[drawn[int(index)] for index in part] for part in cuts]
    with torch.no_grad(), device.autocast():
        for samples in loader.batches(parts, reader.pristine):
            for group in same_shapes(samples):
                module(device.normalised(device.batch(group, reader.spec.channels), reader.spec))
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
    module.train(was_training)
