"""Coding one image at many points: downsizing, depth, slices and interpolation around a codec.

What a codec leaves out happens here, once for all codecs and in this order: downsize,
map to the codec's depth, code each slice, decode, map back, interpolate. Each size is
made once, and a chain whose codec can do what its encodes have in common once does it once.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from bitdose.codecs.base import ChainCodec, ChainDecoder, Codec, EachCodec
from bitdose.codecs.grid import chains_of
from bitdose.codecs.point import NO_KERNEL, Point, Resize
from bitdose.errors import CaseError
from bitdose.image import Image, rescale_bits, stack
from bitdose.resample.kernels import KERNELS, resample

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
        Wall time of coding (downsizing included; what encodes share divided evenly) and of
        decoding with interpolation (where decoding is shared, of what it adds to the stream before).
    mode : str
        ``exact``, the stream of an encode of its own, or ``layered``, part of a chain's one encode; empty
        for pristine.
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


class SharedStreams:
    """Streams that were made together for a whole chain of one image, kept for points asked for later.

    Parameters
    ----------
    took : callable, optional
        Told of every streams that are kept.
    """

    def __init__(self, took: Callable[[Streams], None] | None = None) -> None:
        self._by_chain: dict[str, dict[Point, Streams | CaseError]] = {}
        self._took = took

    def of(
        self, name: str, encode: Callable[[], Iterable[tuple[Point, Streams | CaseError]]]
    ) -> Mapping[Point, Streams | CaseError]:
        """Return a chain's streams, which ``encode`` makes the first time."""
        if name not in self._by_chain:
            self._by_chain[name] = dict(encode())
            for streams in self._by_chain[name].values():
                if self._took and isinstance(streams, Streams):
                    self._took(streams)
        return self._by_chain[name]


def code_points(
    image: Image,
    points: Sequence[Point],
    *,
    exact: bool = True,
    grid: Sequence[Point] = (),
    shared: SharedStreams | None = None,
) -> Iterator[tuple[Point, Coded | CaseError]]:
    """Code one image at every point but pristine, chain by chain, one decoded image at a time.

    Parameters
    ----------
    image : Image
        The original.
    points : sequence of Point
        Any order; results come chain by chain, within a chain in the order given or, where the chain's
        streams are made together, from the shortest stream to the longest.
    exact : bool
        The bytes of an encode per point, also where a chain could share one with slightly others.
    grid : sequence of Point, optional
        All points of the study where ``points`` are some of them: a chain's streams are made together for
        all of its points, so that a point's bytes do not depend on what else is asked for.
    shared : SharedStreams, optional
        Where this image's streams that were made together are kept between calls.

    Yields
    ------
    tuple of Point and Coded or CaseError
        A point that fails gives its error and the rest go on.
    """
    for chain in _coded_chains(image, points, exact=exact, grid=grid, shared=shared):
        for point, streams in chain.streams:
            if isinstance(streams, CaseError):
                yield point, streams
                continue
            try:
                coded = _decode(image, point, streams, chain.downsize_ms, chain.decoders.of(point, streams))
            except CaseError as error:
                yield point, error
            else:
                yield point, coded


def encode_points(
    image: Image, points: Sequence[Point], *, exact: bool = True
) -> Iterator[tuple[Point, Streams | CaseError]]:
    """Code one image at every point but pristine: the streams that :func:`code_points` decodes."""
    for chain in _coded_chains(image, points, exact=exact, grid=(), shared=None):
        yield from chain.streams


def encode_point(image: Image, point: Point) -> Streams:
    """Code one image at one point: what a sender puts on the wire.

    A large plane takes the codec's ``encode_each`` where it has one: the same bytes in less memory.
    """
    planes, _ = _downsized(image, point.resize)
    encoded: list[tuple[Point, Streams | CaseError]] = []
    if planes[0].pixels.size >= _WORTH_SHARING_SAMPLES and hasattr(point.build_codec(), "encode_each"):
        encoded = list(_encode_each(planes, [point]))
    ((_, result),) = encoded or _encode_alone(planes, [point])
    if isinstance(result, CaseError):
        raise result
    return result


def decode_streams(image: Image, point: Point, streams: Streams, downsize_ms: float = 0.0) -> Coded:
    """Decode streams and bring them back to the original's size and depth.

    ``image`` gives only the size, depth and kind to come back to; its pixels are not read.
    """
    return _decode(image, point, streams, downsize_ms, point.build_codec().decode)


def _decode(
    image: Image, point: Point, streams: Streams, downsize_ms: float, decode: Callable[[bytes], Image]
) -> Coded:
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
    )


class _CodedChain(NamedTuple):
    """A chain's streams, how they are decoded, and what downsizing took for all of them."""

    streams: Iterable[tuple[Point, Streams | CaseError]]
    decoders: _Decoders
    downsize_ms: float


