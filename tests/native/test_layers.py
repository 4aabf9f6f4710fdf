"""What the decoder in C promises: OpenJPEG's image of every layer or stream to the last bit, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitdose.codecs import jpeg2000
from bitdose.codecs.codestream import count_layers
from bitdose.codecs.coding import code_points
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.codecs.point import Point
from bitdose.hashing import rng_for
from bitdose.image import Image
from bitdose.native import encoder, layers, library
from bitdose.native.layers import LayeredDecoder
from bitdose.testing import textured_image

pytestmark = pytest.mark.skipif(library.load() is None, reason="installed without a C compiler")

RATIOS = (2, 5, 10, 20, 40, 100, 300)
SIDES = [(64, 64), (70, 90), (5, 3), (2, 2), (33, 257), (300, 200), (128, 129), (7, 700), (513, 511)]


def _images(height: int, width: int, bits: int) -> Iterator[Image]:
    """Texture, noise, a flat one, and single bright samples, which codes cut in odd places."""
    rng, full = rng_for("native", height, width, bits), 2**bits - 1
    dtype = np.uint8 if bits == 8 else np.uint16
    yield textured_image(height, width, rng=rng, bits=bits)
    yield Image(rng.integers(0, full + 1, (height, width)).astype(dtype), bits)
    yield Image(np.full((height, width), full // 3, dtype), bits)
    yield Image(np.where(rng.random((height, width)) < 0.1, full, 0).astype(dtype), bits)


def _chain(image: Image) -> list[bytes]:
    """Give the streams of a shared encode, from few layers to many."""
    return Jpeg2000.encode_chain(image, [Jpeg2000(ratio) for ratio in reversed(RATIOS)])


def _openjpegs(data: bytes) -> NDArray[Any]:
    return Jpeg2000(1).decode(data).pixels


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sides", SIDES)
def test_every_layer_is_openjpegs_image_of_its_stream(sides: tuple[int, int], bits: int) -> None:
    """From few layers to many, back, and over again: what a receiver of each stream decodes."""
    for image in _images(*sides, bits):
        streams = _chain(image)
        wanted = [_openjpegs(data) for data in streams]
        layered = LayeredDecoder(streams[-1])
        assert layered.n_layers == len(RATIOS)
        for index in (*range(7), *reversed(range(7)), 2, 6, 0, 5):
            found = layered.decode(count_layers(streams[index]))
            assert found.dtype == wanted[index].dtype
            np.testing.assert_array_equal(found, wanted[index])


def test_a_layer_is_decoded_as_its_receiver_does_where_more_bytes_would_say_otherwise() -> None:
    """Layers end inside codewords: samples here depend on what follows, which a receiver has not."""
    for seed in range(4):
        noise = rng_for("cut", seed).integers(0, 2**16, (1024, 512)).astype(np.uint16)
        streams = _chain(Image(noise, 16))
        layered = LayeredDecoder(streams[-1])
        for data in streams:
            np.testing.assert_array_equal(layered.decode(count_layers(data)), _openjpegs(data))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sides", SIDES)
def test_streams_of_their_own_are_decoded_one_from_the_other(sides: tuple[int, int], bits: int) -> None:
    """Encodes of one plane at several rates: the code-blocks of the longer ones go on."""
    for image in _images(*sides, bits):
        streams = sorted({Jpeg2000(ratio).encode(image) for ratio in RATIOS}, key=len)
        wanted = [_openjpegs(data) for data in streams]
        layered, last = LayeredDecoder(*streams), len(streams)
        assert layered.n_layers == last
        for index in (*range(last), *reversed(range(last)), last // 2, 0):
            np.testing.assert_array_equal(layered.decode(index + 1), wanted[index])


def test_streams_of_other_images_are_no_chain() -> None:
    """Another image's stream, one of another size, and an order that is not theirs are refused."""
    image, other = (textured_image(96, 80, rng=rng_for("chain", n)) for n in range(2))
    short, long = (Jpeg2000(ratio).encode(image) for ratio in (20, 5))
    smaller = Jpeg2000(5).encode(textured_image(80, 96, rng=rng_for("chain")))
    assert LayeredDecoder(short, long).n_layers == 2
    for streams in [
        (short, Jpeg2000(4).encode(other)),
        (short, smaller),
        (long, short),
        (_chain(image)[0], _chain(image)[1]),
    ]:
        with pytest.raises(ValueError, match="no streams that are decoded here"):
            LayeredDecoder(*streams)


