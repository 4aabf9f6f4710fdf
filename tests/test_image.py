"""What the image contract promises."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.errors import CaseError, UsageError
from bitdose.hashing import rng_for
from bitdose.image import Image, container, rescale_bits, stack, to_grey
from bitdose.testing import textured_image


@pytest.mark.parametrize(
    ("pixels", "bits", "photometric", "says"),
    [
        (np.zeros((4, 4), np.float32), 8, "MONOCHROME2", "expected uint8 or uint16 pixels, got float32"),
        ([[0]], 8, "MONOCHROME2", "got list"),
        (np.zeros((4, 4), np.uint8), 12, "MONOCHROME2", "12 bits do not go with uint8"),
        (np.zeros((4, 4), np.uint16), 8, "MONOCHROME2", "8 bits do not go with uint16"),
        (np.zeros((4, 4), np.uint16), 17, "MONOCHROME2", "17 bits do not go with uint16"),
        (np.zeros((4, 4), np.uint8), 0, "MONOCHROME2", "0 bits do not go with uint8"),
        (np.full((4, 4), 4096, np.uint16), 12, "MONOCHROME2", "samples exceed 12 bits"),
        (np.full((4, 4), 2, np.uint8), 1, "MONOCHROME2", "samples exceed 1 bits"),
        (np.zeros((4, 4), np.uint8), 8, "RGB", "is no RGB image"),
        (np.zeros((4, 4, 4), np.uint8), 8, "RGB", "is no RGB image"),
        (np.zeros((2, 4, 4, 3), np.uint8), 8, "RGB", "is no RGB image"),
        (np.zeros(4, np.uint8), 8, "MONOCHROME2", "is no MONOCHROME2 image or volume"),
        (np.zeros((0, 4), np.uint8), 8, "MONOCHROME2", "is no MONOCHROME2 image or volume"),
        (np.zeros((4, 4), np.uint8), 8, "MONOCHROME1", "'MONOCHROME1' is not MONOCHROME2 or RGB"),
    ],
)
def test_what_breaks_the_contract_is_refused(pixels: object, bits: int, photometric: str, says: str) -> None:
    """Wrong dtype, depth, values, shape or meaning is a ``bad-pixels`` case error that says which."""
    with pytest.raises(CaseError) as caught:
        Image(pixels, bits, photometric)  # type: ignore[arg-type]
    assert caught.value.status == "bad-pixels"
    assert says in caught.value.reason


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 12, 15, 16])
def test_every_depth_takes_its_largest_sample(bits: int) -> None:
    """Depths of 1 to 8 live in bytes, 9 to 16 in words, up to ``2**bits - 1``."""
    image = Image(np.full((2, 3), (1 << bits) - 1, container(bits)), bits)
    assert image.max_value == (1 << bits) - 1
    assert image.raw_bytes == 6 * (1 if bits <= 8 else 2)


def test_a_stack_of_grey_slices_is_a_volume_and_three_samples_are_colour() -> None:
    """``(4, 6, 3)`` is a volume of four slices or one RGB image: the photometric meaning decides."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    volume, colour = Image(pixels), Image(pixels, 8, "RGB")
    assert (volume.is_volume, volume.n_slices, volume.height, volume.width) == (True, 4, 6, 3)
    assert (colour.is_volume, colour.n_slices, colour.height, colour.width) == (False, 1, 4, 6)


@pytest.mark.parametrize(
    "image",
    [
        Image(np.arange(12, dtype=np.uint8).reshape(3, 4)),
        Image(np.arange(24, dtype=np.uint16).reshape(2, 3, 4), 12),
        Image(np.arange(36, dtype=np.uint8).reshape(3, 4, 3), 8, "RGB"),
    ],
)
def test_slices_and_stack_are_inverse(image: Image) -> None:
    """A volume taken apart and put together again is the same volume; an image is its only slice."""
    assert stack(image.slices(), volume=image.is_volume) == image
    assert len(image.slices()) == image.n_slices


