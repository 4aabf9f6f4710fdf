"""What a person sees while a study runs: a bar with ETA, the rate, the accuracy per chain."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitdose.study.tally import Tally

_REFRESH_SECONDS = 0.5


@contextmanager
def study_progress(total: int) -> Iterator[Callable[[Tally], None] | None]:
    """Show progress on stderr if that is a terminal; give the watcher, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("cases"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    task = bar.add_task("cases", total=total, rate="")
    started = time.monotonic()
    console = Console(stderr=True)
    with Live(bar, console=console, refresh_per_second=4, transient=True) as live:
        shown = 0.0

        def watch(tally: Tally) -> None:
            nonlocal shown
            now = time.monotonic()
            rate = f"{tally.cases / max(now - started, 1e-9):.2f}/s"
            bar.update(task, completed=tally.skipped + tally.cases, rate=rate)
            if now - shown > _REFRESH_SECONDS:
                shown = now
                live.update(Group(bar, *chain_lines(tally, console.width)))

        yield watch


def chain_lines(tally: Tally, width: int) -> list[str]:
    """Return one line per chain: the accuracy so far in percent, mildest to strongest.

    Examples
    --------
    >>> from bitdose.study.tally import Tally
    >>> tally = Tally()
    >>> row = {"status": "ok", "case_label": "a", "predicted": "a"}
    >>> tally.add([row | {"codec_chain": "jpeg", "point": f"jpeg:q{q}"} for q in (90, 30)])
    >>> chain_lines(tally, 80)
    ['  accuracy % jpeg            100 100']
    """
    lines = []
    for chain, points in tally.accuracy_by_chain().items():
        values = " ".join(f"{100 * accuracy:3.0f}" for _, accuracy in points)
        lines.append(f"  accuracy % {chain:<15} {values}"[:width])
    if tally.failed_cases:
        lines.append(f"  failed cases: {tally.failed_cases}"[:width])
    return lines