@pytest.mark.parametrize("ratio", [3, 20, 600])
def test_a_stream_of_its_own_is_decoded_too(ratio: float) -> None:
    """One layer, as an exact study codes it."""
    for image in _images(520, 530, 8):
        data = Jpeg2000(ratio).encode(image)
        np.testing.assert_array_equal(LayeredDecoder(data).decode(1), _openjpegs(data))


def test_what_is_not_of_the_form_is_refused() -> None:
    """Colour, no codestream, no bytes, and layers that are not there."""
    colour = textured_image(64, 64, rng=rng_for("colour"), colour=True)
    streams = [Jpeg2000(10).encode(colour), b"", b"\xff\x4f", b"no codestream at all"]
    for data in streams:
        with pytest.raises(ValueError, match="no streams that are decoded here"):
            LayeredDecoder(data)
    layered = LayeredDecoder(_chain(textured_image(64, 64, rng=rng_for("few")))[0])
    for count in (0, -1, layered.n_layers + 1):
        with pytest.raises(ValueError, match="layers asked for"):
            layered.decode(count)


def test_a_broken_stream_harms_nothing() -> None:
    """Cut anywhere or with any bytes changed, a stream is refused or gives an image of its size."""
    image = textured_image(90, 70, rng=rng_for("broken"))
    data, rng = _chain(image)[-1], rng_for("broken bytes")
    broken = [data[:length] for length in range(0, len(data), 7)]
    for _ in range(3000):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            changed[at] = rng.integers(0, 256)
        broken.append(bytes(changed))
    decoded = 0
    for stream in broken:
        try:
            layered = LayeredDecoder(stream)
        except ValueError:
            continue
        decoded += layered.decode(layered.n_layers).ndim == 2
    assert 0 < decoded < len(broken)


@pytest.mark.parametrize("exact", [False, True])
def test_a_study_codes_the_same_images_without_the_library(
    monkeypatch: pytest.MonkeyPatch, *, exact: bool
) -> None:
    """Shared encodes or one per point: bytes and samples are those of OpenJPEG."""
    image = textured_image(600, 520, rng=rng_for("study"))
    points = [
        Point.parse(text) for text in ("jpeg2000:5x", "jpeg2000:30x", "jpeg2000:200x", "jpeg2000:8x@256")
    ]

    def coded() -> dict[Point, Any]:
        return dict(code_points(image, points, exact=exact))

    quick = coded()
    jpeg2000._loops_agree.cache_clear()
    for module in (layers, encoder):
        monkeypatch.setattr(module, "load", lambda: None)
    try:
        for point, plain in coded().items():
            assert quick[point].coded_bytes == plain.coded_bytes
            assert quick[point].image == plain.image
    finally:
        jpeg2000._loops_agree.cache_clear()


@pytest.mark.parametrize("exact", [False, True])
def test_a_chain_goes_from_the_shortest_stream_to_the_longest(*, exact: bool) -> None:
    """In the order in which nothing is decoded twice."""
    image = textured_image(600, 520, rng=rng_for("order"))
    points = [Point.parse(f"jpeg2000:{ratio}x") for ratio in (5, 100, 20)]
    coded = [coded for _, coded in code_points(image, points, exact=exact)]
    lengths = [each.coded_bytes for each in coded]  # type: ignore[union-attr]
    assert all(first < second for first, second in pairwise(lengths))


def test_a_decoder_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample off in the comparison that each process makes, and OpenJPEG decodes."""
    image = textured_image(96, 80, rng=rng_for("differs"))
    streams, right = _chain(image), LayeredDecoder.decode
    monkeypatch.setattr(LayeredDecoder, "decode", lambda self, n: right(self, n) ^ 1)
    jpeg2000._loops_agree.cache_clear()
    try:
        decode = Jpeg2000.chain_decoder(streams)
        for data in streams:
            np.testing.assert_array_equal(decode(data).pixels, _openjpegs(data))
    finally:
        jpeg2000._loops_agree.cache_clear()
