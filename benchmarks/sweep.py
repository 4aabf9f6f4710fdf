"""How near a study comes to the least it can take, and how far it leaves the loops behind.

    python benchmarks/sweep.py --table cases.csv --split test --size 1024 --model cxr_mobilenetv2.onnx
    python benchmarks/sweep.py --table cases.csv --split test --size 1024 --model cxr_mobilenetv2.onnx --quick

For every network and grid, in one run on one machine and as often as ``--repeats`` says, one after
the other: the loop of ``handwritten_loop.py``, BitDose, BitDose with ``--layered``, both once more as
installed without a C compiler (not with ``--quick``), the loop of ``expert_loop.py``, ``bitdose search``
to its certified answer, and the two floors of ``floors.py``. It prints wall time, case-points per second,
core-seconds (user and system time of the process tree) and peak memory as Markdown tables for
``benchmarks/README.md``, says in how many rows the sweeps differ, and ends, with ``--json``, with one line
of JSON:

- ``over_handwritten``, ``over_expert``: the loop's wall time over BitDose's, both for the whole grid;
- ``to_answer``: wall time of the hand-written full grid over that of the search;
- ``of_floor``: BitDose's wall time over the sum of the floors. Coding and inference need the same
  cores, so that their sum over the cores is the limit, and not the larger of them.

Each is the median of the repeats' ratios, for the first network and grid; ``sweeps`` has all. Wall times
run from the start of a process to its end, imports included; the floors' only while they work. The
files are read beforehand, so that all find them in the page cache. When a part fails, the rest goes on,
what needs it is null, ``failed`` says why, and the exit code is 1.

The networks: ``mobilenetv2`` is ``--model``; ``resnet18`` and ``covid-next`` are drawn by ``networks.py``.
All run in onnxruntime, save COVID-Next in the hand-written loop, which is eager PyTorch. With fewer
files than ``--n``, files are repeated under new ids.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from measure import CommandError, machine, print_table, subset, today
from sweep_compare import answers_given, differences, loop_results, run_results, unequal_streams
from sweep_parts import ALPHA, FLOORS, PARTS, Sweep, measure

from bitdose.codecs.grid import expand_points

NETWORKS = ("mobilenetv2", "resnet18", "covid-next")
QUICK_CASES = 20
COMPARED_STREAMS = 3  # cases whose streams are compared byte by byte


class Measurements:
    """Runs parts; a part that fails is said, noted, and not tried again in its sweep."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.failed: dict[str, str] = {}

    def guarded(self, name: str, work: Callable[[], Any]) -> Any:
        """Do one thing; None if it failed, now or before."""
        if name in self.failed:
            return None
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever fails, the other parts still count
            if not isinstance(error, CommandError):
                traceback.print_exc()
            self.failed[name] = f"{type(error).__name__}: {error}"
            print(f"FAILED {name}: {self.failed[name]}", file=sys.stderr)
            return None

    def sweep(self, sweep: Sweep) -> None:
        """Run every part of one sweep, repeat by repeat, and compare what came out."""
        parts = [part for part in PARTS if part not in self.args.skip]
        for repeat in range(self.args.repeats):
            for part in parts:
                name = f"{sweep.name}/{part}"
                found = self.guarded(name, partial(measure, sweep, part, repeat, self.args))
                sweep.costs.setdefault(part, []).append(found)
                if found:
                    print(f"  {name:<34} {found.wall_s:8.1f} s {found.cpu_s:8.1f} core-s", file=sys.stderr)
        if sweep.floors:
            sweep.floors.close()
        for other in ("handwritten", "expert"):
            for mine in ("bitdose", "layered", "uncompiled"):
                if all(any(sweep.costs.get(part, [])) for part in (other, mine)):
                    name = f"{mine} beside {other}"
                    work = partial(compare, sweep, mine, other)
                    sweep.compared[name] = self.guarded(f"{sweep.name}/{name}", work)
        sweep.compared["streams"] = self.guarded(
            f"{sweep.name}/streams",
            lambda: unequal_streams(sweep.table, sweep.points, self.args.jpeg2000, cases=COMPARED_STREAMS),
        )


def compare(sweep: Sweep, mine: str, other: str) -> dict[str, Any]:
    """Compare BitDose's rows with a loop's."""
    rows = run_results(sweep.folder / f"{mine}-0")
    return differences(rows, loop_results(sweep.folder / f"{other}.csv")) | {"answers": answers_given(rows)}


