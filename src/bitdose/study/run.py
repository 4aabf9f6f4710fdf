"""Run a plan into a run folder, from the start or from where it stopped."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, UsageError
from bitdose.study.engines.local import Finished, run_in_process, run_in_workers
from bitdose.study.plan import Plan, difference
from bitdose.study.store import MANIFEST, Store, read_manifest, write_manifest
from bitdose.study.tally import Tally

Watcher = Callable[[Tally], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    ``done`` counts the finished cases of the folder, ``skipped`` those that an earlier run had
    finished, ``failed`` the cases of this run with a failed row. ``interrupted`` says that
    Ctrl-C or a termination signal ended it; it can be resumed.
    """

    folder: Path
    total: int
    done: int
    skipped: int
    failed: int
    interrupted: bool = False


def run_study(
    plan: Plan,
    out: Path,
    *,
    workers: int | None = None,
    resume: bool = False,
    watch: Watcher | None = None,
) -> Outcome:
    """Run every case that is not done yet and append its rows to the run folder.

    Parameters
    ----------
    plan : Plan
        From :func:`~bitdose.study.plan.make_plan`.
    out : pathlib.Path
        The run folder.
    workers : int, optional
        Worker processes; None takes all cores. A classifier handed over as an object runs in
        this process.
    resume : bool
        Whether to go on in a folder that holds results.
    watch : callable, optional
        Called with the tally after every case.

    Raises
    ------
    UsageError
        If the folder holds results and ``resume`` is false, holds another study, or is being
        written by another process.
    BitdoseError
        If more than the allowed share of cases failed, or the disk is full.
    """
    _check_out(out)
    with Store(out) as store:
        done = _claim(store, plan, resume=resume)
        todo = [case for case in plan.cases.cases if case.id not in done]
        tally, interrupted = Tally(), False
        try:
            with _terminable():
                for case, rows in _engine(plan, todo, workers):
                    store.append(case.id, rows)
                    tally.add(rows)
                    if watch:
                        watch(tally)
                    _check_failures(tally, plan, len(todo))
        except KeyboardInterrupt:
            interrupted = True
        total = len(plan.cases.cases)
        return Outcome(out, total, len(done) + tally.cases, len(done), tally.failed_cases, interrupted)


def _engine(plan: Plan, todo: Sequence[Case], workers: int | None) -> Iterator[Finished]:
    count = os.cpu_count() or 1 if workers is None else workers
    if plan.job.model is None or count <= 1 or len(todo) <= 1:
        return run_in_process(todo, plan.job, plan.classifier)
    return run_in_workers(todo, plan.job, plan.classifier.name, workers=count)


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: expected a folder, it is a file")
    foreign = out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).exists()
    if foreign and not (out / ".lock").exists():
        raise UsageError(f"--out {out}: the folder holds other files; choose a new or empty folder")


def _claim(store: Store, plan: Plan, *, resume: bool) -> set[str]:
    """Check that the folder is this study's and return the cases done; write the manifest of a new run."""
    if not (store.folder / MANIFEST).exists():
        write_manifest(store.folder, plan.manifest, plan.spec.resolved().to_toml())
        return set()
    differs = difference(plan.identity, read_manifest(store.folder).get("identity", {}))
    if differs:
        raise UsageError(f"--out {store.folder}: it holds another study ({differs}); choose another folder")
    done = store.done()
    if done and not resume:
        raise UsageError(
            f"--out {store.folder}: {len(done)} of {len(plan.cases.cases)} cases are already there; "
            "add --resume to go on, or choose another folder"
        )
    return done


def _check_failures(tally: Tally, plan: Plan, todo: int) -> None:
    allowed = plan.spec.max_failures * todo
    if tally.failed_cases > allowed:
        raise BitdoseError(
            f"{tally.failed_cases} cases failed, more than --max-failures "
            f"{plan.spec.max_failures:g} of {todo} allows; 'bitdose report' lists the reasons"
        )


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let a termination signal end the study as Ctrl-C does."""

    def stop(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: signals are not ours to handle
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
