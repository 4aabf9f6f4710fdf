"""Batch norm's statistics, estimated anew on images as they will be seen in use.

While training, batch norm gathers the statistics of augmented images, and of weights that have
moved on since; in use it sees pristine ones. Estimating mean and variance once more on pristine
training images, with the weights as they are, removes that difference (Touvron et al. 2019,
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
        Changed in place: its batch norm statistics only, no weights.
    cases : sequence of Case
        Those learned from; ``n`` of them are drawn, always the same for one seed.
    reader, loader, device
        Where samples come from and go to.
    n, batch, seed : int
        How many cases, in batches of what size, and the draw.
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
