"""What augmentation promises: exact flips, nothing that was not drawn, slices that move together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitdose.training.augment import Draw, apply, draw
from bitdose.training.recipe import Recipe

NONE = {"flips": "", "jitter": 0.0, "affine": False}
ALL = {"flips": "hv", "jitter": 0.5, "affine": True}


def images(n: int = 6, side: int = 9) -> torch.Tensor:
    """Give random colour images."""
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def changes(n: int, **fields: object) -> Draw:
    """Give a record that changes nothing but what is named."""
    still = {
        "flip_h": np.zeros(n, bool), "flip_v": np.zeros(n, bool), "affine": None,
        "brightness": np.ones(n, np.float32), "contrast": np.ones(n, np.float32),
    }  # fmt: skip
    return Draw(**{**still, **fields})  # type: ignore[arg-type]


def test_where_nothing_is_drawn_nothing_changes() -> None:
    """An empty recipe returns the batch itself, bit by bit."""
    batch = images()
    assert torch.equal(apply(batch, draw(Recipe("x", **NONE), 6, np.random.default_rng(1))), batch)


@pytest.mark.parametrize(("name", "axis"), [("flip_h", -1), ("flip_v", -2)])
def test_flips_are_exact_and_of_the_chosen_images_only(name: str, axis: int) -> None:
    """A flipped image is the mirror image to the bit; left-right is the last axis, up-down the one before."""
    batch, chosen = images(), np.array([True, False, True, False, False, True])
    flipped = apply(batch, changes(6, **{name: chosen}))
    for index, own in enumerate(chosen):
        assert torch.equal(flipped[index], batch[index].flip(axis) if own else batch[index])


def test_values_stay_in_their_range() -> None:
    """Whatever is drawn, pixels stay in [0, 1], finite, and of the same shape."""
    for shape in ((8, 1, 12, 12), (8, 3, 12, 12), (4, 1, 3, 12, 12)):
        batch = torch.rand(shape)
        for seed in range(5):
            changed = apply(batch, draw(Recipe("x", **ALL), len(batch), np.random.default_rng(seed)))
            assert changed.shape == batch.shape
            assert float(changed.min()) >= 0
            assert float(changed.max()) <= 1 + 1e-6


def test_slices_of_a_volume_move_together() -> None:
    """Alike slices stay alike under flips, rotation and jitter: a volume is one body."""
    plane = torch.rand(4, 1, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    volume = plane.expand(-1, -1, 5, -1, -1)
    changed = apply(volume, draw(Recipe("x", **ALL), 4, np.random.default_rng(3)))
    for index in range(1, 5):
        torch.testing.assert_close(changed[:, :, index], changed[:, :, 0])


def test_an_identity_map_keeps_the_image() -> None:
    """The affine map of an image that was not chosen gives the image back."""
    batch = images()
    identity = np.tile(np.eye(2, 3, dtype=np.float32), (6, 1, 1))
    torch.testing.assert_close(apply(batch, changes(6, affine=identity)), batch, atol=1e-5, rtol=0)


def test_the_affine_map_stays_within_its_limits() -> None:
    """Up to 20 degrees, 15 % shift, scale 0.8 to 1.2; about half the images are left alone."""
    maps = draw(Recipe("x", **ALL), 4000, np.random.default_rng(4)).affine
    assert maps is not None
    alone = np.all(maps == np.eye(2, 3, dtype=np.float32), axis=(1, 2))
    assert 0.46 < alone.mean() < 0.54
    assert np.abs(maps[:, :, 2]).max() <= 0.3
    determinants = np.linalg.det(maps[~alone][:, :, :2].astype(float))
    assert 1 / 1.2**2 - 1e-3 <= determinants.min() < 0.8
    assert 1.3 < determinants.max() <= 1 / 0.8**2 + 1e-3
    angles = np.degrees(np.arctan2(maps[~alone][:, 1, 0], maps[~alone][:, 0, 0]))
    assert 19 < np.abs(angles).max() <= 20 + 1e-3


def test_jitter_scales_brightness_and_contrast() -> None:
    """Brightness multiplies, contrast stretches about the image's mean, both within the recipe's limits."""
    batch = torch.full((1, 1, 4, 4), 0.4)
    batch[..., 0] = 0.2
    bright = apply(batch, changes(1, brightness=np.array([1.5], np.float32)))
    torch.testing.assert_close(bright, batch * 1.5)
    sharp = apply(batch, changes(1, contrast=np.array([1.2], np.float32)))
    torch.testing.assert_close(sharp, (batch - batch.mean()) * 1.2 + batch.mean())
    drawn = draw(Recipe("x", jitter=0.3), 4000, np.random.default_rng(5))
    for factor in (drawn.brightness, drawn.contrast):
        assert 0.7 <= factor.min() < 0.71
        assert 1.29 < factor.max() <= 1.3
        assert 0.46 < (factor == 1).mean() < 0.54


def test_draws_follow_from_the_generator_alone() -> None:
    """The same generator draws the same; the batch's pixels have no say; another seed draws otherwise."""
    a, b, c = (draw(Recipe("x", **ALL), 32, np.random.default_rng(seed)) for seed in (7, 7, 8))
    for name in ("flip_h", "flip_v", "affine", "brightness", "contrast"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert not np.array_equal(getattr(a, name), getattr(c, name))
    only = draw(Recipe("x", flips="v", jitter=0), 200, np.random.default_rng(9))
    assert not only.flip_h.any()
    assert 60 < only.flip_v.sum() < 140
