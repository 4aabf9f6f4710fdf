"""What the benchmarks of studies share: a command's cost, tables of cases, the machine's name."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import psutil

SAMPLE_S = 1.0


class CommandError(Exception):
    """A command ended with a code that was not expected."""


class Used(NamedTuple):
    """What a command took.

    ``cpu_s`` is user and system time of the process and of all children it waited for. ``rss`` and
    ``pss`` are the largest sums over the process tree, in bytes, sampled once a second: resident sets
    count a shared page once per process, proportional sets once (0 where the system does not tell).
    """

    wall_s: float
    cpu_s: float
    rss: int
    pss: int
    said: str


class _Watch(threading.Thread):
    """Samples the memory of a process tree."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root, self.rss, self.pss, self.done = psutil.Process(pid), 0, 0, threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.done.wait(SAMPLE_S):
            rss = pss = 0
            for process in self._tree():
                try:
                    memory = process.memory_full_info()
                except psutil.Error:
                    continue
                rss, pss = rss + memory.rss, pss + getattr(memory, "pss", 0)
            self.rss, self.pss = max(self.rss, rss), max(self.pss, pss)

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self.root, *self.root.children(recursive=True)]
        except psutil.Error:
            return []


def run(command: Sequence[str], *, accept: tuple[int, ...] = (0,)) -> Used:
    """Run a command to its end and say what it took.

    Raises
    ------
    CommandError
        If its exit code is not one of ``accept``; with the last line that it wrote to stderr.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err)
        watch = _Watch(process.pid)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall_s = perf_counter() - started
        watch.done.set()
        watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in accept:
            last = (err.read().strip().splitlines() or ["nothing on stderr"])[-1]
            raise CommandError(f"exit code {process.returncode}: {last}")
        return Used(wall_s, usage.ru_utime + usage.ru_stime, watch.rss, watch.pss, out.read())


def subset(
    source: Path, folder: Path, *, split: str | None = None, size: int | None = None, n: int | None = None
) -> Path:
    """Write a table of a split's cases of one size, with absolute paths and running ids.

    ``n`` takes the first so many, or repeats the files under new ids until there are as many.
    """
    with source.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not split or row["split"] == split]
    rows = [row for row in rows if not size or row["width"] == row["height"] == str(size)]
    if not rows:
        raise SystemExit(f"no case of {source} is left: check --split and --size")
    count = n or len(rows)
    table = folder / f"cases-{count}.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "label", "width", "height"])
        for index in range(count):
            row = rows[index % len(rows)]
            path = (source.parent / row["path"]).resolve()
            writer.writerow([f"{index}", path, row["label"], row["width"], row["height"]])
    return table


def machine() -> str:
    """Name the processor and its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def today() -> str:
    """Return the date in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |")