def test_equal_images_have_equal_pixels_bits_and_meaning() -> None:
    """Equality looks at all three fields; an image is nothing else's equal and has no hash."""
    pixels = np.zeros((2, 2), np.uint8)
    assert Image(pixels) == Image(pixels.copy())
    assert Image(pixels) != Image(pixels, 4)
    assert Image(pixels) != Image(pixels + np.uint8(1))
    assert Image(pixels) != pixels.tolist()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Image(pixels))


def test_pixels_are_contiguous_whatever_came() -> None:
    """A strided view is copied once on entry, so codecs need not care."""
    view = np.arange(64, dtype=np.uint8).reshape(8, 8)[::2, ::-1]
    assert Image(view).pixels.flags.c_contiguous
    assert np.array_equal(Image(view).pixels, view)


def test_grey_is_pillows_luma() -> None:
    """8-bit RGB becomes grey exactly as Pillow's ``convert("L")`` makes it, for any colour."""
    colours = rng_for("luma").integers(0, 256, (256, 256, 3)).astype(np.uint8)
    expected = np.asarray(PillowImage.fromarray(colours).convert("L"))
    assert np.array_equal(to_grey(Image(colours, 8, "RGB")).pixels, expected)


def test_deep_grey_keeps_depth_black_and_white() -> None:
    """Luma of 16-bit colour stays within 16 bits and keeps the ends."""
    ends = np.array([[[0, 0, 0], [65535, 65535, 65535]]], np.uint16)
    grey = to_grey(Image(ends, 16, "RGB"))
    assert grey.pixels.tolist() == [[0, 65535]]
    assert grey.bits == 16


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_a_deeper_range_holds_every_8_bit_sample(bits: int) -> None:
    """From 8 bits up and down again nothing is lost, and the ends stay the ends."""
    ramp = Image(np.arange(256, dtype=np.uint8)[None])
    up = rescale_bits(ramp, bits)
    assert (up.bits, int(up.pixels[0, 0]), int(up.pixels[0, -1])) == (bits, 0, (1 << bits) - 1)
    assert rescale_bits(up, 8) == ramp


@pytest.mark.parametrize(
    ("source", "target"), [(12, 8), (16, 8), (16, 12), (8, 16), (10, 16), (1, 8), (8, 1)]
)
def test_depths_map_linearly_and_round_half_up(source: int, target: int) -> None:
    """Every sample equals ``floor(x * top_out / top_in + 1/2)`` in whole numbers."""
    samples = np.arange(1 << source)
    top_in, top_out = (1 << source) - 1, (1 << target) - 1
    expected = [(2 * int(x) * top_out + top_in) // (2 * top_in) for x in samples]
    mapped = rescale_bits(Image(samples.astype(container(source))[None], source), target)
    assert mapped.pixels[0].tolist() == expected
    assert mapped.pixels.dtype == container(target)


def test_the_same_depth_is_left_alone() -> None:
    """Mapping 12 bits to 12 bits gives back the very image."""
    image = textured_image(8, 8, rng=rng_for("same"), bits=12)
    assert rescale_bits(image, 12) is image


def test_an_array_becomes_an_image() -> None:
    """Depth and colour follow from type and shape, or are said; any byte order will do."""
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert Image.from_array(grey) == Image(grey)
    colour = np.zeros((3, 4, 3), np.uint8)
    assert Image.from_array(colour).photometric == "RGB"
    assert Image.from_array(colour, photometric="MONOCHROME2").n_slices == 3
    deep = grey.astype(">u2")
    assert Image.from_array(deep) == Image(grey.astype(np.uint16), 16)
    assert Image.from_array(deep, bits=12) == Image(grey.astype(np.uint16), 12)
    assert Image.from_array(np.zeros((2, 5, 6), np.uint16)).is_volume


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bits": 3}, "samples exceed 3 bits"),
        ({"bits": 12}, "12 bits do not go"),
        ({"photometric": "RGB"}, "no RGB"),
    ],
)
def test_an_array_of_another_kind_than_said_is_refused(options: dict[str, object], says: str) -> None:
    """The error is about the call, and names the argument."""
    with pytest.raises(UsageError, match=f"^array: .*{says}"):
        Image.from_array(np.full((4, 4), 9, np.uint8), **options)  # type: ignore[arg-type]
