"""Figures drawn by a second process, while the first goes on counting."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

from bitdose.processes import CONTEXT
from bitdose.report.figures.base import Figure
from bitdose.report.figures.drawing import Drawing, draw

# Takes a figure and returns what gives its drawing when asked.
Renderer = Callable[[Figure], Callable[[], Drawing]]


def here(figure: Figure) -> Callable[[], Drawing]:
    """Draw a figure in this process, once its drawing is asked for."""
    return partial(draw, figure)


@contextmanager
def aside() -> Iterator[Renderer]:
    """Start a process that draws figures in the order given; on a machine with one core, draw them here.

    Whoever asks for the last ones first lets both processes draw. A drawing is the same wherever it was made.
    """
    if (os.cpu_count() or 1) < 2:  # noqa: PLR2004 -- a second core
        yield here
        return
    with ProcessPoolExecutor(1, CONTEXT, _begin) as pool:
        pool.submit(os.getpid)  # starts it: what it needs is loaded when the first figure comes
        # A thread hands one figure after the other over, so that those it has not come to can be taken back.
        hand = ThreadPoolExecutor(1)
        try:
            yield lambda figure: partial(_drawing, hand.submit(_there, pool, figure), figure)
        finally:
            hand.shutdown(cancel_futures=True)


def _begin() -> None:
    """Load what drawing needs; Ctrl-C is the first process's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import matplotlib.figure  # noqa: F401 -- takes as long to load as some figures to draw


def _there(pool: ProcessPoolExecutor, figure: Figure) -> Drawing | None:
    """Have a figure drawn by the process; None where that has died."""
    try:
        return pool.submit(draw, figure).result()
    except BrokenProcessPool:
        return None


def _drawing(pending: Future[Drawing | None], figure: Figure) -> Drawing:
    """Return what the process has drawn; what it has not begun, or died of, is drawn here."""
    return draw(figure) if pending.cancel() else pending.result() or draw(figure)
