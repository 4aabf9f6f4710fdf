"""Keeps as many workers alive as there should be, wherever they run.

A dead one's claims are put back at once and another takes its place, later each time.
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
    """A worker that was started: a process here, or an actor of a cluster."""

    def pid(self) -> int | None:
        """Return its process's id on its own machine; None where that is not known (any more)."""
        ...

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        ...

    def why_ended(self) -> str:
        """Say how one that is not alive ended, in a few words without a request's text."""
        ...

    def tell_to_stop(self) -> None:
        """Let it finish the exams at hand and end; returns at once."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for its end at most so long; returns whether it has ended."""
        ...

    def kill(self) -> None:
        """End it now."""
        ...


Start = Callable[[str], Running]
"""Starts a worker under a name that no other has or had."""


@dataclass
class _Slot:
    """One worker's place: who is there now, how often it died in a row, and when the next may start."""

    running: Running | None = None
    name: str = ""
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0


class Workers:
    """Starts, watches and stops workers.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        To put back what a dead one held.
    start : callable
        Starts one.
    how_many : int
        Of them.
    """

    def __init__(self, engine: Engine, start: Start, how_many: int) -> None:
        self._engine = engine
        self._start_one = start
        self._slots = [_Slot() for _ in range(how_many)]

    @property
    def pids(self) -> list[int]:
        """Process ids of those alive."""
        found = [slot.running.pid() for slot in self._slots if slot.running and slot.running.is_alive()]
        return [pid for pid in found if pid is not None]

    def look(self) -> None:
        """Start what is due, and bury the dead."""
        for slot in self._slots:
            if slot.running is not None and not slot.running.is_alive():
                self._bury(slot, slot.running)
            if slot.running is None and time.monotonic() >= slot.due:
                slot.name, slot.started = worker.new_name(), time.monotonic()
                slot.running = self._start_one(slot.name)

    def stop(self) -> None:
        """Let all finish the exams at hand, then end those that do not."""
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
