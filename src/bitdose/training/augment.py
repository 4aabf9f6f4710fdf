"""Augmentation of a whole batch on its device, from predrawn random numbers.

Draw, then do: :func:`draw` takes a numpy generator and returns one record of parameters per
batch, :func:`apply` applies them, so that CPU and GPU have the same augmentations.
Not used on test and validation data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.training.recipe import Recipe

_DEGREES = 20.0
_SHIFT = 0.15
_SCALE = (0.8, 1.2)
_SHEAR_DEGREES = 5.0
_VOLUME_NDIM = 5

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Draw:
    """Augmentation parameters of a batch of N images.

    Parameters
    ----------
    flip_h, flip_v : numpy.ndarray
        ``(N,)`` bool: left-right and up-down flips.
    affine : numpy.ndarray or None
        ``(N, 2, 3)`` float32: maps from output to input, in coordinates from -1 to 1.
    brightness, contrast : numpy.ndarray
        ``(N,)`` float32 factors; 1 changes nothing.
    """

    flip_h: NDArray[np.bool_]
    flip_v: NDArray[np.bool_]
    affine: Floats | None
    brightness: Floats
    contrast: Floats


def draw(recipe: Recipe, n: int, rng: np.random.Generator) -> Draw:
    """Draw the augmentations of one batch; each kind applies to an image with probability 1/2."""
    return Draw(
        flip_h=_half(n, rng) & ("h" in recipe.flips),
        flip_v=_half(n, rng) & ("v" in recipe.flips),
        affine=_affine(n, rng) if recipe.affine else None,
        brightness=_factor(recipe.jitter, n, rng),
        contrast=_factor(recipe.jitter, n, rng),
    )


def apply(batch: Any, changes: Draw) -> Any:
    """Apply augmentations to a batch.

    Parameters
    ----------
    batch : torch.Tensor
        ``(N, C, H, W)`` or ``(N, C, L, H, W)`` float in [0, 1]; equal parameters for all slices of
        a volume.
    changes : Draw
        Output of :func:`draw` for the same N.

    Returns
    -------
    torch.Tensor
        The same shape, in [0, 1]. Brightness scales; contrast scales about the mean of the
        image's grey.
    """
    import torch

    def per_image(values: NDArray[Any]) -> Any:
        shape = (-1, *[1] * (batch.ndim - 1))
        return torch.from_numpy(values).to(batch.device).reshape(shape)

    for flags, axis in ((changes.flip_h, -1), (changes.flip_v, -2)):
        if flags.any():
            batch = torch.where(per_image(flags), batch.flip(axis), batch)
    if changes.affine is not None:
        batch = _warp(batch, torch.from_numpy(changes.affine).to(batch.device))
    axes = tuple(range(1, batch.ndim))
    if (changes.brightness != 1).any():
        batch = (batch * per_image(changes.brightness)).clamp(0, 1)
    if (changes.contrast != 1).any():
        mean = batch.mean(dim=axes, keepdim=True)
        batch = ((batch - mean) * per_image(changes.contrast) + mean).clamp(0, 1)
    return batch


def _warp(batch: Any, affine: Any) -> Any:
    """Sample a batch through an affine map, the same one for all slices of a volume; black outside."""
    from torch.nn import functional

    planes = batch.flatten(1, 2) if batch.ndim == _VOLUME_NDIM else batch
    grid = functional.affine_grid(affine, list(planes.shape), align_corners=False)
    return functional.grid_sample(planes, grid, align_corners=False).reshape(batch.shape)


def _half(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    return rng.random(n) < 0.5  # noqa: PLR2004 - one half


def _factor(jitter: float, n: int, rng: np.random.Generator) -> Floats:
    values = np.where(_half(n, rng), 1 + jitter * rng.uniform(-1, 1, n), 1.0)
    return values.astype(np.float32)


def _affine(n: int, rng: np.random.Generator) -> Floats:
    """Draw ``(N, 2, 3)`` maps from output to input: rotation, shear, scale and shift about the centre."""
    chosen = _half(n, rng)
    angle = np.deg2rad(rng.uniform(-_DEGREES, _DEGREES, n)) * chosen
    shear = np.tan(np.deg2rad(rng.uniform(-_SHEAR_DEGREES, _SHEAR_DEGREES, n))) * chosen
    scale = np.where(chosen, rng.uniform(*_SCALE, n), 1.0)
    shift = rng.uniform(-2 * _SHIFT, 2 * _SHIFT, (n, 2)) * chosen[:, None]  # the image spans 2
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    maps = np.empty((n, 2, 3))
    maps[:, 0] = np.stack([cos, -sin + cos * shear, shift[:, 0]], axis=1)
    maps[:, 1] = np.stack([sin, cos + sin * shear, shift[:, 1]], axis=1)
    return maps.astype(np.float32)
