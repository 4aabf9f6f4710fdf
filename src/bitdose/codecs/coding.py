"""Coding one image at many points: what ``coded.py`` does for one, with all that they share done once.

Each size is made once, and a chain whose codec can do what its encodes have in common once does it once.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from bitdose.codecs.base import ChainCodec, ChainDecoder, EachCodec
from bitdose.codecs.coded import (
    LARGE_SAMPLES,
    Coded,
    Streams,
    decode_by,
    decode_streams,
    depth_mapping,
    downsized,
    encode_planes,
    encode_point,
    fit_depth,
)
from bitdose.codecs.grid import chains_of
from bitdose.codecs.point import Point
from bitdose.codecs.resize import kernel_names
from bitdose.errors import CaseError
from bitdose.image import Image

__all__ = [
    "Coded",
    "SharedStreams",
    "Streams",
    "code_points",
    "decode_streams",
    "depth_mapping",
    "encode_point",
    "encode_points",
    "kernel_names",
]

# Below this a layered encode costs up to 0.5 dB (packet headers weigh more on small images)
# and saves little: see benchmarks/layered.py.


class SharedStreams:
    """Streams that were made together for a whole chain of one image, kept for points asked for later.

    Parameters
    ----------
    took : callable, optional
        Called for each cached stream.
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
                coded = decode_by(image, point, streams, chain.downsize_ms, chain.decoders.of(point, streams))
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
            small[key] = downsized(image, resize)
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


_Encode = Callable[[list[Image], Sequence[Point]], Iterator[tuple[Point, Streams | CaseError]]]


def _together(planes: list[Image], chain: Sequence[Point], *, exact: bool) -> _Encode | None:
    """Return what makes all of a chain's streams together; None where nothing is gained."""
    kind = type(chain[0].build_codec())
    if len(chain) == 1:
        return None
    if not exact and planes[0].pixels.size >= LARGE_SAMPLES and hasattr(kind, "encode_chain"):
        return _encode_shared
    return _encode_each if hasattr(kind, "encode_each") else None


def _encode_each(planes: list[Image], chain: Sequence[Point]) -> Iterator[tuple[Point, Streams | CaseError]]:
    """Make the streams that encodes of their own would give; nothing where that takes no less time."""
    codecs = [point.build_codec() for point in chain]
    kind = cast("type[EachCodec]", type(codecs[0]))
    started, by_plane = time.perf_counter(), []
    for plane in planes:
        try:
            streams = kind.encode_each(fit_depth(plane, kind), codecs)
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
    fitted = [fit_depth(plane, type(codecs[0])) for plane in planes]
    for point, codec in zip(chain, codecs, strict=True):
        try:
            streams = encode_planes(fitted, codec)
        except CaseError as error:
            yield point, error
        else:
            yield point, streams


def _encode_shared(
    planes: list[Image], chain: Sequence[Point]
) -> Iterator[tuple[Point, Streams | CaseError]]:
    codecs = [point.build_codec() for point in chain]
    kind = cast("type[ChainCodec]", type(codecs[0]))
    started = time.perf_counter()
    try:
        layers = [kind.encode_chain(fit_depth(plane, kind), codecs) for plane in planes]
    except CaseError as error:
        yield from ((point, error) for point in chain)
        return
    share_ms = 1e3 * (time.perf_counter() - started) / len(chain)
    for index, point in enumerate(chain):
        yield point, Streams(tuple(plane[index] for plane in layers), share_ms, "layered")
