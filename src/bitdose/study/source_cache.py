"""Cache for repeated tasks on the same cases: sources, and encodes that points share."""

from __future__ import annotations

from pathlib import Path

from bitdose.codecs.coding import SharedStreams, Streams
from bitdose.data.base import Case, Color, Source
from bitdose.data.read import read_case


class SourceCache:
    """Cache of the first sources and their shared encodes, up to a size.

    The first entries stay: a race measures the first cases of its order most often, and a cyclic scan over
    more cases than fit would never hit an LRU cache.

    Parameters
    ----------
    budget_bytes : int
        Limit of cached pixel and stream bytes; 0 disables the cache. The streams of one case may exceed it.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._room = budget_bytes
        self._sources: dict[tuple[Path | str, Color], Source] = {}
        self._streams: dict[tuple[Path | str, Color], SharedStreams] = {}

    def read(self, case: Case, *, color: Color = "keep") -> Source:
        """Read a case like :func:`~bitdose.data.read.read_case`, or return the cached source."""
        key = (_place(case), color)
        if key in self._sources:
            return self._sources[key]
        source = read_case(case, color=color)
        if source.image.raw_bytes <= self._room:
            self._room -= source.image.raw_bytes
            self._sources[key], self._streams[key] = source, SharedStreams(self._took)
        return source

    def streams(self, case: Case, *, color: Color = "keep") -> SharedStreams | None:
        """Return the cache of a source's shared encodes; None if the source is not cached."""
        return self._streams.get((_place(case), color))

    def _took(self, streams: Streams) -> None:
        self._room -= sum(map(len, streams.data))


def _place(case: Case) -> Path | str:
    """Name where a case's pixels come from: its file, or the array's digest."""
    return case.pixels.digest if case.pixels else case.path