def over(sweep: Sweep, one: str, other: str) -> float | None:
    """Return the median of the repeats' ratios of wall time; None where a part is missing."""
    pairs = zip(sweep.costs.get(one, []), sweep.costs.get(other, []), strict=False)
    ratios = [a.wall_s / b.wall_s for a, b in pairs if a and b]
    return round(statistics.median(ratios), 3) if ratios else None


def over_floors(sweep: Sweep, *parts: str) -> float | None:
    """Return the median of BitDose's wall time over the sum of floors."""
    columns = [sweep.costs.get(part, []) for part in ("bitdose", *parts)]
    ratios = [
        mine.wall_s / sum(one.wall_s for one in rest)
        for mine, *rest in zip(*columns, strict=False)
        if mine and all(rest)
    ]
    return round(statistics.median(ratios), 3) if ratios else None


def figures(sweep: Sweep) -> dict[str, Any]:
    """Return a sweep's ratios."""
    return {
        "over_handwritten": over(sweep, "handwritten", "bitdose"),
        "over_expert": over(sweep, "expert", "bitdose"),
        "to_answer": over(sweep, "handwritten", "search"),
        "of_floor": over_floors(sweep, *FLOORS),
        "of_floor_with_prepare": over_floors(sweep, *FLOORS, "prepare"),
        "uncompiled_over_bitdose": over(sweep, "uncompiled", "bitdose"),
        "layered_over_handwritten": over(sweep, "handwritten", "layered"),
        "layered_over_expert": over(sweep, "expert", "layered"),
        "expert_over_handwritten": over(sweep, "handwritten", "expert"),
    }


def details(sweep: Sweep) -> dict[str, Any]:
    """Return all that was found of one sweep, for the line of JSON."""
    seconds = {
        part: [None if one is None else [round(one.wall_s, 4), round(one.cpu_s, 4)] for one in costs]
        for part, costs in sweep.costs.items()
    }
    found = {key: sweep.answer.get(key) for key in ("certified", "evaluated", "whole_grid")}
    return figures(sweep) | {
        "cases": sweep.n, "points": len(sweep.points), "wall_and_core_seconds": seconds,
        "peak_mb": {part: peak_mb(sweep, part) for part in sweep.costs}, "search": found,
        "batch_of_floor": sweep.floors and sweep.floors.batch, "compared": sweep.compared,
    }  # fmt: skip


def peak_mb(sweep: Sweep, part: str) -> int | None:
    """Return the largest memory of a part over the repeats."""
    return round(max((one.peak for one in sweep.costs.get(part, []) if one), default=0) / 1e6) or None


def show(sweep: Sweep) -> None:
    """Print the tables of one sweep."""
    runs = max(map(len, sweep.costs.values()), default=0)
    size = f"{sweep.n} cases x {len(sweep.points)} points"
    print(f"\n**{sweep.network}, {sweep.grid} grid**: {size}, median of {runs}\n")
    rows = []
    for part, costs in sweep.costs.items():
        done = [one for one in costs if one]
        if not done:
            rows.append([PARTS[part], "failed", "", "", "", ""])
            continue
        wall_s = statistics.median(one.wall_s for one in done)
        cpu_s = statistics.median(one.cpu_s for one in done)
        ratio, peak = over(sweep, part, "bitdose"), peak_mb(sweep, part)
        rate = statistics.median(one.rows / one.wall_s for one in done)
        cells = [f"{wall_s:.1f} s", f"{rate:.1f}", f"{cpu_s:.1f}", f"{peak} MB" if peak else "", ratio or ""]
        rows.append([PARTS[part], *cells])
    head = (
        "what",
        "wall time",
        "case-points/s",
        "core-seconds",
        "peak memory",
        "wall time / BitDose's",
    )
    print_table(head, rows)
    show_differences(sweep)


