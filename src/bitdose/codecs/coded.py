"""One image at one point: downsize, map to the codec's depth, code each slice, decode, map back, interpolate.

What a codec leaves out happens here, once for all codecs. ``coding.py`` does it for many points at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitdose.codecs.base import Codec, EachCodec
from bitdose.codecs.coded_page import html_of
from bitdose.codecs.resize import NO_KERNEL, Resize
from bitdose.errors import CaseError, UsageError
from bitdose.image import Image, rescale_bits, stack
from bitdose.resample.kernels import resample

LARGE_SAMPLES = 2**18  # from here on a shared encode is worth its bookkeeping


class CodingPoint(Protocol):
    """What coding asks of a point."""

    @property
    def is_pristine(self) -> bool:
        """Whether there is nothing to code."""

    @property
    def resize(self) -> Resize | None:
        """Downsizing before coding; None codes at full size."""

    def build_codec(self) -> Codec:
        """Make the codec."""
        ...


@dataclass(frozen=True)
class Coded:
    """One image at one point, on its way to the classifier.

    Parameters
    ----------
    point : Point
        Where it was coded.
    image : Image
        What a classifier is given: decoded, and interpolated back unless the point says otherwise.
    coded_bytes : int
        Bytes of all slices' streams; also ``n_bytes``.
    encode_ms, decode_ms : float
        Wall time of coding (downsizing included; what encodes share divided evenly) and of
        decoding with interpolation (where decoding is shared, of what it adds to the stream before).
    mode : str
        ``exact``, the stream of an encode of its own, or ``layered``, part of a chain's one encode; empty
        for pristine.
    library : str
        The codec's library build.
    mapping : str
        Depth mapping around the codec, such as ``16>8>16 bits``; empty where none.
    raw_bytes : int
        Bytes of the original's pixels; 0 where that is not known.
    streams : tuple of bytes
        A stream for each slice, as :meth:`Point.apply` keeps them; a study leaves them out.
    original : Image or None
        What was coded, as :meth:`Point.apply` keeps it; a study leaves it out.
    """

    point: CodingPoint
    image: Image
    coded_bytes: int
    encode_ms: float = 0.0
    decode_ms: float = 0.0
    mode: str = ""
    library: str = ""
    mapping: str = ""
    raw_bytes: int = 0
    streams: tuple[bytes, ...] = field(default=(), repr=False)
    original: Image | None = field(default=None, repr=False)

    @property
    def n_bytes(self) -> int:
        """Bytes of all slices' streams: what is sent."""
        return self.coded_bytes

    @property
    def ratio_pixels(self) -> float:
        """Bytes of the original's pixels over bytes of the streams; NaN where the original is not known."""
        return self.raw_bytes / self.coded_bytes if self.raw_bytes else float("nan")

    @property
    def stream(self) -> bytes:
        """The stream of an image that is no volume.

        Raises
        ------
        UsageError
            If there is not exactly one: pristine has none, a volume one for each slice.
        """
        if len(self.streams) != 1:
            raise UsageError(f"stream: expected one, {self.point} has {len(self.streams)}; take 'streams'")
        return self.streams[0]

    def _repr_html_(self) -> str:
        """Show the image beside its original, with the figures, in a notebook."""
        return html_of(
            str(self.point), self.original, self.image, n_bytes=self.n_bytes, ratio=self.ratio_pixels
        )


@dataclass(frozen=True)
class Streams:
    """One image's streams at one point, a stream per slice, as they would be sent."""

    data: tuple[bytes, ...]
    encode_ms: float
    mode: str


def code_image(image: Image, point: CodingPoint) -> Coded:
    """Code one image at one point and decode it again: what :meth:`Point.apply` does.

    Raises
    ------
    CaseError
        If it is beyond the codec.
    """
    if point.is_pristine:
        size = image.raw_bytes
        return Coded(point, image, size, raw_bytes=size, original=image)
    planes, downsize_ms = downsized(image, point.resize)
    streams = encode_planes([fit_depth(plane, point.build_codec()) for plane in planes], point.build_codec())
    coded = decode_streams(image, point, streams, downsize_ms)
    return replace(coded, streams=streams.data, original=image)


