"""Keeps the workers alive and the house in order while the service runs.

Workers are processes of their own, started afresh (spawn): a crash in a decoder or a classifier ends one of
them and nothing else. A dead one's claims are put back at once and another takes its place, later each time.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from bitdose.service import queue, worker
from bitdose.service.clock import now
from bitdose.service.database import make_engine
from bitdose.service.intake import complete_all
from bitdose.service.problems import where
from bitdose.service.profiles import Profiles
from bitdose.service.retention import drop_orphans, sweep
from bitdose.service.settings import Settings
from bitdose.service.storage import BlobStore, open_store

WATCH_S = 0.2
TIDY_S = 60.0
ORPHANS_S = 3600.0

_LOG = logging.getLogger("bitdose.service.processes")
_STOP_S = 20.0
_STEADY_S = 60.0
_LONGEST_WAIT_S = 30.0


@dataclass
class _Slot:
    """One worker's place: its process now, how often it died in a row, and when the next may start."""

    process: Any = None
    name: str = ""
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0


class Workers:
    """Starts, watches and stops classifier processes.

    Parameters
    ----------
    settings : Settings
        The service's; ``workers`` of them.
    engine : sqlalchemy.Engine
        To put back what a dead one held.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._slots = [_Slot() for _ in range(settings.workers)]
        self._context = multiprocessing.get_context("spawn")

    @property
    def pids(self) -> list[int]:
        """Process ids of those alive."""
        return [slot.process.pid for slot in self._slots if slot.process and slot.process.is_alive()]

    def look(self) -> None:
        """Start what is due, and bury the dead."""
        for slot in self._slots:
            if slot.process is not None and not slot.process.is_alive():
                self._bury(slot)
            if slot.process is None and time.monotonic() >= slot.due:
                self._start(slot)

    def stop(self) -> None:
        """Let all finish the exams at hand, then end those that do not."""
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + _STOP_S
        for process in running:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self, slot: _Slot) -> None:
        slot.name, slot.started = worker.new_name(), time.monotonic()
        arguments = (self._settings, slot.name)
        slot.process = self._context.Process(target=worker.main, args=arguments, daemon=True)
        slot.process.start()

    def _bury(self, slot: _Slot) -> None:
        code = slot.process.exitcode
        slot.process.join()
        slot.process = None
        freed = queue.release(self._engine, slot.name)
        steady = time.monotonic() - slot.started >= _STEADY_S
        slot.deaths = 1 if steady else slot.deaths + 1
        wait_s = min(_LONGEST_WAIT_S, 0.25 * 2 ** min(slot.deaths - 1, 10))
        slot.due = time.monotonic() + wait_s
        _LOG.error("a worker ended with code %s; %d exams put back; next in %.2g s", code, freed, wait_s)


@contextmanager
def running(settings: Settings) -> Iterator[Workers]:
    """Run the workers and the housekeeping while the block runs."""
    engine = make_engine(settings.database_url)
    workers, done = Workers(settings, engine), threading.Event()
    workers.look()
    store = open_store(settings.storage_url)
    threads = [
        threading.Thread(target=_repeat, args=(workers.look, WATCH_S, done), name="bitdose-watch"),
        threading.Thread(
            target=_repeat, args=(_Tidier(settings, engine, store), WATCH_S, done), name="bitdose-tidy"
        ),
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


class _Tidier:
    """Finishes what a crash left between last byte and exam, and deletes what is due."""

    def __init__(self, settings: Settings, engine: Engine, store: BlobStore) -> None:
        self._settings, self._engine, self._store = settings, engine, store
        self._profiles = Profiles(engine)
        self._suspects: frozenset[str] = frozenset()
        self._next, self._next_orphans = 0.0, time.monotonic() + ORPHANS_S

    def __call__(self) -> None:
        """Do what is due."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TIDY_S
            complete_all(self._engine, self._store, self._profiles)
            sweep(self._engine, self._store, at=now(), days=self._settings.retention_days)
        if time.monotonic() >= self._next_orphans:
            self._next_orphans = time.monotonic() + ORPHANS_S
            _, self._suspects = drop_orphans(self._engine, self._store, self._suspects)


def _repeat(task: Any, every_s: float, done: threading.Event) -> None:
    while True:
        try:
            task()
        except Exception as error:  # noqa: BLE001  what failed now is tried again; the thread must go on
            _LOG.error("housekeeping failed: %s", where(error))
        if done.wait(every_s):
            return