def show_differences(sweep: Sweep) -> None:
    """Print how much of the rows differs, and what the search found."""
    keys = ("rows", "bytes_differ", "bytes_total_ratio", "answers_differ", "probabilities_differ")
    rows = [
        [name, *(found[key] for key in keys), f"{found['largest_probability_gap']:.2g}"]
        for name, found in sweep.compared.items()
        if found and "rows" in found
    ]
    if rows:
        print()
        print_table(("", *(key.replace("_", " ") for key in keys), "largest probability gap"), rows)
    streams = sweep.compared.get("streams")
    if streams:
        print(
            f"\nOf {streams['streams']} streams, compared byte by byte, "
            f"{streams['handwritten']} differ from the hand-written loop's and {streams['expert']} from the "
            "expert's."
        )
    if sweep.answer:
        found = sweep.answer
        cost = f"{found['evaluated']} of {found['whole_grid']} case-points"
        point = (found.get("certified") or {}).get("point", "no point")
        rule = f"{sweep.margin} at alpha {ALPHA}"
        print(f"The search for {rule} certified {point} after {cost}.")
    ratios = ", ".join(f"{name} {value}" for name, value in figures(sweep).items() if value is not None)
    print(f"Medians of ratios of wall time: {ratios}.")


def points_of(grid: str) -> tuple[str, ...]:
    """Return a grid's points: ``paper``, its JPEG half, or points as ``bitdose study`` takes them."""
    points = expand_points("paper" if grid == "jpeg" else grid)
    return tuple(str(point) for point in points if grid != "jpeg" or point.codec != "jpeg2000")


def prepared(args: argparse.Namespace, network: str, grid: str, folder: Path) -> Sweep:
    """Make the network and the table of one sweep, and bring the files into the page cache."""
    n = min(args.n, QUICK_CASES) if args.quick else args.n
    table = subset(args.table, folder, split=args.split, size=args.size, n=n)
    model = args.model
    if network != "mobilenetv2":
        import networks

        model = folder / network / "model.onnx"
        if not model.exists():
            networks.make(network, table, model.parent)
    for row in table.read_text().splitlines()[1:]:
        Path(row.split(",")[1]).read_bytes()
    points = points_of(grid)
    name = grid if grid in ("paper", "jpeg") else f"{len(points)} points"
    own = Path(tempfile.mkdtemp(prefix=f"{network}-", dir=folder))
    return Sweep(network, name, points, model, table, own, n)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True, help="CSV: path, label, split, width, height")
    parser.add_argument("--split", help="only the cases of this split")
    parser.add_argument("--size", type=int, help="only sources of this width and height")
    parser.add_argument(
        "--model", type=Path, required=True, help="the MobileNetV2, an ONNX file with sidecar"
    )
    parser.add_argument("--n", type=int, default=300, help="cases (default: 300)")
    parser.add_argument("--repeats", type=int, default=3, help="(default: 3)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--grids", nargs="+", default=["paper", "jpeg"], help="paper, jpeg, or points")
    parser.add_argument("--skip", nargs="+", choices=list(PARTS), default=[], help="parts to leave out")
    parser.add_argument(
        "--jpeg2000", choices=["pillow", "opencv"], default="pillow", help="the expert's encoder"
    )
    parser.add_argument("--quick", action="store_true", help="few cases, the first network, the first grid")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    args = parser.parse_args()
    if args.quick:
        args.networks, args.grids = args.networks[:1], args.grids[:1]
        args.skip = [*args.skip, "uncompiled", "uncompiled-layered"]
    return args


def main() -> None:
    """Run every sweep, print its tables, end with the line of JSON."""
    args = parse_args()
    measured, sweeps = Measurements(args), []
    print(f"{machine()}; {today()}; the parts of a sweep interleaved")
    with tempfile.TemporaryDirectory() as name:
        for network in args.networks:
            for grid in args.grids:
                sweep = measured.guarded(
                    f"{network}/{grid}", lambda n=network, g=grid: prepared(args, n, g, Path(name))
                )
                if sweep:
                    sweeps.append(sweep)
                    measured.sweep(sweep)
                    show(sweep)
    for what, why in measured.failed.items():
        print(f"\nFAILED {what}: {why}")
    if args.json:
        first = (
            figures(sweeps[0])
            if sweeps
            else dict.fromkeys(("over_handwritten", "over_expert", "to_answer", "of_floor"))
        )
        whole = {sweep.name: details(sweep) for sweep in sweeps}
        about = {"machine": machine(), "date": today(), "repeats": args.repeats, "quick": args.quick}
        print(json.dumps({"what": "sweep", **first, **about, "failed": measured.failed, "sweeps": whole}))
    sys.exit(1 if measured.failed else 0)


if __name__ == "__main__":
    main()
