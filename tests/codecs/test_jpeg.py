"""What JPEG promises."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.jpeg import Jpeg
from bitdose.errors import CaseError
from bitdose.hashing import bytes_digest
from bitdose.image import Image
from bitdose.testing import check_codec

GOLDEN_BUILD = "libjpeg-turbo 3.2.0 (Pillow 13.0.0)"
GOLDEN = {
    (1, ()): "5c9a7f615e4b47a12c1db12225d51b2bdc7a608d496c9db9b9d2fbaac56e2645",
    (30, ()): "b3db6a900e8952baa016b48a954d46cc9982bb363b611d7dc5ba8a8c02553e30",
    (90, ("optimize",)): "732eb039a04a69bb20388140259b4f59d642aec0ad06060b57daffcbfa47b9a2",
    (50, ("progressive",)): "e0ba1025caddbf73cca671882e963837ca3e1aeeb1463dcc31c75ef8972fb3c3",
}


def test_jpeg_keeps_the_contract() -> None:
    """JPEG passes the checks that every codec passes."""
    check_codec(Jpeg)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((), {}),
        (("optimize",), {"optimize": True}),
        (("progressive",), {"progressive": True}),
        (("444",), {"subsampling": "4:4:4"}),
        (("optimize", "420"), {"optimize": True, "subsampling": "4:2:0"}),
    ],
)
@pytest.mark.parametrize("quality", [1, 30, 95])
def test_the_bytes_are_pillows_own(
    colour_texture: Image, quality: int, options: tuple[str, ...], settings: dict[str, Any]
) -> None:
    """A stream is what ``PIL.Image.save`` writes with the same settings, byte for byte."""
    expected = io.BytesIO()
    PillowImage.fromarray(colour_texture.pixels).save(expected, "JPEG", quality=quality, **settings)
    assert Jpeg(quality, "q", options).encode(colour_texture) == expected.getvalue()


@pytest.mark.parametrize(("quality", "options"), GOLDEN)
def test_the_bytes_are_those_of_the_golden_build(
    arithmetic: Image, quality: int, options: tuple[str, ...]
) -> None:
    """The build that made the golden digests makes the same bytes again."""
    if Jpeg.library() != GOLDEN_BUILD:
        pytest.skip(f"golden bytes are of {GOLDEN_BUILD}, here is {Jpeg.library()}")
    data = Jpeg(quality, "q", options).encode(arithmetic)
    assert bytes_digest(data) == GOLDEN[quality, options]


def test_default_tables_stop_at_six_bits_a_block_and_optimised_ones_do_not() -> None:
    """Even an empty grey image stays under 85.3:1 with the default Huffman tables.

    A block of zeros costs 2 bits for the DC difference and 4 for the end of block: 512 bits
    become 6. Tables made for the image cost 2, and the pixels are the same.
    """
    flat = Image(np.full((1024, 1024), 128, np.uint8))
    default, optimised = Jpeg(1), Jpeg(1, "q", ("optimize",))
    streams = default.encode(flat), optimised.encode(flat)
    ratios = [flat.raw_bytes / len(data) for data in streams]
    assert 80 < ratios[0] < 512 / 6
    assert ratios[1] > 200
    assert default.decode(streams[0]) == optimised.decode(streams[1])


@pytest.mark.parametrize("quality", [1, 30, 95])
def test_optimised_and_progressive_streams_hold_the_same_pixels(texture: Image, quality: int) -> None:
    """Both options change the bytes and never the picture."""
    plain = Jpeg(quality)
    for option in ("optimize", "progressive"):
        other = Jpeg(quality, "q", (option,))
        data = other.encode(texture)
        assert data != plain.encode(texture)
        assert other.decode(data) == plain.decode(plain.encode(texture))


def test_progressive_is_written_as_such(texture: Image) -> None:
    """Frames are baseline (SOF0) unless progressive (SOF2) is asked for."""
    assert _frame_header(Jpeg(50).encode(texture))[:2] == b"\xff\xc0"
    assert _frame_header(Jpeg(50, "q", ("progressive",)).encode(texture))[:2] == b"\xff\xc2"


@pytest.mark.parametrize(("options", "sampling"), [((), 0x22), (("420",), 0x22), (("444",), 0x11)])
def test_chroma_is_halved_both_ways_unless_444(
    colour_texture: Image, options: tuple[str, ...], sampling: int
) -> None:
    """The frame header says 2x2 luma samples per chroma sample by default, 1x1 with ``444``."""
    assert _frame_header(Jpeg(75, "q", options).encode(colour_texture))[11] == sampling


def test_full_chroma_costs_bytes_and_keeps_colour(colour_texture: Image) -> None:
    """``444`` gives more bytes and smaller errors than ``420`` on colour."""
    pairs = [Jpeg(90, "q", (option,)) for option in ("444", "420")]
    streams = [codec.encode(colour_texture) for codec in pairs]
    errors = [
        np.abs(codec.decode(data).pixels.astype(int) - colour_texture.pixels).mean()
        for codec, data in zip(pairs, streams, strict=True)
    ]
    assert len(streams[0]) > len(streams[1])
    assert errors[0] < errors[1]


def test_a_side_beyond_the_limit_is_a_case_error() -> None:
    """65,500 samples a side can be coded; one more is refused with status ``codec-limit``."""
    codec = Jpeg(50)
    widest = Image(np.zeros((1, 65_500), np.uint8))
    assert codec.decode(codec.encode(widest)).width == 65_500
    with pytest.raises(CaseError, match="at most 65500") as caught:
        codec.encode(Image(np.zeros((1, 65_501), np.uint8)))
    assert caught.value.status == "codec-limit"


def test_what_was_encoded_is_decoded_whatever_its_size() -> None:
    """Pillow's limit against decompression bombs, global to a process, does not stop a large case."""
    side = 9_500
    assert side**2 > (PillowImage.MAX_IMAGE_PIXELS or 0)
    large = Image(np.zeros((side, side), np.uint8))
    assert Jpeg(10).decode(Jpeg(10).encode(large)).pixels.shape == (side, side)


def _frame_header(data: bytes) -> bytes:
    """Return the frame header, from its marker on."""
    at = 2
    while data[at + 1] not in {0xC0, 0xC1, 0xC2}:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[at:]
