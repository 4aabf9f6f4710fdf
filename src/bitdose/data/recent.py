"""Sources read a moment ago, within a bound on memory: for work that comes back to the same cases."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from bitdose.data.base import Color, Source
from bitdose.data.read import read_source


class RecentSources:
    """Reads sources, and keeps the pixels of the last ones.

    Parameters
    ----------
    budget_bytes : int
        Raw bytes of pixels that are kept at most; 0 keeps none.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._room = budget_bytes
        self._kept: OrderedDict[tuple[Path, Color], Source] = OrderedDict()

    def read(self, path: Path, *, color: Color = "keep") -> Source:
        """Read a file as :func:`~bitdose.data.read.read_source` does, or give what it gave before."""
        key = (path, color)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        source = read_source(path, color=color)
        self._kept[key] = source
        self._room -= source.image.raw_bytes
        while self._room < 0 and self._kept:
            _, oldest = self._kept.popitem(last=False)
            self._room += oldest.image.raw_bytes
        return source
