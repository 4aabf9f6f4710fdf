"""Kinds of TIFF that Pillow reads wrongly: drawn here, written by tifffile, and read to the sample."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bitdose.data.read import read_bytes
from bitdose.errors import CaseError

RNG = np.random.default_rng(14)


def written(array: NDArray[Any], **how: Any) -> bytes:
    """Write an array as a TIFF."""
    out = BytesIO()
    tifffile.imwrite(out, array, **how)
    return out.getvalue()


def unit(array: NDArray[Any]) -> NDArray[np.float64]:
    """Spread an array over 0 to 1 by its least and largest sample."""
    values = array.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("kind", ["u2", "i2", "f4", "f8", "u4"])
def test_white_is_zero_is_inverted_at_any_depth(order: str, kind: str) -> None:
    """MINISWHITE means the negative at 16 and 32 bits, signed and floating point, in both byte orders."""
    low, high = {"u2": (0, 65535), "i2": (-2000, 2000), "u4": (5, 4_000_000_000)}.get(kind, (-1.5, 2.5))
    array = (RNG.random((33, 47)) * (high - low) + low).astype(order + kind)
    image = read_bytes(written(array, photometric="miniswhite", byteorder=order)).image
    expected = 1 - (array / 65535 if kind == "u2" else unit(array))
    np.testing.assert_allclose(image.pixels / image.max_value, expected, rtol=0, atol=0.51 / image.max_value)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize(("kind", "span"), [("i1", (-100, 101)), ("u4", (7, 4_000_000_000))])
def test_signed_bytes_and_long_words_do_not_wrap_around(order: str, kind: str, span: tuple[int, int]) -> None:
    """Signed 8 bits and unsigned 32 bits above 2^31 keep their order."""
    array = RNG.integers(*span, (33, 47)).astype(order + kind)
    image = read_bytes(written(array, photometric="minisblack", byteorder=order)).image
    np.testing.assert_allclose(
        image.pixels / image.max_value, unit(array), rtol=0, atol=0.51 / image.max_value
    )


@pytest.mark.parametrize("bits", [10, 14])
def test_depths_between_8_and_16_keep_their_bits(bits: int) -> None:
    """10 and 14 bits per sample are read as such, not spread."""
    array = RNG.integers(0, 1 << bits, (32, 48)).astype(np.uint16)
    data = written(array, photometric="minisblack", bitspersample=bits)
    image = read_bytes(data).image
    assert image.bits == bits
    np.testing.assert_array_equal(image.pixels, array)


def test_an_imagej_stack_is_a_volume() -> None:
    """One directory that stands for several slices gives them all."""
    array = RNG.integers(0, 65536, (3, 33, 47)).astype(np.uint16)
    image = read_bytes(written(array, imagej=True, metadata={"axes": "ZYX"})).image
    np.testing.assert_array_equal(image.pixels, array)


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}], ids=["ImageJ", "OME"])
def test_channels_are_no_slices(how: dict[str, Any]) -> None:
    """Two channels are refused in one line, for they are neither slices nor RGB."""
    array = RNG.integers(0, 65536, (2, 33, 47)).astype(np.uint16)
    with pytest.raises(CaseError, match="2 channels, which are neither slices nor RGB"):
        read_bytes(written(array, metadata={"axes": "CYX"}, **how))


def test_grey_with_alpha_at_16_bits_drops_the_alpha() -> None:
    """The grey samples come as they are, and the step is said."""
    array = RNG.integers(0, 65536, (33, 47, 2)).astype(np.uint16)
    data = written(array, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    source = read_bytes(data)
    np.testing.assert_array_equal(source.image.pixels, array[..., 0])
    assert source.mapping == "alpha dropped"