def encode_point(image: Image, point: CodingPoint) -> Streams:
    """Code one image at one point: what a sender puts on the wire.

    A large plane takes the codec's ``encode_each`` where it has one: the same bytes in less memory.
    """
    codec = point.build_codec()
    planes = [fit_depth(plane, codec) for plane in downsized(image, point.resize)[0]]
    if planes[0].pixels.size >= LARGE_SAMPLES and isinstance(codec, EachCodec):
        started = time.perf_counter()
        with contextlib.suppress(CaseError):  # its own encode says what is wrong
            made = [type(codec).encode_each(plane, [codec]) for plane in planes]
            streams = tuple(stream for each in made if each for stream in each)
            if len(streams) == len(planes):
                return Streams(streams, 1e3 * (time.perf_counter() - started), "exact")
    return encode_planes(planes, codec)


def encode_planes(planes: Sequence[Image], codec: Codec) -> Streams:
    """Code slices that are downsized and of the codec's depth, each by itself."""
    started = time.perf_counter()
    data = tuple(codec.encode(plane) for plane in planes)
    return Streams(data, 1e3 * (time.perf_counter() - started), "exact")


def decode_streams(image: Image, point: CodingPoint, streams: Streams, downsize_ms: float = 0.0) -> Coded:
    """Decode streams and bring them back to the original's size and depth.

    ``image`` gives only the size, depth and kind to come back to; its pixels are not read.
    """
    return decode_by(image, point, streams, downsize_ms, point.build_codec().decode)


def decode_by(
    image: Image, point: CodingPoint, streams: Streams, downsize_ms: float, decode: Callable[[bytes], Image]
) -> Coded:
    """Do what :func:`decode_streams` does with another way to decode one stream."""
    codec, resize, started = point.build_codec(), point.resize, time.perf_counter()
    planes = [_to_depth(decode(data), image.bits, codec) for data in streams.data]
    if resize and resize.up != NO_KERNEL:
        planes = [_resized(plane, image.width, image.height, resize.up) for plane in planes]
    return Coded(
        point=point,
        image=stack(planes, volume=image.is_volume),
        coded_bytes=sum(map(len, streams.data)),
        encode_ms=streams.encode_ms + downsize_ms,
        decode_ms=1e3 * (time.perf_counter() - started),
        mode=streams.mode,
        library=_library(type(codec)),
        mapping=depth_mapping(image, codec),
        raw_bytes=image.raw_bytes,
    )


@cache
def _library(codec: type[Codec]) -> str:
    return codec.library()


def depth_mapping(image: Image, codec: Codec | type[Codec]) -> str:
    """Say what happens to the depth around a codec; empty where nothing does."""
    coded = _coded_bits(image.bits, codec)
    return "" if image.bits == coded else f"linear {image.bits}>{coded}>{image.bits} bits"


def downsized(image: Image, resize: Resize | None) -> tuple[list[Image], float]:
    """Return an image's slices, downsized, and the milliseconds that it took."""
    started = time.perf_counter()
    planes = image.slices()
    if resize:
        planes = [_resized(plane, resize.width, resize.height, resize.down) for plane in planes]
    return planes, 1e3 * (time.perf_counter() - started)


def _resized(plane: Image, width: int, height: int, kernel: str) -> Image:
    return plane.with_pixels(_clipped(resample(plane.pixels, width, height, kernel=kernel), plane.bits))


def _coded_bits(bits: int, codec: Codec | type[Codec]) -> int:
    """Return the depth a codec sees: all of the samples' container, if it holds that much.

    Twelve bits in the low end of a 16-bit stream would lose precision, and turn white where a
    strong rate leaves nothing but the stream's mid-grey.
    """
    return min(8 if bits <= 8 else 16, codec.max_bits)  # noqa: PLR2004


def fit_depth(plane: Image, codec: Codec | type[Codec]) -> Image:
    """Map a slice to the depth that a codec sees."""
    return rescale_bits(plane, _coded_bits(plane.bits, codec))


def _to_depth(decoded: Image, bits: int, codec: Codec) -> Image:
    """Bring a decoded plane back to the original's depth; a codec may give fewer bits than it holds."""
    full = Image(decoded.pixels, _coded_bits(bits, codec), decoded.photometric)
    return rescale_bits(full, bits)


def _clipped(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    full = 8 * pixels.dtype.itemsize
    return pixels if bits == full else np.minimum(pixels, (1 << bits) - 1)
