"""What the encoder in C promises: OpenJPEG's bytes for every rate, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bitdose.codecs import jpeg2000
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.hashing import rng_for
from bitdose.image import Image
from bitdose.native import encoder, library
from bitdose.native.encoder import RatesEncoder
from bitdose.testing import textured_image

pytestmark = pytest.mark.skipif(library.load() is None, reason="installed without a C compiler")

RATIOS = (1, 1.01, 1.5, 2, 3, 5, 8, 10, 16, 20, 33.3, 40, 64, 100, 160, 300, 1000, 10_000)
PSNRS_DB = (1, 15, 20.5, 30, 33, 40, 50, 70, 100)
CHAIN = [*(Jpeg2000(ratio) for ratio in RATIOS), *(Jpeg2000(psnr_db, "dB") for psnr_db in PSNRS_DB)]
SIDES = [(64, 64), (70, 90), (33, 257), (300, 200), (128, 129), (32, 700), (513, 511), (65, 1030)]


def _images(height: int, width: int, bits: int) -> Iterator[Image]:
    """Texture, noise, flat ones, a ramp, and single bright samples."""
    rng, full = rng_for("native", height, width, bits), 2**bits - 1
    dtype = np.uint8 if bits == 8 else np.uint16
    yield textured_image(height, width, rng=rng, bits=bits)
    yield Image(rng.integers(0, full + 1, (height, width)).astype(dtype), bits)
    for level in (0, full // 2 + 1, full):
        yield Image(np.full((height, width), level, dtype), bits)
    yield Image(np.linspace(0, full, height * width).reshape(height, width).astype(dtype), bits)
    yield Image(np.where(rng.random((height, width)) < 0.01, full, 0).astype(dtype), bits)


@pytest.mark.parametrize("sides", SIDES)
def test_every_stream_of_colour_is_openjpegs(sides: tuple[int, int]) -> None:
    """Three components that share the bytes."""
    rng = rng_for("colour", *sides)
    noise = rng.integers(0, 256, (*sides, 3), dtype=np.uint8)
    for image in (textured_image(*sides, rng=rng, colour=True), Image(noise, 8, "RGB")):
        streams = Jpeg2000.encode_each(image, CHAIN)
        assert streams is not None
        for codec, data in zip(CHAIN, streams, strict=True):
            assert data == codec.encode(image), codec


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("sides", SIDES)
def test_every_stream_is_openjpegs(sides: tuple[int, int], bits: int) -> None:
    """By ratio and by PSNR, from all there is to next to nothing."""
    for image in _images(*sides, bits):
        streams = Jpeg2000.encode_each(image, CHAIN)
        assert streams is not None
        for codec, data in zip(CHAIN, streams, strict=True):
            assert data == codec.encode(image), codec


def test_the_order_of_rates_does_not_matter() -> None:
    """A stream does not depend on which were chosen before."""
    image = textured_image(200, 150, rng=rng_for("order"))
    there, back = (Jpeg2000.encode_each(image, chain) for chain in (CHAIN, CHAIN[::-1]))
    assert there is not None
    assert back is not None
    assert there == back[::-1]


@pytest.mark.parametrize("sides", [(1, 1), (1, 100), (100, 1), (2, 2), (5, 3), (17, 33), (31, 40)])
def test_a_small_image_is_openjpegs_or_left_to_it(sides: tuple[int, int]) -> None:
    """Pillow takes fewer levels for them, down to none, which is another form."""
    image = textured_image(*sides, rng=rng_for("small"))
    streams = Jpeg2000.encode_each(image, CHAIN)
    assert (streams is None) == (min(sides) == 1)
    for codec, data in zip(CHAIN, streams or [], strict=bool(streams)):
        assert data == codec.encode(image), codec


def test_what_is_not_of_the_form_is_refused() -> None:
    """No stream, a layered one, one of another size or depth, and pixels that are no plane of samples."""
    plane = textured_image(64, 80, rng=rng_for("form")).pixels
    like = Jpeg2000(10).encode(Image(plane))
    layered = Jpeg2000.encode_chain(Image(plane), [Jpeg2000(10), Jpeg2000(5)])[1]
    assert RatesEncoder(plane, like).encode_at_ratio(10) == like
    for pixels, of in [
        (plane, b""),
        (plane, b"no codestream at all"),
        (plane, like[:-3]),
        (plane, layered),
        (plane.T, like),
        (plane.astype(np.uint16), like),
        (plane.astype(np.float32), like),
        (plane[None], like),
        (np.stack(3 * [plane], axis=-1), like),
    ]:
        with pytest.raises(ValueError, match="not a form that is encoded here"):
            RatesEncoder(pixels, of)


def test_an_encoder_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte off in the comparison that each process makes, and OpenJPEG encodes."""
    right = RatesEncoder.encode_at_ratio
    monkeypatch.setattr(RatesEncoder, "encode_at_ratio", lambda self, ratio: right(self, ratio)[:-1] + b"\0")
    jpeg2000._loops_agree.cache_clear()
    try:
        assert Jpeg2000.encode_each(textured_image(96, 80, rng=rng_for("differs")), CHAIN) is None
    finally:
        jpeg2000._loops_agree.cache_clear()


def test_without_the_library_openjpeg_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: nothing is encoded to find out."""
    monkeypatch.setattr(encoder, "load", lambda: None)
    jpeg2000._loops_agree.cache_clear()
    try:
        assert Jpeg2000.encode_each(textured_image(96, 80, rng=rng_for("none")), CHAIN) is None
    finally:
        jpeg2000._loops_agree.cache_clear()
