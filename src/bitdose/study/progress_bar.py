"""What a person sees while a study runs: a bar with ETA, and the accuracy so far.

On a terminal it is drawn with rich on stderr, in a notebook it is an HTML element below the cell, and
elsewhere (a file, a pipe, a job's log) nothing is shown.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from bitdose.study.progress import StudyProgress

Watcher = Callable[[StudyProgress], None]

_REFRESH_SECONDS = 0.5
_NOTEBOOK = "ZMQInteractiveShell"
_NOTEBOOK_WIDTH = 100


def watching(total: int, *, progress: bool | Watcher) -> AbstractContextManager[Watcher | None]:
    """Return the context that gives what a study calls after every case, or None.

    Parameters
    ----------
    total : int
        Cases of the study.
    progress : bool or callable
        True shows progress where somebody can see it; a callable is called with the
        :class:`~bitdose.study.progress.StudyProgress` instead; False is silent.

    Examples
    --------
    >>> with watching(3, progress=False) as watch:
    ...     print(watch)
    None
    """
    if not isinstance(progress, bool):
        return nullcontext(progress)
    return study_progress(total) if progress else nullcontext()


def study_progress(total: int) -> AbstractContextManager[Watcher | None]:
    """Show progress in a notebook or on a terminal; give the watcher, or None where there is neither."""
    if _in_notebook():
        return _in_html(total)
    return _on_terminal(total) if sys.stderr.isatty() else nullcontext()


def chain_lines(tally: StudyProgress, width: int) -> list[str]:
    """Return one line per chain: the accuracy so far in percent, weakest to strongest.

    Examples
    --------
    >>> tally = StudyProgress()
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


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel; IPython is looked at only where it runs already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == _NOTEBOOK


@contextmanager
def _on_terminal(total: int) -> Iterator[Watcher]:
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

        def watch(tally: StudyProgress) -> None:
            nonlocal shown
            now = time.monotonic()
            rate = f"{tally.cases / max(now - started, 1e-9):.2f}/s"
            bar.update(task, completed=tally.skipped + tally.cases, rate=rate)
            if now - shown > _REFRESH_SECONDS:
                shown = now
                live.update(Group(bar, *chain_lines(tally, console.width)))

        yield watch


@contextmanager
def _in_html(total: int) -> Iterator[Watcher]:
    """Show progress below a notebook's cell; the last state stays there."""
    from IPython.display import display

    started = time.monotonic()
    shown, last = 0.0, StudyProgress()
    handle: Any = display(_page(last, total, 0.0), raw=True, display_id=True)

    def watch(tally: StudyProgress) -> None:
        nonlocal shown, last
        now, last = time.monotonic(), tally
        if now - shown > _REFRESH_SECONDS:
            shown = now
            handle.update(_page(tally, total, now - started), raw=True)

    try:
        yield watch
    finally:
        handle.update(_page(last, total, time.monotonic() - started), raw=True)


def _page(tally: StudyProgress, total: int, seconds: float) -> dict[str, str]:
    """Write progress for those who see HTML and those who see text."""
    done = tally.skipped + tally.cases
    text = f"{done} of {total} cases"
    if tally.cases and seconds > 0:
        left = (total - done) * seconds / tally.cases
        text += f", {tally.cases / seconds:.2f}/s" + (f", ETA {left:.0f} s" if done < total else "")
    lines = html.escape("\n".join(chain_lines(tally, _NOTEBOOK_WIDTH)))
    bar = f'<progress value="{done}" max="{total}" aria-label="cases done"></progress>'
    return {"text/plain": text, "text/html": f"<div>{bar} {text}<pre>{lines}</pre></div>"}
