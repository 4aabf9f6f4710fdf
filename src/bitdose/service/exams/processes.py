"""Worker processes and housekeeping of a running service.

Workers are spawned processes: a crash in a decoder or a classifier ends one worker and nothing else. With
``workers_on = "ray"`` they are actors, and the single process here is their driver
(:mod:`bitdose.service.exams.ray_workers`): the loss of the cluster does not affect the web process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from bitdose.processes import CONTEXT
from bitdose.service.clock import now
from bitdose.service.db.database import make_engine
from bitdose.service.exams import ray_workers, worker
from bitdose.service.exams.intake import complete_all
from bitdose.service.exams.profiles import Profiles
from bitdose.service.exams.retention import drop_orphans, sweep
from bitdose.service.exams.storage import BlobStore, open_store
from bitdose.service.exams.supervisor import Workers
from bitdose.service.problems import where
from bitdose.service.settings import Settings

WATCH_S = 0.2
TIDY_S = 60.0
ORPHANS_S = 3600.0

_LOG = logging.getLogger("bitdose.service.exams.processes")


class ProcessWorker:
    """A worker in a local process.

    Parameters
    ----------
    settings : Settings
        The service's.
    name : str
        The worker's.
    main : callable
        Main function of the process.
    """

    def __init__(
        self, settings: Settings, name: str, main: Callable[[Settings, str], None] = worker.main
    ) -> None:
        self._process = CONTEXT.Process(target=main, args=(settings, name), daemon=True)
        self._process.start()

    def pid(self) -> int | None:
        """Return the process's id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Query the system."""
        return self._process.is_alive()

    def why_ended(self) -> str:
        """Return the exit code as text; a negative one is a signal."""
        self._process.join()
        return f"code {self._process.exitcode}"

    def tell_to_stop(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Join it."""
        self._process.join(seconds)
        return not self._process.is_alive()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()
        self._process.join()


@contextmanager
def running(settings: Settings) -> Iterator[Workers]:
    """Run the workers and the housekeeping while the block runs."""
    engine = make_engine(settings.database_url)
    workers, done = _workers(settings, engine), threading.Event()
    workers.look()
    store = open_store(settings.storage_url)
    tidier = _Tidier(settings, engine, store)
    threads = [
        threading.Thread(target=repeat, args=(workers.look, WATCH_S, done), name="bitdose-watch"),
        threading.Thread(target=repeat, args=(tidier, WATCH_S, done), name="bitdose-tidy"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield workers
    finally:
        done.set()
        for thread in threads:
            thread.join()
        workers.stop()
        engine.dispose()


def _workers(settings: Settings, engine: Engine) -> Workers:
    if settings.ray_address is None:
        return Workers(engine, lambda name: ProcessWorker(settings, name), settings.workers)
    drive = ray_workers.main
    return Workers(engine, lambda name: ProcessWorker(settings, name, drive), min(1, settings.workers))


class _Tidier:
    """Housekeeping: completes uploads interrupted by a crash, and deletes expired data."""

    def __init__(self, settings: Settings, engine: Engine, store: BlobStore) -> None:
        self._settings, self._engine, self._store = settings, engine, store
        self._profiles = Profiles(engine)
        self._suspects: frozenset[str] = frozenset()
        self._next, self._next_orphans = 0.0, time.monotonic() + ORPHANS_S

    def __call__(self) -> None:
        """Run all due tasks."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TIDY_S
            complete_all(self._engine, self._store, self._profiles)
            sweep(self._engine, self._store, at=now(), days=self._settings.retention_days)
        if time.monotonic() >= self._next_orphans:
            self._next_orphans = time.monotonic() + ORPHANS_S
            _, self._suspects = drop_orphans(self._engine, self._store, self._suspects)


def repeat(task: Any, every_s: float, done: threading.Event) -> None:
    """Repeat a task until stopped; failures are retried."""
    while True:
        try:
            task()
        except Exception as error:  # noqa: BLE001  the thread must go on
            _LOG.error("housekeeping failed: %s", where(error))
        if done.wait(every_s):
            return
