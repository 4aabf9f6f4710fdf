"""Supervision of a fixed number of workers, local or remote.

A dead worker's claims are released at once and it is replaced, with exponential backoff.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Engine

from bitdose.service.exams import queue, worker

_LOG = logging.getLogger("bitdose.service.exams.supervisor")
_STOP_S = 20.0
_STEADY_S = 60.0
_LONGEST_WAIT_S = 30.0


class Running(Protocol):
    """A started worker: a local process, or an actor of a cluster."""

    def pid(self) -> int | None:
        """Return its process id on its machine; None if unknown."""
        ...

    def is_alive(self) -> bool:
        """Whether it is still running."""
        ...

    def why_ended(self) -> str:
        """Describe how it ended, in a few words without a request's text."""
        ...

    def tell_to_stop(self) -> None:
        """Ask it to stop after the current exams; return at once."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for its end with a timeout; return whether it has ended."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...


Start = Callable[[str], Running]
"""Factory that starts a worker under a unique name."""


@dataclass
class _Slot:
    """Slot of one worker: current worker, consecutive deaths, time of the next start."""

    running: Running | None = None
    name: str = ""
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0


class Workers:
    """Supervisor that starts, watches and stops workers.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database, to release the claims of dead workers.
    start : callable
        Factory of workers.
    how_many : int
        Number of workers.
    """

    def __init__(self, engine: Engine, start: Start, how_many: int) -> None:
        self._engine = engine
        self._start_one = start
        self._slots = [_Slot() for _ in range(how_many)]

    @property
    def pids(self) -> list[int]:
        """Process ids of the running workers."""
        found = [slot.running.pid() for slot in self._slots if slot.running and slot.running.is_alive()]
        return [pid for pid in found if pid is not None]

    def look(self) -> None:
        """Start due workers and clean up after dead ones."""
        for slot in self._slots:
            if slot.running is not None and not slot.running.is_alive():
                self._bury(slot, slot.running)
            if slot.running is None and time.monotonic() >= slot.due:
                slot.name, slot.started = worker.new_name(), time.monotonic()
                slot.running = self._start_one(slot.name)

    def stop(self) -> None:
        """Stop all workers after their current exams; kill those that do not stop."""
        running = [slot.running for slot in self._slots if slot.running is not None]
        for each in running:
            each.tell_to_stop()
        until = time.monotonic() + _STOP_S
        for each in running:
            if not each.wait(max(0.0, until - time.monotonic())):
                each.kill()

    def _bury(self, slot: _Slot, dead: Running) -> None:
        why = dead.why_ended()
        slot.running = None
        steady = time.monotonic() - slot.started >= _STEADY_S
        slot.deaths = 1 if steady else slot.deaths + 1
        wait_s = min(_LONGEST_WAIT_S, 0.25 * 2 ** min(slot.deaths - 1, 10))
        slot.due = time.monotonic() + wait_s
        freed = queue.release(self._engine, slot.name)
        _LOG.error("a worker ended: %s; %d exams put back; next in %.2g s", why, freed, wait_s)
