"""Execution of a plan into a run folder, from the start or resumed."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, UsageError, argument, command
from bitdose.hashing import file_digest
from bitdose.native.library import load as load_native
from bitdose.study.engines.local import Finished, PrestartedWorkers, open_pool
from bitdose.study.engines.pipeline import run_pipeline
from bitdose.study.engines.ray import check_ray, run_in_ray
from bitdose.study.plan import Plan, difference
from bitdose.study.progress import StudyProgress
from bitdose.study.progress_bar import Watcher
from bitdose.study.shards import Shards
from bitdose.study.store import MANIFEST, DoneCase, Store, read_manifest, write_manifest

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOutcome:
    """Outcome of a run.

    ``done`` counts the finished cases of the folder, ``skipped`` those of them that an earlier run
    finished, ``failed`` all cases of the folder with a failed row. ``interrupted`` means that
    Ctrl-C or a termination signal ended it; it can be resumed. ``set_aside`` names unreadable
    parts: they were renamed and their cases ran again.
    """

    folder: Path
    total: int
    done: int
    skipped: int
    failed: int
    interrupted: bool = False
    set_aside: tuple[str, ...] = ()


def run_study(
    plan: Plan,
    out: Path,
    *,
    workers: int | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    watch: Watcher | None = None,
    shards: Shards | None = None,
    prestarted: PrestartedWorkers | None = None,
) -> RunOutcome:
    """Run every unfinished case and append its rows to the run folder.

    Parameters
    ----------
    plan : Plan
        Output of :func:`~bitdose.study.plan.make_plan`.
    out : pathlib.Path
        Run folder.
    workers : int, optional
        Worker processes; None takes all cores, with Ray those of the cluster. A classifier given as
        an object runs in this process, while the others code.
    resume : bool
        Whether to continue in a folder with results.
    retry_failed : bool
        With ``resume``: run cases with a failed row again and replace their rows.
    watch : callable, optional
        Called with the progress after every case.
    shards : Shards, optional
        Remote copy of the run, updated as it grows and used to resume.
    prestarted : PrestartedWorkers, optional
        Pre-started workers on this machine.

    Raises
    ------
    UsageError
        If the folder holds results and ``resume`` is false, holds another study, or is being
        written by another process.
    BitdoseError
        If more than the allowed share of cases failed, or the disk is full.
    """
    if plan.spec.engine == "ray":
        check_ray(plan)
    _check_out(out)
    with _copied(shards, out), Store(out) as store:
        done = _claim(store, plan, resume=resume)
        if retry_failed:
            store.forget({case_id for case_id, was in done.items() if was.failed})
            done = store.done()
        before = sum(was.failed for was in done.values())
        todo = [case for case in plan.cases.cases if case.id not in done]
        tally, interrupted, began = StudyProgress(skipped=len(done)), False, time.perf_counter()
        try:
            with terminable(), contextlib.closing(_engine(plan, todo, workers, prestarted)) as finished:
                for case, rows in finished:
                    store.append(case.id, rows)
                    tally.add(rows)
                    if watch:
                        watch(tally)
                    if shards:
                        shards.keep_up(store)
                    check_failures(before + tally.failed_cases, plan)
        except KeyboardInterrupt:
            interrupted = True
        _LOG.info(
            "%d of %d cases in %.1f s, %d failed", tally.cases, len(todo), time.perf_counter() - began,
            tally.failed_cases,
        )  # fmt: skip
        return RunOutcome(
            folder=out,
            total=len(plan.cases.cases),
            done=len(done) + tally.cases,
            skipped=len(done),
            failed=before + tally.failed_cases,
            interrupted=interrupted,
            set_aside=tuple(store.set_aside),
        )


def _engine(
    plan: Plan, todo: Sequence[Case], workers: int | None, prestarted: PrestartedWorkers | None
) -> Generator[Finished, None, None]:
    """Run cases with the requested engine.

    A single classifier, on a GPU or an object of this process, has coders on all cores.
    """
    told = "classifier %s on %s by %s; engine %s; loops in C %s"
    loops = "at work" if load_native() else "absent: studies take longer"
    _LOG.info(told, plan.classifier.name, plan.classifier.device, plan.spec.runtime, plan.spec.engine, loops)
    if plan.spec.engine == "ray":
        yield from run_in_ray(plan, todo, workers=workers)
        return
    count = os.cpu_count() or 1 if workers is None else workers
    is_single = plan.classifier.device == "cuda" or plan.job.model is None
    early = prestarted or PrestartedWorkers(0)
    several = count > 1 and len(todo) > 1
    if (several and is_single) or (plan.job.model and plan.spec.engine == "pipeline"):
        early.dismiss()
        _LOG.info("pipeline: %d processes code, this one classifies", count)
        yield from run_pipeline(todo, plan.job, plan.classifier, workers=count)
        return
    with open_pool(plan, workers=workers, n_tasks=len(todo), prestarted=early) as pool:
        early.dismiss()
        _LOG.info("%s for %d cases, of at most %d processes", type(pool).__name__, len(todo), count)
        yield from pool.run((case, plan.job.points) for case in todo)


@contextlib.contextmanager
def _copied(shards: Shards | None, out: Path) -> Iterator[None]:
    """Pull the rows at the shards' URL into the folder, and push the folder's rows at the end.

    A failed run pushes its rows too; its own error takes precedence over an error of the push.
    """
    if shards is None:
        yield
        return
    shards.pull(out)
    try:
        yield
    except UsageError:
        raise  # the folder belongs to another run: nothing to copy
    except BaseException:
        with contextlib.suppress(BitdoseError):
            shards.push(out)
        raise
    shards.push(out)


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{argument('out', out)}: expected a folder, it is a file")
    foreign = out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).exists()
    if foreign and not (out / ".lock").exists():
        raise UsageError(
            f"{argument('out', out)}: the folder holds other files; choose a new or empty folder"
        )


def _claim(store: Store, plan: Plan, *, resume: bool) -> dict[str, DoneCase]:
    """Check that the folder belongs to this study; return its finished cases; write a new manifest."""
    if not (store.folder / MANIFEST).exists():
        write_manifest(store.folder, plan.manifest, plan.spec.resolved().to_toml())
        return {}
    differs = difference(plan.identity, read_manifest(store.folder).get("identity", {}))
    if differs:
        raise UsageError(
            f"{argument('out', store.folder)}: it holds another study ({differs}); choose another folder"
        )
    done = store.done()
    if done and not resume:
        raise UsageError(
            f"{argument('out', store.folder)}: {len(done)} of {len(plan.cases.cases)} cases are "
            "already there; "
            f"add {argument('resume', value=True)} to go on, or choose another folder"
        )
    _check_unchanged(store.folder, plan, done)
    return done


def _check_unchanged(folder: Path, plan: Plan, done: Mapping[str, DoneCase]) -> None:
    """Refuse to resume if the contents of a finished case's file have changed since.

    Only files modified after the run began are read again, so that resuming stays fast.
    """
    began = (folder / MANIFEST).stat().st_mtime
    changed = 0
    for case in plan.cases.cases:
        digest = done[case.id].digest if case.id in done else None
        try:
            changed += bool(digest and _file_is_newer(case, began) and file_digest(case.path) != digest)
        except OSError:
            changed += 1
    if changed:
        raise UsageError(
            f"{argument('out', folder)}: the files of {changed} finished cases have changed or gone since; "
            "choose another folder"
        )


def _file_is_newer(case: Case, began: float) -> bool:
    """Whether a case's file was written after a time; an array's pixels are part of the run's identity."""
    return case.pixels is None and case.path.stat().st_mtime > began


def check_failures(failed: int, plan: Plan) -> None:
    """Raise ``BitdoseError`` if more cases failed than the spec allows."""
    total = len(plan.cases.cases)
    if failed > plan.spec.max_failures * total:
        raise BitdoseError(
            f"{failed} cases failed, more than {argument('max_failures', plan.spec.max_failures)} "
            f"of {total}; "
            f"{command('report', python='run.report()')} lists the reasons"
        )


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Handle a termination signal like Ctrl-C."""

    def stop(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # signals can be handled in the main thread only
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
