"""What a person sees while a training runs: a bar with ETA, and what came of it so far."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress


class TrainingBar:
    """Says on stderr what a training run plans and each epoch brought; the bar is for terminals only.

    Parameters
    ----------
    bar : rich.progress.Progress, optional
        A started bar; None where nobody watches.
    """

    def __init__(self, bar: Progress | None = None) -> None:
        self._bar = bar
        self._task: Any = None

    def announce(self, plan: dict[str, Any]) -> None:
        """Say what is about to be learned from what, and know how many steps there are."""
        weights = ", ".join(f"{k} {v:g}" for k, v in zip(plan["labels"], plan["class_weights"], strict=True))
        after = plan["resumed_after_epoch"]
        parts = [
            f"{plan['cases']} cases to learn from",
            f"{plan['validation']} for validation, {plan['test']} for test",
            f"class weights {weights}",
            f"{plan['device']}, {plan['precision']}",
            *([f"going on after epoch {after}"] if after else []),
        ]
        self._say("; ".join(parts))
        if self._bar is not None:
            self._task = self._bar.add_task("steps", total=plan["steps"])

    def tick(self, steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=steps)

    def watch(self, record: dict[str, Any]) -> None:
        """Say what an epoch brought."""
        parts = [
            f"epoch {record['epoch']:3d}: loss {record['loss']:.4f}, accuracy {record['train_accuracy']:.3f}",
            f"validation loss {record['validation_loss']:.4f}, accuracy {record['validation_accuracy']:.3f}",
            f"F1 {record['validation_f1']:.4f}",
            f"{record['cases_per_s']:.1f} cases/s, {100 * record['loader_wait_share']:.1f} % of it waiting",
        ]
        self._say("; ".join(parts))

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def training_progress() -> Iterator[TrainingBar]:
    """Show a bar with ETA on stderr if that is a terminal; the lines go there in any case."""
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
