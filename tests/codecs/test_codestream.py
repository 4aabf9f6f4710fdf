"""What cutting a layered codestream promises."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.codestream import _packet_lengths, parse_layers
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.hashing import rng_for
from bitdose.image import Image
from bitdose.testing import textured_image

LAYERS = [80, 20, 5]


def _save(image: Image, **settings: object) -> bytes:
    out = io.BytesIO()
    PillowImage.fromarray(image.pixels).save(out, "JPEG2000", irreversible=True, no_jp2=True, **settings)
    return out.getvalue()


@pytest.fixture(scope="module")
def layered() -> bytes:
    """Give a codestream of three layers with packet lengths."""
    image = textured_image(192, 256, rng=rng_for("codestream"))
    return _save(image, quality_mode="rates", quality_layers=LAYERS, plt=True)


def test_every_layer_has_an_end_and_the_last_is_the_end(layered: bytes) -> None:
    """Layers lie one behind the other and fill the tile-part."""
    stream = parse_layers(layered)
    assert len(stream.layer_ends) == len(LAYERS)
    assert list(stream.layer_ends) == sorted(set(stream.layer_ends))
    assert stream.layer_ends[-1] == len(stream.packets)


def test_all_layers_give_the_same_picture_as_the_whole(layered: bytes) -> None:
    """Rewriting the codestream without packet lengths loses nothing but them."""
    whole = parse_layers(layered).first_layers(len(LAYERS))
    assert len(whole) < len(layered)
    assert Jpeg2000(1).decode(whole) == Jpeg2000(1).decode(layered)


def test_first_layers_writes_a_codestream_that_parses_as_one(layered: bytes) -> None:
    """COD counts the layers kept, the tile-part's length fits, and the stream ends with EOC."""
    stream = parse_layers(layered)
    for count, end in enumerate(stream.layer_ends, start=1):
        data = stream.first_layers(count)
        assert struct.unpack_from(">H", data, stream.layers_at) == (count,)
        start = len(stream.header)
        assert data[start : start + 2] == b"\xff\x90"
        assert start + struct.unpack_from(">I", data, start + 6)[0] == len(data) - 2
        assert data[-2:] == b"\xff\xd9"
        assert len(data) == start + 14 + end + 2
        assert Jpeg2000(1).decode(data).pixels.shape == (192, 256)


def test_packet_lengths_are_read_in_groups_of_seven_bits() -> None:
    """127 takes one byte, 128 two, 16,384 three; the top bit says that more follows."""
    body = bytes([0x7F, 0x81, 0x00, 0x81, 0x80, 0x00, 0x00])
    segment = struct.pack(">HHB", 0xFF58, 3 + len(body), 0) + body
    assert _packet_lengths(segment, 0) == [127, 128, 16_384, 0]


def test_a_long_list_of_packet_lengths_spans_segments() -> None:
    """More packets than one PLT segment holds are read on from the next."""
    image = Image(np.zeros((8, 8), np.uint8))
    header, body = _one_tile(_save(image, quality_mode="rates", quality_layers=[1.0], plt=True))
    halves = [struct.pack(">HHBB", 0xFF58, 4, index, length) for index, length in enumerate(body)]
    rebuilt = _with_tile(header, b"".join(halves), bytes(sum(body)))
    assert parse_layers(rebuilt).layer_ends == (sum(body),)


def test_every_truncation_is_a_value_error(layered: bytes) -> None:
    """Wherever a codestream breaks off, the parser says so and nothing else."""
    first_packets = layered.index(b"\xff\x93") + 64
    for length in range(first_packets):
        with pytest.raises(ValueError, match=r"codestream|marker|COD|packet|tile-part"):
            parse_layers(layered[:length])


def test_no_damage_to_the_headers_escapes_as_another_error(layered: bytes) -> None:
    """A parser of other people's bytes gives layers or a ``ValueError``, whatever byte is wrong."""
    rng = np.random.default_rng(3)
    headers = layered.index(b"\xff\x93")
    refused = 0
    for _ in range(3_000):
        damaged = bytearray(layered)
        damaged[rng.integers(headers)] = rng.integers(256)
        try:
            parse_layers(bytes(damaged))
        except ValueError:
            refused += 1
    assert refused > 300


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quality_mode": "rates", "quality_layers": [20, 5]}, "packet lengths"),
        ({"quality_mode": "rates", "quality_layers": [20, 5], "plt": True, "progression": "RLCP"}, "LRCP"),
        (
            {"quality_mode": "rates", "quality_layers": [5], "plt": True, "tile_size": (64, 64)},
            "one tile-part",
        ),
    ],
)
def test_a_codestream_of_another_form_is_refused(settings: dict[str, object], says: str) -> None:
    """No packet lengths, another progression, several tiles: said, not guessed."""
    image = textured_image(128, 128, rng=rng_for("other form"))
    with pytest.raises(ValueError, match=says):
        parse_layers(_save(image, **settings))


def _one_tile(data: bytes) -> tuple[bytes, list[int]]:
    """Return the main header and the packet lengths."""
    stream = parse_layers(data)
    return stream.header, _packet_lengths(data, data.index(b"\xff\x58"))


def _with_tile(header: bytes, segments: bytes, packets: bytes) -> bytes:
    """Put a tile-part behind a main header."""
    length = 12 + len(segments) + 2 + len(packets)
    start = struct.pack(">HHHIBB", 0xFF90, 10, 0, length, 0, 1)
    return header + start + segments + b"\xff\x93" + packets + b"\xff\xd9"
