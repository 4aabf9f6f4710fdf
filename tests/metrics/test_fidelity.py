"""What PSNR and SSIM promise: by hand and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bitdose.metrics.fidelity import psnr_db, ssim

# We compute in float32, scikit-image here in float64: they differ by 3e-6 at most on these pairs.
SSIM_TOLERANCE = 2e-5


def noisy_pair(shape: tuple[int, ...], *, peak: int = 255, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Draw a smooth scene and the same with noise, in the container of ``peak``."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0, 3, shape[0])[:, None]
    scene = 0.5 + 0.3 * np.sin(rows + np.linspace(0, 9, shape[1])[None, :])
    scene = scene if len(shape) == 2 else np.stack([scene, scene**2, 1 - scene], axis=-1)
    dtype = np.uint8 if peak < 256 else np.uint16
    pair = (scene, scene + rng.normal(0, 0.05, shape))
    first, second = (np.clip(np.rint(x * peak), 0, peak).astype(dtype) for x in pair)
    return first, second


def reference_ssim(a: NDArray, b: NDArray, *, peak: int) -> float:
    """Mean over the area where the 11x11 window fits, per channel, by scikit-image."""
    axis = 2 if a.ndim == 3 else None
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": peak}
    a, b = a.astype(float), b.astype(float)
    _, whole = structural_similarity(a, b, channel_axis=axis, full=True, **options)
    return float(whole[5:-5, 5:-5].mean())


def block_means(plane: NDArray, factor: int) -> NDArray:
    """Average over blocks of ``factor`` by reshaping; what does not fill a block is cut off."""
    height, width = (side // factor for side in plane.shape[:2])
    cut = plane[: height * factor, : width * factor].astype(float)
    return (
        cut.reshape(height, factor, width, factor, -1).mean((1, 3)).reshape(height, width, *plane.shape[2:])
    )


def test_psnr_by_hand() -> None:
    """One of four samples is off by 10, so MSE is 25 and PSNR 10 log10(255² / 25) dB."""
    a = np.full((2, 2), 100, np.uint8)
    b = a.copy()
    b[0, 0] = 110
    assert psnr_db(a, b, peak=255) == pytest.approx(10 * math.log10(255**2 / 25), abs=1e-12)


@pytest.mark.parametrize("shape", [(40, 31), (40, 31, 3)])
@pytest.mark.parametrize("peak", [255, 4095, 65535])
def test_psnr_agrees_with_scikit_image(shape: tuple[int, ...], peak: int) -> None:
    """Grey and colour, 8, 12 and 16 bits: the same dB as scikit-image."""
    a, b = noisy_pair(shape, peak=peak)
    expected = peak_signal_noise_ratio(a.astype(float), b.astype(float), data_range=peak)
    assert psnr_db(a, b, peak=peak) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_psnr_of_large_opposite_images_is_zero(dtype: type) -> None:
    """Black against white is 0 dB also where the sum of squares is far beyond 32 bits."""
    peak = int(np.iinfo(dtype).max)
    black = np.zeros((1500, 1500), dtype)
    assert psnr_db(black, np.full_like(black, peak), peak=peak) == pytest.approx(0, abs=1e-9)


def test_psnr_of_identical_images_is_infinite() -> None:
    """No error at all is infinity, which no mean swallows unseen."""
    a, _ = noisy_pair((16, 16))
    assert psnr_db(a, a, peak=255) == math.inf


def test_psnr_of_a_volume_pools_its_slices() -> None:
    """A volume's error is one mean over all samples, not the mean of the slices' dB."""
    a, b = (np.stack([x, x]) for x in noisy_pair((20, 20)))
    b[0] = a[0]
    pooled = peak_signal_noise_ratio(a.astype(float), b.astype(float), data_range=255)
    assert psnr_db(a, b, peak=255) == pytest.approx(pooled, abs=1e-9)
    assert pooled == pytest.approx(psnr_db(a[1], b[1], peak=255) + 10 * math.log10(2), abs=1e-9)


@pytest.mark.parametrize("function", [psnr_db, ssim])
def test_shapes_must_agree(function: object) -> None:
    """Images of other shapes are refused, not broadcast."""
    with pytest.raises(ValueError, match="shapes differ"):
        function(np.zeros((20, 20), np.uint8), np.zeros((20, 1), np.uint8), peak=255)


def test_ssim_of_flat_images_by_hand() -> None:
    """Flat 100 against flat 110: only the luminance term is left, (2ab + C1) / (a² + b² + C1)."""
    a, b = np.full((2, 32, 32), [[[100]], [[110]]], np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b, peak=255) == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1), abs=2e-5)


@pytest.mark.parametrize("shape", [(64, 64), (200, 61), (383, 400), (90, 70, 3)])
@pytest.mark.parametrize("peak", [255, 4095, 65535])
def test_ssim_agrees_with_scikit_image_where_nothing_is_averaged(shape: tuple[int, ...], peak: int) -> None:
    """Below 384 samples a side the index is scikit-image's over the same valid area."""
    a, b = noisy_pair(shape, peak=peak)
    assert ssim(a, b, peak=peak) == pytest.approx(reference_ssim(a, b, peak=peak), abs=SSIM_TOLERANCE)


@pytest.mark.parametrize(
    ("shape", "factor"), [((512, 520), 2), ((385, 390), 2), ((771, 800), 3), ((512, 512, 3), 2)]
)
def test_ssim_of_large_images_is_that_of_their_block_means(shape: tuple[int, ...], factor: int) -> None:
    """From 384 samples on, blocks of round(side / 256) are averaged first."""
    a, b = noisy_pair(shape)
    expected = reference_ssim(block_means(a, factor), block_means(b, factor), peak=255)
    assert ssim(a, b, peak=255) == pytest.approx(expected, abs=SSIM_TOLERANCE)


def test_ssim_of_16_bits_is_that_of_8_bits() -> None:
    """The same picture at another depth has the same index: the constants follow the peak."""
    a, b = noisy_pair((80, 80))
    wide = (x.astype(np.uint16) * 257 for x in (a, b))
    assert ssim(*wide, peak=65535) == pytest.approx(ssim(a, b, peak=255), abs=SSIM_TOLERANCE)


def test_ssim_is_one_for_identical_images_and_undefined_below_the_window() -> None:
    """Identical images give 1; images smaller than 11 samples a side give NaN."""
    a, _ = noisy_pair((40, 40))
    assert ssim(a, a, peak=255) == pytest.approx(1, abs=1e-6)
    assert math.isnan(ssim(a[:10], a[:10], peak=255))
