"""Tasks in line: a case goes back to the worker that keeps its source, unless that one is busy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bitdose.data.base import Case
from bitdose.study.engines.task_queue import Homes, Task, TaskQueue


def tasks(names: str) -> Iterator[Task]:
    """Give a task per letter."""
    return ((Case(name, name, Path(name), "sick"), ()) for name in names)


def taken(line: TaskQueue, workers: str) -> str:
    """Let workers take tasks in turn; give the names of their cases, ``-`` for none."""
    found = (line.next_for(int(worker)) for worker in workers)
    return "".join(task[0].id if task else "-" for task in found)


def test_a_case_goes_back_to_its_worker() -> None:
    """Whoever took it first takes it again, whatever the order of asking; the line ends empty."""
    homes: Homes = {}
    assert taken(TaskQueue(tasks("abcd"), homes, ahead=4), "0101") == "abcd"
    assert homes == {"a": 0, "b": 1, "c": 0, "d": 1}
    assert taken(TaskQueue(tasks("abcd"), homes, ahead=4), "110011") == "bdac--"


def test_a_worker_with_nothing_of_its_own_helps() -> None:
    """It takes another's task rather than none, and the case keeps its home."""
    homes: Homes = {"a": 0, "b": 0}
    assert taken(TaskQueue(tasks("ab"), homes, ahead=2), "11") == "ab"
    assert homes == {"a": 0, "b": 0}


def test_tasks_are_read_as_they_are_needed() -> None:
    """Where nothing is kept, one ahead: a study of a million cases is no list of a million tasks."""
    source = tasks("abcdef")
    line = TaskQueue(source, None, ahead=16)
    assert taken(line, "00") == "ab"
    assert next(source)[0].id == "d"