def _coded_chains(
    image: Image, points: Sequence[Point], *, exact: bool, grid: Sequence[Point], shared: SharedStreams | None
) -> Iterator[_CodedChain]:
    small: dict[tuple[int, int, str], tuple[list[Image], float]] = {}
    whole, shared = chains_of(grid or points), shared or SharedStreams()
    for name, chain in chains_of(points).items():
        resize = chain[0].resize
        key = (resize.width, resize.height, resize.down) if resize else (0, 0, "")
        if key not in small:
            small[key] = _downsized(image, resize)
        planes, downsize_ms = small[key]
        streams: Iterable[tuple[Point, Streams | CaseError]] = _encode_alone(planes, chain)
        decoders = _Decoders(planes)
        if together := _together(planes, whole[name], exact=exact):
            made = shared.of(name, functools.partial(together, planes, whole[name]))
            if made:
                streams = decoders.share([(point, made[point]) for point in chain])
        yield _CodedChain(streams, decoders, downsize_ms)


class _Decoders:
    """How one image's streams of one chain are decoded: by a codec's quicker way where it has one.

    Parameters
    ----------
    planes : list of Image
        What was coded. Of many slices each would need a decoder of its own, and all their memory at once:
        they are decoded one by one.
    """

    def __init__(self, planes: list[Image]) -> None:
        self._worth = len(planes) == 1
        self._shared: Callable[[bytes], Image] | None = None

    def share(
        self, encoded: list[tuple[Point, Streams | CaseError]]
    ) -> list[tuple[Point, Streams | CaseError]]:
        """Decode all streams that were made together with one decoder; return them in its order."""
        streams = [result for _, result in encoded if isinstance(result, Streams)]
        kind = type(encoded[0][0].build_codec())
        if self._worth and streams and hasattr(kind, "chain_decoder"):
            decoder = cast("type[ChainDecoder]", kind)
            self._shared = decoder.chain_decoder([data for result in streams for data in result.data])
        return sorted(encoded, key=lambda pair: sum(map(len, getattr(pair[1], "data", ()))))

    def of(self, point: Point, streams: Streams) -> Callable[[bytes], Image]:
        """Return what decodes a point's streams."""
        codec = point.build_codec()
        if self._shared is None and self._worth and hasattr(codec, "chain_decoder"):
            return cast("ChainDecoder", codec).chain_decoder(streams.data)
        return self._shared or codec.decode


@cache
def _library(codec: type[Codec]) -> str:
    return codec.library()


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


_Encode = Callable[[list[Image], Sequence[Point]], Iterator[tuple[Point, Streams | CaseError]]]


def _together(planes: list[Image], chain: Sequence[Point], *, exact: bool) -> _Encode | None:
    """Return what makes all of a chain's streams together; None where nothing is gained."""
    kind = type(chain[0].build_codec())
    if len(chain) == 1:
        return None
    if not exact and planes[0].pixels.size >= _WORTH_SHARING_SAMPLES and hasattr(kind, "encode_chain"):
        return _encode_shared
    return _encode_each if hasattr(kind, "encode_each") else None


def _encode_each(planes: list[Image], chain: Sequence[Point]) -> Iterator[tuple[Point, Streams | CaseError]]:
    """Make the streams that encodes of their own would give; nothing where that takes no less time."""
    codecs = [point.build_codec() for point in chain]
    kind = cast("type[EachCodec]", type(codecs[0]))
    started, by_plane = time.perf_counter(), []
    for plane in planes:
        try:
            streams = kind.encode_each(_fit_depth(plane, kind), codecs)
        except CaseError:  # of some point: alone each says which
            return
        if streams is None:
            return
        by_plane.append(streams)
    share_ms = 1e3 * (time.perf_counter() - started) / len(chain)
    for point, *data in zip(chain, *by_plane, strict=True):
        yield point, Streams(tuple(data), share_ms, "exact")


def _encode_alone(planes: list[Image], chain: Sequence[Point]) -> Iterator[tuple[Point, Streams | CaseError]]:
    codecs = [point.build_codec() for point in chain]
    fitted = [_fit_depth(plane, type(codecs[0])) for plane in planes]
    for point, codec in zip(chain, codecs, strict=True):
        started = time.perf_counter()
        try:
            data = tuple(codec.encode(plane) for plane in fitted)
        except CaseError as error:
            yield point, error
        else:
            yield point, Streams(data, 1e3 * (time.perf_counter() - started), "exact")


def _encode_shared(
    planes: list[Image], chain: Sequence[Point]
) -> Iterator[tuple[Point, Streams | CaseError]]:
    codecs = [point.build_codec() for point in chain]
    kind = cast("type[ChainCodec]", type(codecs[0]))
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
