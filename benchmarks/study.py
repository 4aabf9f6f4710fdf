"""How much memory a study takes, and how quickly BitDose starts; how fast it is, ``sweep.py`` says.

    python benchmarks/study.py memory --table cases.csv --split test --model model.onnx --size 1024
    python benchmarks/study.py start

``memory`` runs BitDose on 300 and on 3,000 cases (the files again and again under new ids) with a
small grid, and on 300 with the paper's. Memory is the largest sum of resident sets over the
process tree. ``start`` times ``import bitdose`` and ``bitdose --help``.

Each prints a Markdown table for ``benchmarks/README.md`` and a last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import machine, print_table, run, subset, today

SMALL_GRID = "jpeg:q50@256,jpeg2000:10x@256"


def study(table: Path, model: Path, out: Path, *more: str) -> list[str]:
    """Give BitDose's command; SSIM off."""
    command = [sys.executable, "-m", "bitdose", "study", str(table), "--model", str(model)]
    return [*command, "--color", "grey", "--no-ssim", "--no-report", "--out", str(out), *more]


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Peak memory with two workers."""
    answer, rows = {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count, points in ((300, "paper"), (300, SMALL_GRID), (3000, SMALL_GRID)):
            table = subset(args.table, folder, split=args.split, size=args.size, n=count)
            more = ("--points", points, "--workers", "2")
            used = run(study(table, args.model, folder / f"{count}-{len(points)}", *more))
            grid = "paper" if points == "paper" else "3 points"
            answer[f"{count} cases, {grid}"] = round(used.rss / 1e6)
            rows.append((f"{count}", grid, f"{used.rss / 1e6:.0f} MB", f"{used.wall_s:.0f} s"))
            print(f"  {rows[-1]}", file=sys.stderr)
    print_table(("cases", "grid", "peak memory", "wall time"), rows)
    return answer


def start(_: argparse.Namespace) -> dict[str, Any]:
    """Time the import and the help, each as a fresh process less the interpreter's own start."""

    def median_s(*arguments: str) -> float:
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    bare = median_s("-c", "pass")
    answer = {
        "import_s": round(median_s("-c", "import bitdose") - bare, 3),
        "help_s": round(median_s("-m", "bitdose", "--help"), 3),
    }
    print_table(("what", "seconds"), list(answer.items()))
    return answer


def main() -> None:
    """Read the command line and run one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["memory", "start"])
    parser.add_argument("--table", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--size", type=int)
    args = parser.parse_args()
    if args.what != "start" and not (args.table and args.model):
        parser.error("--table and --model are needed")
    answer = {"memory": memory, "start": start}[args.what](args)
    print(json.dumps({"what": args.what, "machine": machine(), "date": today()} | answer))


if __name__ == "__main__":
    main()
