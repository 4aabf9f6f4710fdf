"""A stream says exactly the depth and sign of the samples in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import generate_frames

from bitdose.codecs.bit_depth import with_precision
from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.data.streams import j2k_header
from bitdose.image import Image


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [9, 10, 12, 13, 15, 16])
def test_a_stream_of_sixteen_bits_becomes_one_of_fewer(
    texture: Callable[..., Any], bits: int, signed: bool
) -> None:
    """The changed stream decodes to the 16-bit stream's samples over 2^(16 - bits), rounded, sign and all."""
    pixels = texture(70, 90, bits)
    stream = encode_point(Image(pixels << (16 - bits), 16), Point.parse("jpeg2000:8x")).data[0]
    changed = with_precision(stream, bits, signed=signed)
    full = imagecodecs.jpeg2k_decode(stream).astype(float) / 2 ** (16 - bits)
    half = 1 << (bits - 1) if signed else 0
    decoded = imagecodecs.jpeg2k_decode(changed).astype(float) + half
    # The decoder rounds to whole samples before it adds the level shift: within half a step, plus a tie.
    assert np.abs(decoded - np.minimum(full, (1 << bits) - 1)).max() <= 1
    assert np.abs(decoded - pixels).mean() < 0.05 * (1 << bits)
    header = j2k_header(changed)
    assert (header.bits, header.signed, len(changed)) == ((bits,), (signed,), len(stream))


def test_one_byte_per_component_changes(texture: Callable[..., Any]) -> None:
    """Nothing but the precision byte of each component differs."""
    image = Image(texture(32, 32, 8, colour=True), 8, "RGB")
    stream = encode_point(image, Point.parse("jpeg2000:4x")).data[0]
    changed = with_precision(stream, 7, signed=False)
    assert [at for at, (a, b) in enumerate(zip(stream, changed, strict=True)) if a != b] == [42, 45, 48]


def test_something_else_is_refused() -> None:
    """Bytes that are no bare codestream raise instead of being changed."""
    with pytest.raises(ValueError, match="SOC and SIZ"):
        with_precision(b"\xff\xd8\xff\xe0" + bytes(60), 12, signed=False)


def test_the_signal_survives_at_high_quality(
    make_dicom: Callable[..., bytes], compress: Callable[..., Any], texture: Callable[..., Any]
) -> None:
    """At 1:1 a 12-bit signed object comes back within one step: no offset, no scale error."""
    pixels = texture(64, 96, 12, signed=True)
    dataset = compress(make_dicom(pixels, BitsStored=12), "jpeg2000:1x")
    decoded = imagecodecs.jpeg2k_decode(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    assert decoded.dtype == np.int16
    assert np.abs(decoded.astype(int) - pixels).max() <= 1
