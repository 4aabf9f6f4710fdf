"""The parts of a sweep: their commands, and what each takes when it is run once."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from floors import Floors
from measure import CommandError, Used, run

import bitdose as bitdose_package
from bitdose.native.library import LIBRARY

HERE = Path(__file__).parent
CORES = os.cpu_count() or 1
ALPHA = "0.05"
TORCH = {"covid-next": "bitdose.models.covid_next:CovidNext"}  # whose hand-written loop runs eager
THREADS = {"covid-next": CORES}  # of the loops' networks; one where coding keeps the cores busy
PARTS = {
    "handwritten": "hand-written loop",
    "bitdose": "`bitdose study --no-ssim`",
    "layered": "`bitdose study --no-ssim --layered`",
    "uncompiled": "the first, installed without a C compiler",
    "uncompiled-layered": "the second, installed without a C compiler",
    "expert": "expert's loop",
    "search": "`bitdose search`",
    "codec": "floor: coding alone",
    "inference": "floor: inference alone",
    "prepare": "between them: to the network's input",
}
FLOORS = ("codec", "inference")


class Cost(NamedTuple):
    """What one part took once; ``peak`` is 0 where it was not measured."""

    wall_s: float
    cpu_s: float
    peak: int
    rows: int


@dataclass
class Sweep:
    """One network on one grid: where its files are, and what was found."""

    network: str
    grid: str
    points: tuple[str, ...]
    model: Path
    table: Path
    folder: Path
    n: int
    costs: dict[str, list[Cost | None]] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    compared: dict[str, Any] = field(default_factory=dict)
    floors: Floors | None = None

    @property
    def name(self) -> str:
        """Network and grid."""
        return f"{self.network}/{self.grid}"

    @property
    def margin(self) -> str:
        """The search's margin: 0.05, wider where the cases are too few to show that."""
        return f"accuracy={min(0.3, max(0.05, 6 / self.n)):.2f}"

    @property
    def rows(self) -> int:
        """Case-points of the whole grid."""
        return self.n * len(self.points)


def bitdose(sweep: Sweep, out: Path, *more: str) -> list[str]:
    """Give BitDose's command; SSIM off, since the loops measure none, PSNR on."""
    command = [sys.executable, "-m", "bitdose", "study", str(sweep.table), "--model", str(sweep.model)]
    how = ["--points", ",".join(sweep.points), "--color", "grey", "--no-ssim", "--no-report"]
    return [*command, *how, "--out", str(out), *more]


def uncompiled(sweep: Sweep, out: Path, *more: str) -> list[str]:
    """Give BitDose's command as it runs where the loops in C are not there: from a copy without them."""
    copy, package = sweep.folder / "uncompiled", Path(bitdose_package.__file__).parent
    if not copy.exists():
        shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns(LIBRARY, "__pycache__"))
    return ["env", f"PYTHONPATH={copy}", *bitdose(sweep, out, *more)]


def search(sweep: Sweep, out: Path) -> list[str]:
    """Give the search's command."""
    command = [sys.executable, "-m", "bitdose", "search", str(sweep.table), "--model", str(sweep.model)]
    how = ["--points", ",".join(sweep.points), "--color", "grey", "--margin", sweep.margin, "--alpha", ALPHA]
    return [*command, *how, "--json", "--out", str(out)]


def loop(sweep: Sweep, script: str, *more: str) -> list[str]:
    """Give a loop's command."""
    command = [sys.executable, "-W", "ignore", str(HERE / f"{script}_loop.py"), "--table", str(sweep.table)]
    eager = script == "handwritten" and sweep.network in TORCH
    model = sweep.model.with_suffix(".pt") if eager else sweep.model
    how = ["--torch", TORCH[sweep.network]] if eager else []
    threads = ["--threads", str(THREADS.get(sweep.network, 1))]
    out = ["--points", ",".join(sweep.points), "--out", str(sweep.folder / f"{script}.csv")]
    return [*command, "--model", str(model), *how, *threads, *out, *more]


def measure(sweep: Sweep, part: str, repeat: int, args: argparse.Namespace) -> Cost:
    """Run one part once."""
    out = sweep.folder / f"{part}-{repeat}"
    if part in (*FLOORS, "prepare"):
        return floor(sweep, part)
    if part == "search":
        used = run(search(sweep, out), accept=(0, 1))  # 1: nothing could be certified
        try:
            sweep.answer = json.loads(used.said)
            return cost(used, sweep.answer["evaluated"])
        except (ValueError, KeyError):
            raise CommandError("the search ended without an answer") from None
    commands: dict[str, Callable[[], list[str]]] = {
        "handwritten": lambda: loop(sweep, "handwritten"),
        "expert": lambda: loop(sweep, "expert", "--jpeg2000", args.jpeg2000),
        "bitdose": lambda: bitdose(sweep, out),
        "layered": lambda: bitdose(sweep, out, "--layered"),
        "uncompiled": lambda: uncompiled(sweep, out),
        "uncompiled-layered": lambda: uncompiled(sweep, out, "--layered"),
    }
    return cost(run(commands[part]()), sweep.rows)


def cost(used: Used, rows: int) -> Cost:
    """Take what a command used."""
    return Cost(used.wall_s, used.cpu_s, used.pss or used.rss, rows)


def floor(sweep: Sweep, part: str) -> Cost:
    """Measure one floor; the processes stay for the next."""
    if sweep.floors is None:
        sweep.floors = Floors(sweep.table, ",".join(sweep.points), sweep.model, cores=CORES)
    found = getattr(sweep.floors, part)()
    return Cost(found.wall_s, found.cpu_s, 0, sweep.rows)
