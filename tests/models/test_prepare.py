"""What a classifier sees: exactly what the usual loader would have shown it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from bitdose.errors import CaseError
from bitdose.image import Image
from bitdose.models.base import InputSpec
from bitdose.models.prepare import prepare

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (31, 47), np.uint8)
COLOUR = RNG.integers(0, 256, (31, 47, 3), np.uint8)
VOLUME = RNG.integers(0, 256, (5, 20, 24), np.uint8)


def spec(**fields: Any) -> InputSpec:
    """Return a spec of 16x12 samples and two labels with some fields changed."""
    return InputSpec(**({"labels": ("a", "b"), "size": (12, 16)} | fields))


def loader(pixels: NDArray) -> NDArray[np.float32]:
    """Resize as torchvision does on Pillow images, then divide by 255."""
    resized = Pillow.fromarray(pixels).resize((16, 12), Pillow.Resampling.BILINEAR)
    return np.asarray(resized).astype(np.float32) / np.float32(255)


def test_grey_is_the_usual_loader_to_the_last_bit() -> None:
    """Pillow's bilinear resize, then x / 255 in float32, one channel first."""
    found = prepare(Image(GREY), spec())
    assert (found.dtype, found.shape) == (np.float32, (1, 12, 16))
    np.testing.assert_array_equal(found[0], loader(GREY))


def test_colour_is_the_usual_loader_to_the_last_bit() -> None:
    """The same for RGB, channels first."""
    found = prepare(Image(COLOUR, 8, "RGB"), spec(channels=3))
    np.testing.assert_array_equal(found, loader(COLOUR).transpose(2, 0, 1))


def test_grey_is_repeated_for_three_channels() -> None:
    """A network of three channels sees a grey image three times."""
    found = prepare(Image(GREY), spec(channels=3))
    np.testing.assert_array_equal(found, np.stack([loader(GREY)] * 3))


def test_colour_becomes_luma_for_one_channel() -> None:
    """A network of one channel sees Pillow's ``convert("L")``, taken before the resize."""
    luma = np.asarray(Pillow.fromarray(COLOUR).convert("L"))
    np.testing.assert_array_equal(prepare(Image(COLOUR, 8, "RGB"), spec())[0], loader(luma))


def test_mean_and_std_by_hand() -> None:
    """(x - mean) / std per channel; white with mean 0.5 and std 0.25 is 2."""
    white = Image(np.full((4, 4), 255, np.uint8))
    found = prepare(white, spec(channels=3, mean=(0.5, 0.0, 1.0), std=(0.25, 0.5, 2.0)))
    assert found[:, 0, 0].tolist() == [2.0, 2.0, 0.0]
    one_for_all = prepare(white, spec(channels=3, mean=(0.5,), std=(0.25,)))
    assert one_for_all[:, 0, 0].tolist() == [2.0, 2.0, 2.0]


def test_range_by_hand() -> None:
    """With a range of -1024 to 1024 black and white become just these, before mean and std."""
    two = Image(np.array([[0, 255]], np.uint8))
    assert prepare(two, spec(size=None, range=(-1024.0, 1024.0)))[0].tolist() == [[-1024.0, 1024.0]]
    assert prepare(two, spec(size=None, range=(0.0, 255.0), mean=(55.0,), std=(100.0,)))[0, 0, 1] == 2.0


@pytest.mark.parametrize(("bits", "white"), [(12, 4095), (16, 65535)])
def test_deeper_samples_keep_their_depth(bits: int, white: int) -> None:
    """12 and 16 bits are scaled by their own maximum, not squeezed through 8 bits."""
    ramp = np.arange(0, white, white // 64, dtype=np.uint16)[None, :64]
    found = prepare(Image(ramp, bits), spec(size=None))[0]
    np.testing.assert_array_equal(found, ramp.astype(np.float32) / np.float32(white))
    assert np.unique(found).size == 64


def test_deep_samples_are_resized_as_pillow_does() -> None:
    """16 bits go through Pillow's float filter and are rounded to 16 bits."""
    deep = GREY.astype(np.uint16) * 257
    resized = Pillow.fromarray(deep.astype(np.float32)).resize((16, 12), Pillow.Resampling.BILINEAR)
    expected = np.floor(np.asarray(resized) + 0.5).astype(np.uint16).astype(np.float32) / np.float32(65535)
    np.testing.assert_array_equal(prepare(Image(deep, 16), spec())[0], expected)


def test_channels_last() -> None:
    """NHWC is NCHW with the channels moved, and nothing else."""
    first, last = (prepare(Image(COLOUR, 8, "RGB"), spec(channels=3, layout=x)) for x in ("NCHW", "NHWC"))
    np.testing.assert_array_equal(last, np.moveaxis(first, 0, -1))
    assert last.flags["C_CONTIGUOUS"]


def test_volumes_are_prepared_slice_by_slice() -> None:
    """NCDHW is ``(C, L, H, W)``, NDHWC ``(L, H, W, C)``; each slice is what it would be alone."""
    first = prepare(Image(VOLUME), spec(layout="NCDHW"))
    last = prepare(Image(VOLUME), spec(layout="NDHWC", channels=3))
    assert (first.shape, last.shape) == ((1, 5, 12, 16), (5, 12, 16, 3))
    for k, plane in enumerate(VOLUME):
        np.testing.assert_array_equal(first[0, k], loader(plane))
        np.testing.assert_array_equal(last[k, ..., 2], loader(plane))


def test_without_a_size_images_come_as_they_are() -> None:
    """``size`` None resizes nothing."""
    assert prepare(Image(GREY), spec(size=None)).shape == (1, 31, 47)


@pytest.mark.parametrize(
    ("pixels", "layout", "words"),
    [
        (VOLUME, "NCHW", "is a volume and the classifier takes images"),
        (GREY, "NCDHW", "is an image .* volumes"),
    ],
)
def test_volume_and_image_are_not_mixed(pixels: NDArray, layout: str, words: str) -> None:
    """A volume for an image classifier, or the reverse, fails as a case and not as a study."""
    with pytest.raises(CaseError, match=words) as caught:
        prepare(Image(pixels), spec(layout=layout))
    assert caught.value.status == "model-input"


def test_a_fixed_number_of_slices_is_kept() -> None:
    """A classifier of eight slices takes a stack of eight, and a stack of five is a row that says so."""
    spec = InputSpec(labels=("a", "b"), size=(4, 4), layout="NCDHW", slices=8)
    assert prepare(Image(np.zeros((8, 6, 6), np.uint8)), spec).shape == (1, 8, 4, 4)
    with pytest.raises(CaseError, match="5 slices; the classifier takes 8 only"):
        prepare(Image(np.zeros((5, 6, 6), np.uint8)), spec)
