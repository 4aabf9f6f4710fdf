"""Coding one image at many points: downsizing, depth, slices and interpolation around a codec.

What a codec leaves out happens here, once for all codecs and in this order: downsize,
map to the codec's depth, code each slice, decode, map back, interpolate. Each size is
made once, and a chain whose codec can share an encode shares it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bitdose.codecs.base import ChainCodec, Codec
from bitdose.codecs.grid import chains_of
from bitdose.codecs.point import NO_KERNEL, Point, Resize
from bitdose.errors import CaseError
from bitdose.image import Image, rescale_bits, stack
from bitdose.resample import KERNELS, resample

# Below this a layered encode costs up to 0.5 dB (packet headers weigh more on small images)
# and saves little: see benchmarks/layered.py.
_WORTH_SHARING_SAMPLES = 2**18


@dataclass(frozen=True)
class Coded:
    """One image at one point, on its way to the classifier.

    Parameters
    ----------
    point : Point
        Where it was coded.
    image : Image
        Decoded, and interpolated back unless the point says otherwise.
    coded_bytes : int
        Bytes of all slices' streams.
    encode_ms, decode_ms : float
        Wall time of coding (downsizing included; a shared encode divided evenly) and of
        decoding with interpolation.
    mode : str
        ``exact`` or ``layered``; empty for pristine.
    library : str
        The codec's library build.
    mapping : str
        Depth mapping around the codec, such as ``16>8>16 bits``; empty where none.
    """

    point: Point
    image: Image
    coded_bytes: int
    encode_ms: float = 0.0
    decode_ms: float = 0.0
    mode: str = ""
    library: str = ""
    mapping: str = ""


@dataclass(frozen=True)
class Streams:
    """One image's streams at one point, a stream per slice, as they would be sent."""

    data: tuple[bytes, ...]
    encode_ms: float
    mode: str


def code_points(
    image: Image, points: Sequence[Point], *, exact: bool = False, only: Collection[Point] | None = None
) -> Iterator[tuple[Point, Coded | CaseError]]:
    """Code one image at every point but pristine, chain by chain, one decoded image at a time.

    Parameters
    ----------
    image : Image
        The original.
    points : sequence of Point
        Any order; results come chain by chain, in the order given within a chain.
    exact : bool
        One encode per point, even where a chain could share one.
    only : collection of Point, optional
        Of ``points``, those that are wanted; the others are there for the encode that a chain shares.

    Yields
    ------
    tuple of Point and Coded or CaseError
        A point that fails gives its error and the rest go on.
    """
    small: dict[tuple[int, int, str], tuple[list[Image], float]] = {}
    for chain in chains_of(points).values():
        resize = chain[0].resize
        key = (resize.width, resize.height, resize.down) if resize else (0, 0, "")
        if key not in small:
            small[key] = _downsized(image, resize)
        planes, downsize_ms = small[key]
        wanted = [only is None or point in only for point in chain]
        for point, streams in _encode_chain(planes, chain, wanted, exact=exact):
            if isinstance(streams, CaseError):
                yield point, streams
                continue
            try:
                coded = decode_streams(image, point, streams, downsize_ms)
            except CaseError as error:
                yield point, error
            else:
                yield point, coded


def encode_point(image: Image, point: Point) -> Streams:
    """Code one image at one point: what a sender puts on the wire."""
    (_, result), *_ = _encode_chain(_downsized(image, point.resize)[0], [point], [True], exact=True)
    if isinstance(result, CaseError):
        raise result
    return result


def decode_streams(image: Image, point: Point, streams: Streams, downsize_ms: float = 0.0) -> Coded:
    """Decode streams and bring them back to the original's size and depth.

    ``image`` gives only the size, depth and kind to come back to; its pixels are not read.
    """
    codec, resize, started = point.build_codec(), point.resize, time.perf_counter()
    planes = [_to_depth(codec.decode(data), image.bits, codec) for data in streams.data]
    if resize and resize.up != NO_KERNEL:
        planes = [_resized(plane, image.width, image.height, resize.up) for plane in planes]
    return Coded(
        point=point,
        image=stack(planes, volume=image.is_volume),
        coded_bytes=sum(map(len, streams.data)),
        encode_ms=streams.encode_ms + downsize_ms,
        decode_ms=1e3 * (time.perf_counter() - started),
        mode=streams.mode,
        library=codec.library(),
        mapping=depth_mapping(image, codec),
    )


def depth_mapping(image: Image, codec: Codec | type[Codec]) -> str:
    """Say what happens to the depth around a codec; empty where nothing does."""
    coded = _coded_bits(image.bits, codec)
    return "" if image.bits == coded else f"linear {image.bits}>{coded}>{image.bits} bits"


def kernel_names(resize: Resize | None) -> str:
    """Name library and kernel of both ways; empty at full size."""
    if resize is None:
        return ""
    names = [k if k == NO_KERNEL else f"{KERNELS[k].library}:{k}" for k in (resize.down, resize.up)]
    return " > ".join(names)


def _encode_chain(
    planes: list[Image], chain: Sequence[Point], wanted: Sequence[bool], *, exact: bool
) -> Iterator[tuple[Point, Streams | CaseError]]:
    """Code at the wanted points of a chain, as if at all of them."""
    codecs = [point.build_codec() for point in chain]
    kind = type(codecs[0])
    worth = len(chain) > 1 and planes[0].pixels.size >= _WORTH_SHARING_SAMPLES
    if worth and not exact and hasattr(kind, "encode_chain"):
        shared = _encode_shared(planes, chain, codecs, cast("type[ChainCodec]", kind))
        yield from compress(shared, wanted)
        return
    fitted = [_fit_depth(plane, kind) for plane in planes]
    for point, codec in compress(zip(chain, codecs, strict=True), wanted):
        started = time.perf_counter()
        try:
            data = tuple(codec.encode(plane) for plane in fitted)
        except CaseError as error:
            yield point, error
        else:
            yield point, Streams(data, 1e3 * (time.perf_counter() - started), "exact")


def _encode_shared(
    planes: list[Image], chain: Sequence[Point], codecs: list[Codec], kind: type[ChainCodec]
) -> Iterator[tuple[Point, Streams | CaseError]]:
    started = time.perf_counter()
    try:
        layers = [kind.encode_chain(_fit_depth(plane, kind), codecs) for plane in planes]
    except CaseError as error:
        yield from ((point, error) for point in chain)
        return
    share_ms = 1e3 * (time.perf_counter() - started) / len(chain)
    for index, point in enumerate(chain):
        yield point, Streams(tuple(plane[index] for plane in layers), share_ms, "layered")


def _downsized(image: Image, resize: Resize | None) -> tuple[list[Image], float]:
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
    harsh rate leaves nothing but the stream's mid-grey.
    """
    return min(8 if bits <= 8 else 16, codec.max_bits)  # noqa: PLR2004


def _fit_depth(plane: Image, codec: type[Codec]) -> Image:
    return rescale_bits(plane, _coded_bits(plane.bits, codec))


def _to_depth(decoded: Image, bits: int, codec: Codec) -> Image:
    """Bring a decoded plane back to the original's depth; a codec may give fewer bits than it holds."""
    full = Image(decoded.pixels, _coded_bits(bits, codec), decoded.photometric)
    return rescale_bits(full, bits)


def _clipped(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    full = 8 * pixels.dtype.itemsize
    return pixels if bits == full else np.minimum(pixels, (1 << bits) - 1)
