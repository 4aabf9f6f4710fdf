"""Run a plan into a run folder, from the start or from where it stopped."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, UsageError
from bitdose.hashing import file_digest
from bitdose.study.engines.local import Finished, PrestartedWorkers, open_pool
from bitdose.study.engines.pipeline import run_split
from bitdose.study.engines.ray import check_ray, run_in_ray
from bitdose.study.plan import Plan, difference
from bitdose.study.progress import StudyProgress
from bitdose.study.progress_bar import Watcher
from bitdose.study.shards import Shards
from bitdose.study.store import MANIFEST, DoneCase, Store, read_manifest, write_manifest


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    ``done`` counts the finished cases of the folder, ``skipped`` those that an earlier run had
    finished, ``failed`` all cases of the folder with a failed row. ``interrupted`` says that
    Ctrl-C or a termination signal ended it; it can be resumed. ``set_aside`` names parts that could
    not be read: they were renamed and their cases ran again.
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
    crew: PrestartedWorkers | None = None,
) -> RunOutcome:
    """Run every case that is not done yet and append its rows to the run folder.

    Parameters
    ----------
    plan : Plan
        From :func:`~bitdose.study.plan.make_plan`.
    out : pathlib.Path
        The run folder.
    workers : int, optional
        Worker processes; None takes all cores, with Ray those of the cluster. A classifier handed over as
        an object runs in this process, while the others code.
    resume : bool
        Whether to go on in a folder that holds results.
    retry_failed : bool
        With ``resume``: run the cases with a failed row again, in place of what they gave.
    watch : callable, optional
        Called with the tally after every case.
    shards : Shards, optional
        Where to keep a copy of the run as it grows, and whence to go on.
    crew : PrestartedWorkers, optional
        Workers on this machine that have started already.

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
        tally, interrupted = StudyProgress(skipped=len(done)), False
        try:
            with terminable(), contextlib.closing(_engine(plan, todo, workers, crew)) as finished:
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
    plan: Plan, todo: Sequence[Case], workers: int | None, crew: PrestartedWorkers | None
) -> Generator[Finished, None, None]:
    """Run cases by the engine asked for.

    A classifier that is there once, on a GPU or as an object of this process, has coders on all cores.
    """
    if plan.spec.engine == "ray":
        yield from run_in_ray(plan, todo, workers=workers)
        return
    count = os.cpu_count() or 1 if workers is None else workers
    is_single = plan.classifier.device == "cuda" or plan.job.model is None
    early = crew or PrestartedWorkers(0)
    several = count > 1 and len(todo) > 1
    if (several and is_single) or (plan.job.model and plan.spec.engine == "split"):
        early.dismiss()
        yield from run_split(todo, plan.job, plan.classifier, workers=count)
        return
    with open_pool(plan, workers=workers, n_tasks=len(todo), crew=early) as pool:
        early.dismiss()
        yield from pool.run((case, plan.job.points) for case in todo)


@contextlib.contextmanager
def _copied(shards: Shards | None, out: Path) -> Iterator[None]:
    """Bring the folder what the shards' URL has, and at the end the URL what the folder has.

    A run that broke off leaves its rows at the URL too; its own error is the one that counts.
    """
    if shards is None:
        yield
        return
    shards.pull(out)
    try:
        yield
    except UsageError:
        raise  # the folder is not this run's: nothing to copy
    except BaseException:
        with contextlib.suppress(BitdoseError):
            shards.push(out)
        raise
    shards.push(out)


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: expected a folder, it is a file")
    foreign = out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).exists()
    if foreign and not (out / ".lock").exists():
        raise UsageError(f"--out {out}: the folder holds other files; choose a new or empty folder")


def _claim(store: Store, plan: Plan, *, resume: bool) -> dict[str, DoneCase]:
    """Check that the folder is this study's and return the cases done; write the manifest of a new run."""
    if not (store.folder / MANIFEST).exists():
        write_manifest(store.folder, plan.manifest, plan.spec.resolved().to_toml())
        return {}
    differs = difference(plan.identity, read_manifest(store.folder).get("identity", {}))
    if differs:
        raise UsageError(f"--out {store.folder}: it holds another study ({differs}); choose another folder")
    done = store.done()
    if done and not resume:
        raise UsageError(
            f"--out {store.folder}: {len(done)} of {len(plan.cases.cases)} cases are already there; "
            "add --resume to go on, or choose another folder"
        )
    _check_unchanged(store.folder, plan, done)
    return done


def _check_unchanged(folder: Path, plan: Plan, done: Mapping[str, DoneCase]) -> None:
    """Refuse to go on if a finished case's file was written since, and holds something else.

    Only files touched after the run began are read again, so that resuming stays quick.
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
            f"--out {folder}: the files of {changed} finished cases have changed or gone since; "
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
            f"{failed} cases failed, more than --max-failures {plan.spec.max_failures:g} of {total}; "
            "'bitdose report' lists the reasons"
        )


@contextlib.contextmanager
def terminable() -> Iterator[None]:
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
