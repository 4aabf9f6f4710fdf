"""What a person sees before a study and while a training runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress


def tell_of_missing_loops() -> None:
    """Say on stderr, in one line, that a study goes on without the loops in C; nothing where they are."""
    from bitdose.native.library import state

    native = state()
    if not native.available:
        print(f"bitdose: {native.line()}", file=sys.stderr)


class TrainingBar:
    """Reporter of a training run on stderr: plan and epochs, and a bar on terminals.

    Parameters
    ----------
    bar : rich.progress.Progress, optional
        A started bar; None without a terminal.
    """

    def __init__(self, bar: Progress | None = None) -> None:
        self._bar = bar
        self._task: Any = None

    def announce(self, plan: dict[str, Any]) -> None:
        """Print the plan of the training, and set the number of steps."""
        weights = ", ".join(f"{k} {v:g}" for k, v in zip(plan["labels"], plan["class_weights"], strict=True))
        after = plan["resumed_after_epoch"]
        parts = [
            f"{plan['cases']} training cases",
            f"{plan['validation']} for validation, {plan['test']} for test",
            f"class weights {weights}",
            f"{plan['device']}, {plan['precision']}",
            *([f"resuming after epoch {after}"] if after else []),
        ]
        self._say("; ".join(parts))
        if self._bar is not None:
            self._task = self._bar.add_task("steps", total=plan["steps"])

    def tick(self, steps: int) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=steps)

    def watch(self, record: dict[str, Any]) -> None:
        """Print the results of an epoch."""
        parts = [
            f"epoch {record['epoch']:3d}: loss {record['loss']:.4f}, accuracy {record['train_accuracy']:.3f}",
            f"validation loss {record['validation_loss']:.4f}, accuracy {record['validation_accuracy']:.3f}",
            f"F1 {record['validation_f1']:.4f}",
            f"{record['cases_per_s']:.1f} cases/s, {100 * record['loader_wait_share']:.1f} % waiting",
        ]
        self._say("; ".join(parts))

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def training_progress() -> Iterator[TrainingBar]:
    """Show a bar with ETA on stderr if it is a terminal; lines are printed in any case."""
    if not sys.stderr.isatty():
        yield TrainingBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    shown = (TextColumn("steps"), BarColumn(), MofNCompleteColumn())
    left = (TextColumn("ETA"), TimeRemainingColumn())
    with Bar(*shown, *left, console=Console(stderr=True), transient=True) as bar:
        yield TrainingBar(bar)
