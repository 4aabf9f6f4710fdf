"""What the resampling kernels promise: each is one library's, sample for sample."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.errors import UsageError
from bitdose.hashing import rng_for
from bitdose.image import Pixels
from bitdose.resample.kernels import KERNELS, check_kernel, resample, resample_many
from bitdose.testing import textured_image

OPENCV = {"lanczos4": cv2.INTER_LANCZOS4, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
PILLOW = {
    "lanczos3": PillowImage.Resampling.LANCZOS,
    "bicubic": PillowImage.Resampling.BICUBIC,
    "bilinear": PillowImage.Resampling.BILINEAR,
}
SIZES = [(40, 30), (64, 200), (161, 97), (1, 1)]


def _pixels(bits: int, *, colour: bool = False) -> Pixels:
    image = textured_image(96, 160, rng=rng_for("resample", bits), bits=bits, colour=colour)
    return image.pixels  # type: ignore[no-any-return]


def test_every_kernel_is_named_here() -> None:
    """The reference below covers every kernel there is, with its library."""
    libraries = dict.fromkeys(OPENCV, "opencv") | dict.fromkeys(PILLOW, "pillow")
    assert {name: kernel.library for name, kernel in KERNELS.items()} == libraries


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kernel", OPENCV)
def test_opencvs_kernels_are_opencvs(kernel: str, size: tuple[int, int], bits: int, colour: bool) -> None:
    """Grey and colour, 8 and 16 bits: what ``cv2.resize`` gives."""
    pixels = _pixels(bits, colour=colour)
    expected = cv2.resize(pixels, size, interpolation=OPENCV[kernel])
    assert np.array_equal(resample(pixels, *size, kernel=kernel), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kernel", PILLOW)
def test_pillows_kernels_are_pillows(kernel: str, size: tuple[int, int], colour: bool) -> None:
    """8 bits, grey and colour: what ``PIL.Image.resize`` gives."""
    pixels = _pixels(8, colour=colour)
    expected = np.asarray(PillowImage.fromarray(pixels).resize(size, PILLOW[kernel]))
    assert np.array_equal(resample(pixels, *size, kernel=kernel), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kernel", PILLOW)
def test_pillow_filters_deep_samples_as_float(
    kernel: str, size: tuple[int, int], bits: int, colour: bool
) -> None:
    """16 bits: Pillow's float filter channel by channel, rounded half up and saturated."""
    pixels = _pixels(bits, colour=colour)
    channels = np.moveaxis(pixels, -1, 0) if colour else pixels[None]
    floats = [
        np.asarray(PillowImage.fromarray(channel.astype(np.float32)).resize(size, PILLOW[kernel]))
        for channel in channels
    ]
    expected = np.clip(np.floor(np.stack(floats, -1) + 0.5), 0, 65535).astype(np.uint16)
    resized = resample(pixels, *size, kernel=kernel)
    assert resized.dtype == np.uint16
    assert np.array_equal(resized, expected if colour else expected[..., 0])


@pytest.mark.parametrize("kernel", KERNELS)
def test_float_samples_stay_float(kernel: str) -> None:
    """Grey float32, as saliency maps are, keeps dtype, range and NaN-free values unrounded."""
    values = rng_for("float").random((32, 48), np.float32)
    resized = resample(values, 24, 16, kernel=kernel)
    assert resized.shape == (16, 24)
    assert resized.dtype == np.float32
    assert np.ptp(resized % 1) > 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_overshoot_saturates_and_does_not_wrap(kernel: str) -> None:
    """Beside a hard edge a kernel may ring; black stays black and white stays white."""
    for dtype in (np.uint8, np.uint16):
        edge = np.zeros((32, 32), dtype)
        edge[:, 16:] = np.iinfo(dtype).max
        resized = resample(edge, 77, 77, kernel=kernel)
        assert resized[:, :30].max() < np.iinfo(dtype).max // 4
        assert resized[:, -30:].min() > np.iinfo(dtype).max // 4 * 3


@pytest.mark.parametrize(("kernel", "antialiases"), [(name, k.antialiases) for name, k in KERNELS.items()])
def test_kernels_that_antialias_take_fine_stripes_to_grey(kernel: str, antialiases: bool) -> None:
    """Shrunk by 4, stripes of one sample become even grey only where the kernel widens with the scale."""
    stripes = np.tile(np.array([0, 0, 255], np.uint8), (192, 64))
    shrunk = resample(stripes, 48, 48, kernel=kernel)
    assert (shrunk[8:-8, 8:-8].std() < 35) == antialiases


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_size_is_left_alone(kernel: str) -> None:
    """Resizing to the size an image has gives back the very array."""
    pixels = _pixels(8)
    assert resample(pixels, 160, 96, kernel=kernel) is pixels


def test_an_unknown_kernel_names_the_known_ones() -> None:
    """A kernel that does not exist is a usage error that lists those that do."""
    with pytest.raises(UsageError, match=r"unknown kernel 'cubic': known: lanczos4, linear, area, lanczos3"):
        resample(_pixels(8), 4, 4, kernel="cubic")
    assert check_kernel("area") == "area"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_several_images_at_once_are_each_what_it_would_be_alone(kernel: str, count: int) -> None:
    """Four grey images go through Pillow as one, and no sample differs."""
    planes = [textured_image(96, 160, rng=rng_for("many", n)).pixels for n in range(count)]
    found = resample_many(planes, 64, 50, kernel=kernel)
    for plane, several in zip(planes, found, strict=True):
        np.testing.assert_array_equal(several, resample(plane, 64, 50, kernel=kernel))


def test_images_of_several_sizes_depths_and_kinds_may_be_mixed() -> None:
    """What cannot be bands of one image is resized alone, in its place."""
    planes = [_pixels(8), _pixels(8)[:90], _pixels(12), _pixels(8, colour=True), _pixels(8)]
    for plane, found in zip(planes, resample_many(planes, 30, 20, kernel="bilinear"), strict=True):
        np.testing.assert_array_equal(found, resample(plane, 30, 20, kernel="bilinear"))
