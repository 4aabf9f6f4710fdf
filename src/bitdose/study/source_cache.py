"""What a pool keeps for tasks that come back to the same cases: sources, and encodes that points share."""

from __future__ import annotations

from pathlib import Path

from bitdose.codecs.coding import SharedStreams, Streams
from bitdose.data.base import Case, Color, Source
from bitdose.data.read import read_case


class SourceCache:
    """Keeps the sources that came first, and their shared encodes, while there is room.

    What came first stays: a race looks at the first cases of its order most often, and work that goes
    round and round over more than there is room for would find nothing in what came last.

    Parameters
    ----------
    budget_bytes : int
        Raw bytes of pixels and bytes of streams that are kept at most; 0 keeps nothing. One case's
        streams may go beyond it.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._room = budget_bytes
        self._sources: dict[tuple[Path | str, Color], Source] = {}
        self._streams: dict[tuple[Path | str, Color], SharedStreams] = {}

    def read(self, case: Case, *, color: Color = "keep") -> Source:
        """Read a case as :func:`~bitdose.data.read.read_case` does, or give what it gave before."""
        key = (_place(case), color)
        if key in self._sources:
            return self._sources[key]
        source = read_case(case, color=color)
        if source.image.raw_bytes <= self._room:
            self._room -= source.image.raw_bytes
            self._sources[key], self._streams[key] = source, SharedStreams(self._took)
        return source

    def streams(self, case: Case, *, color: Color = "keep") -> SharedStreams | None:
        """Return where shared encodes of a source are kept; None if it is not kept."""
        return self._streams.get((_place(case), color))

    def _took(self, streams: Streams) -> None:
        self._room -= sum(map(len, streams.data))


def _place(case: Case) -> Path | str:
    """Name where a case's pixels come from: its file, or the array's digest."""
    return case.pixels.digest if case.pixels else case.path
