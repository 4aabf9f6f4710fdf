"""Worker processes on this machine: each takes one case at a time, and may die without harm.

A process per core rather than threads: Pillow holds the interpreter's lock while it codes
JPEG 2000, and while one process codes the other classifies. A worker that dies (a decoder
that crashes on a broken file, the system's memory killer) costs its case, which becomes a
failed row, and is replaced.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError
from bitdose.models.base import Classifier
from bitdose.study.plan import Job
from bitdose.study.rows import Row
from bitdose.study.worker import failed_rows, run_case

Finished = tuple[Case, list[Row]]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_STOP_SECONDS = 5


def run_in_process(cases: Iterable[Case], job: Job, classifier: Classifier) -> Iterator[Finished]:
    """Run cases one after the other in this process.

    Yields
    ------
    tuple of Case and list of dict
        Each case with its rows, in the order given.
    """
    for case in cases:
        yield case, _run_safely(case, job, classifier)


def run_in_workers(
    cases: Iterable[Case], job: Job, classifier_name: str, *, workers: int
) -> Iterator[Finished]:
    """Run cases in worker processes that load the classifier of ``job.model`` themselves.

    Parameters
    ----------
    cases : iterable of Case
        Taken as workers become free, so memory stays at one case per worker.
    job : Job
        With ``model`` set.
    classifier_name : str
        The planned classifier's name; a worker that loads another one stops the study.
    workers : int
        Number of processes.

    Yields
    ------
    tuple of Case and list of dict
        Each case with its rows, as they finish.

    Raises
    ------
    BitdoseError
        If a worker cannot start.
    """
    waiting = deque(cases)
    team = [_Worker(job, classifier_name) for _ in range(min(workers, max(1, len(waiting))))]
    try:
        while waiting or any(worker.case for worker in team):
            for index, worker in enumerate(team):
                if worker.case is None and waiting:
                    team[index] = worker if worker.alive else _replaced(worker, job, classifier_name)
                    team[index].give(waiting.popleft())
            yield from _collect(team, job, classifier_name)
    finally:
        for worker in team:
            worker.stop()


class _Worker:
    """One process, the pipe to it, and the case it has."""

    def __init__(self, job: Job, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, job, name), daemon=True)
        with _quiet_start():
            self.process.start()
        theirs.close()
        self.case: Case | None = None

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def give(self, case: Case) -> None:
        self.case = case
        with contextlib.suppress(OSError):  # a dead worker shows itself when its answer is read
            self.pipe.send(case)

    def take(self) -> list[Row] | Exception | None:
        """Return the answer, an error that stops the study, or None if the worker died."""
        try:
            answer: list[Row] | Exception = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(_STOP_SECONDS)
            return None
        return answer

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(_STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
        self.pipe.close()


def _collect(team: list[_Worker], job: Job, classifier_name: str) -> Iterator[Finished]:
    busy: dict[Any, _Worker] = {worker.pipe: worker for worker in team if worker.case}
    for pipe in wait(list(busy)):
        worker = busy[pipe]
        case, answer = worker.case, worker.take()
        worker.case = None
        if case is None:
            continue
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            code = worker.process.exitcode
            error = CaseError("worker-died", f"the worker process ended with code {code} on this case")
            answer = failed_rows(case, job, classifier_name, error)
        yield case, answer


def _replaced(worker: _Worker, job: Job, name: str) -> _Worker:
    worker.stop()
    return _Worker(job, name)


def _serve(pipe: Connection, job: Job, name: str) -> None:
    """Be a worker process: load the classifier once, then answer case by case until told to stop."""
    _one_thread_each()
    classifier: Classifier | None = None
    while True:
        try:
            case = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            classifier = classifier or _loaded(job, name)
            answer: list[Row] | BitdoseError = _run_safely(case, job, classifier)
        except BitdoseError as error:
            answer = error
        with contextlib.suppress(OSError):  # the parent is gone: nobody to tell
            pipe.send(answer)


def _loaded(job: Job, name: str) -> Classifier:
    """Load the classifier and make sure that it is the one the study was planned with."""
    if job.model is None:
        raise BitdoseError("a worker process needs a classifier by reference")
    classifier = job.model.load()
    if classifier.name != name:
        raise BitdoseError(
            f"model: it comes out different each time it is loaded ({name}, then {classifier.name}): "
            "save its weights and give them with --weights"
        )
    return classifier


def _run_safely(case: Case, job: Job, classifier: Classifier) -> list[Row]:
    """Run one case; whatever goes wrong inside it is a row, and the study goes on."""
    try:
        return run_case(case, job, classifier)
    except BitdoseError:
        raise
    except MemoryError:
        error = CaseError("out-of-memory", "the case does not fit into memory")
    except Exception as unexpected:  # noqa: BLE001
        # The edge of the engine. Only the kind of error is kept: its text may quote the file.
        error = CaseError("crashed", f"{type(unexpected).__name__} while the case was worked on")
    return failed_rows(case, job, classifier.name, error)


def _one_thread_each() -> None:
    import cv2

    cv2.setNumThreads(1)


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Start a process with one thread per numeric library (the processes share the cores) and no Ctrl-C."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    main = threading.current_thread() is threading.main_thread()
    # A child inherits this, so that Ctrl-C is the parent's to handle from the child's first moment.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, interrupt)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
