"""Processes started afresh that know nothing of the program that asked for them.

A spawned process of the standard library first runs the caller's ``__main__`` again: a script without
``if __name__ == "__main__"`` would run its study in each worker, and ``python - < script`` fails since
``<stdin>`` is no file. What runs in BitDose's processes is BitDose's own, so they start without it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_LOCK = threading.RLock()
_MAIN = ("init_main_from_name", "init_main_from_path")


class FreshProcess(SpawnProcess):
    """A spawned process that does not import the caller's ``__main__``."""

    def start(self) -> None:
        """Start it; what it runs must be importable."""
        with _main_left_out():
            super().start()


class FreshContext(SpawnContext):
    """The ``spawn`` way of starting processes, with :class:`FreshProcess` as what it starts."""

    Process = FreshProcess


CONTEXT = FreshContext()


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Tell no process that this thread starts where ``__main__`` came from; other threads' are told."""
    mine = threading.get_ident()
    with _LOCK:
        before = spawn.get_preparation_data

        def without_main(name: str) -> dict[str, Any]:
            found = before(name)
            if threading.get_ident() == mine:
                found = {key: value for key, value in found.items() if key not in _MAIN}
            return found

        spawn.get_preparation_data = without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = before
