"""Cut a layered JPEG 2000 codestream at the end of a quality layer.

One encode with a quality layer per rate holds every rate of a chain: the stream of rate
*k* is its first *k* layers. ``first_layers`` writes them as a codestream of its own (fewer
layers in COD, a shorter tile-part, no packet lengths), which any decoder reads.

It relies on what our encoder writes: one tile, one tile-part, progression LRCP, packet
lengths in PLT segments (ISO/IEC 15444-1 annex A).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SOC = b"\xff\x4f"
_COD = 0xFF52
_SOT = 0xFF90
_PLT = 0xFF58
_SOD = 0xFF93
_EOC = b"\xff\xd9"
_LRCP = 0
_SOT_SEGMENT_BYTES = 12
_LAYERS_AT = 6  # in COD, its marker included


@dataclass(frozen=True)
class LayeredStream:
    """A parsed codestream: its header, where its layers are counted, and its packets by layer.

    Parameters
    ----------
    header : bytes
        Everything before the first tile-part, SOC included.
    layers_at : int
        Offset in ``header`` of COD's 16-bit count of layers.
    packets : bytes
        The packets of the only tile-part.
    layer_ends : tuple of int
        Offset in ``packets`` where each layer ends.
    """

    header: bytes
    layers_at: int
    packets: bytes
    layer_ends: tuple[int, ...]

    def first_layers(self, count: int) -> bytes:
        """Return a codestream of the first ``count`` layers."""
        header = bytearray(self.header)
        struct.pack_into(">H", header, self.layers_at, count)
        body = self.packets[: self.layer_ends[count - 1]]
        tile_part_bytes = _SOT_SEGMENT_BYTES + 2 + len(body)
        start = struct.pack(">HHHIBB", _SOT, 10, 0, tile_part_bytes, 0, 1)
        return bytes(header) + start + struct.pack(">H", _SOD) + body + _EOC


def parse_layers(data: bytes) -> LayeredStream:
    """Parse a layered codestream.

    Raises
    ------
    ValueError
        If the stream is not of the form described at the top of this file.
    """
    try:
        return _parse(data)
    except struct.error as error:
        raise ValueError(f"codestream ends inside a segment: {error}") from error


def count_layers(data: bytes) -> int:
    """Return how many quality layers a codestream says it has.

    Raises
    ------
    ValueError
        If its header is broken.
    """
    try:
        cod, _ = _coding_style(data)
        (n_layers,) = struct.unpack_from(">H", data, cod + _LAYERS_AT)
    except struct.error as error:
        raise ValueError(f"codestream ends inside a segment: {error}") from error
    return int(n_layers)


def _parse(data: bytes) -> LayeredStream:
    if data[:2] != _SOC:
        raise ValueError("no JPEG 2000 codestream")
    cod, at = _coding_style(data)
    layers_at = cod + _LAYERS_AT
    (n_layers,) = struct.unpack_from(">H", data, layers_at)
    tile_bytes = struct.unpack_from(">I", data, at + 6)[0] or len(data) - len(_EOC) - at
    parts, sod = _segments(data, at, _SOD)
    lengths = [n for marker, offset in parts if marker == _PLT for n in _packet_lengths(data, offset)]
    packets = data[sod + 2 : at + tile_bytes]
    if data[at + tile_bytes :] != _EOC:
        raise ValueError("expected one tile-part, then the end of the codestream")
    if not lengths or not n_layers or len(lengths) % n_layers or sum(lengths) != len(packets):
        raise ValueError("packet lengths do not add up to one tile-part of whole layers")
    per_layer = len(lengths) // n_layers
    ends = tuple(sum(lengths[: (layer + 1) * per_layer]) for layer in range(n_layers))
    return LayeredStream(data[:at], layers_at, packets, ends)


def _coding_style(data: bytes) -> tuple[int, int]:
    """Return where COD stands, and where the main header ends."""
    main, end = _segments(data, 2, _SOT)
    cods = [offset for marker, offset in main if marker == _COD]
    if len(cods) != 1 or data[cods[0] + 5] != _LRCP:
        raise ValueError("expected one COD segment with progression LRCP")
    return cods[0], end


def _segments(data: bytes, at: int, stop: int) -> tuple[list[tuple[int, int]], int]:
    """List (marker, offset) from ``at`` up to the marker ``stop``, and where that stands."""
    found: list[tuple[int, int]] = []
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == stop:
            return found, at
        found.append((marker, at))
        at += 2 + length
    raise ValueError(f"marker {stop:04x} not found")


def _packet_lengths(data: bytes, offset: int) -> list[int]:
    """Read a PLT segment: lengths in groups of 7 bits, the top bit says that more follows."""
    (length,) = struct.unpack_from(">H", data, offset + 2)
    lengths, value = [], 0
    for byte in data[offset + 5 : offset + 2 + length]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            lengths.append(value)
            value = 0
    return lengths
