"""Progress of a running study: finished and failed cases, and the accuracy per point."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from bitdose.results.schema import OK


class StudyProgress:
    """Running counts for display; not a result.

    ``skipped`` counts the cases that an earlier run finished, ``cases`` those of this run.

    Examples
    --------
    >>> tally = StudyProgress()
    >>> row = {"point": "pristine", "codec_chain": "pristine", "status": "ok"}
    >>> tally.add([row | {"case_label": "a", "predicted": "a"}])
    >>> tally.accuracy_by_chain()
    {'pristine': [('pristine', 1.0)]}
    """

    def __init__(self, *, skipped: int = 0) -> None:
        self.skipped = skipped
        self.cases = 0
        self.failed_cases = 0
        self._points: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Count one case's rows."""
        self.cases += 1
        failed = False
        for row in rows:
            if row["status"] != OK:
                failed = True
                continue
            count = self._points[row["codec_chain"], row["point"]]
            count[0] += 1
            count[1] += row["predicted"] == row["case_label"]
        self.failed_cases += failed

    def accuracy_by_chain(self) -> dict[str, list[tuple[str, float]]]:
        """Return (point, accuracy) by chain, in order of first occurrence."""
        chains: dict[str, list[tuple[str, float]]] = {}
        for (chain, point), (n, right) in self._points.items():
            chains.setdefault(chain, []).append((point, right / n))
        return chains
