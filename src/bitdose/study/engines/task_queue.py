"""Task queue with affinity: a case returns to the worker that caches its source."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from bitdose.codecs.point import Point
from bitdose.data.base import Case

Points = tuple[Point, ...]
Task = tuple[Case, Points]
Homes = dict[str, int]


class TaskQueue:
    """Queue of tasks: each case goes to the worker that caches its source, if that one is free.

    Parameters
    ----------
    tasks : iterable of Task
        Tasks, read lazily, a few ahead.
    homes : dict or None
        Worker by the id of its cached case, updated here; None without a cache.
    ahead : int
        Number of queued tasks that are searched for a worker's own cases.
    """

    def __init__(self, tasks: Iterable[Task], homes: Homes | None, *, ahead: int) -> None:
        self._tasks, self._homes = iter(tasks), homes
        self._near: list[Task] = []
        self._ahead = ahead if homes is not None else 1
        self._read_on()

    def next_for(self, worker: int) -> Task | None:
        """Return the first task cached by this worker or by none; else any task; None at the end."""
        if not self._near:
            return None
        homes = self._homes if self._homes is not None else {}
        its = (at for at, (case, _) in enumerate(self._near) if homes.get(case.id, worker) == worker)
        task = self._near.pop(next(its, 0))
        if self._homes is not None:
            self._homes.setdefault(task[0].id, worker)
        self._read_on()
        return task

    def _read_on(self) -> None:
        self._near += itertools.islice(self._tasks, self._ahead - len(self._near))
