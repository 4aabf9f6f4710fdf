"""Which settings make the expert's loop fastest: workers, threads of the network, size of batch.

    python benchmarks/expert_settings.py --table cases.csv --split test --size 1024 --model net.onnx --n 60

Runs every combination as often as ``--repeats`` says, one after the other, on the paper's points, and
prints the median wall time and core-seconds of each, fastest first.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path

from measure import machine, print_table, run, subset, today

CORES = os.cpu_count() or 1


def main() -> None:
    """Read the command line, run the settings, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--size", type=int)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[CORES, CORES + 1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, CORES])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128])
    args = parser.parse_args()
    settings = list(itertools.product(args.workers, args.threads, args.batches))
    took: dict[tuple[int, int, int], list[tuple[float, float]]] = {one: [] for one in settings}
    with tempfile.TemporaryDirectory() as name:
        table = subset(args.table, Path(name), split=args.split, size=args.size, n=args.n)
        script = str(Path(__file__).with_name("expert_loop.py"))
        fixed = ["--table", str(table), "--model", str(args.model), "--out", str(Path(name) / "rows.csv")]
        for _, one in itertools.product(range(args.repeats), settings):
            flags = zip(("--workers", "--threads", "--batch"), map(str, one), strict=True)
            used = run([sys.executable, script, *fixed, *itertools.chain.from_iterable(flags)])
            took[one].append((used.wall_s, used.cpu_s))
            print(f"  {one} {used.wall_s:.1f} s {used.cpu_s:.1f} core-s", file=sys.stderr)
    medians = {
        one: [statistics.median(column) for column in zip(*took[one], strict=True)] for one in settings
    }
    print(f"{machine()}; {today()}; {args.n} cases, the paper's points\n")
    rows = [(*one, f"{wall_s:.1f} s", f"{cpu_s:.1f}") for one, (wall_s, cpu_s) in medians.items()]
    head = ("workers", "threads of the network", "batch", "wall time (median)", "core-seconds")
    print_table(head, sorted(rows, key=lambda row: float(row[3].split()[0])))


if __name__ == "__main__":
    main()
