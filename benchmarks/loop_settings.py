r"""Which settings make a loop fastest: workers, threads of the network, size of batch.

    python benchmarks/loop_settings.py expert --table cases.csv --size 1024 --model net.onnx --n 60
    python benchmarks/loop_settings.py handwritten --table cases.csv --size 1024 --n 20 \
        --model model.pt --torch bitdose.models.covid_next:CovidNext

Runs every combination as often as ``--repeats`` says, one after the other, and prints the median wall
time and core-seconds of each, fastest first. ``networks.py`` makes the drawn networks.
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


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loop", choices=["expert", "handwritten"])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--size", type=int)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--torch", help="as for the loop")
    parser.add_argument("--points", help="as for the loop (default: the paper's)")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[CORES, CORES + 1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, CORES])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128])
    return parser.parse_args()


def main() -> None:
    """Run the settings and print the table."""
    args = parse_args()
    settings = list(itertools.product(args.workers, args.threads, args.batches))
    took: dict[tuple[int, int, int], list[tuple[float, float]]] = {one: [] for one in settings}
    with tempfile.TemporaryDirectory() as name:
        table = subset(args.table, Path(name), split=args.split, size=args.size, n=args.n)
        script = str(Path(__file__).with_name(f"{args.loop}_loop.py"))
        fixed = ["--table", str(table), "--model", str(args.model), "--out", str(Path(name) / "rows.csv")]
        given = {"--torch": args.torch, "--points": args.points}
        fixed += [word for flag, value in given.items() if value for word in (flag, value)]
        for _, one in itertools.product(range(args.repeats), settings):
            flags = zip(("--workers", "--threads", "--batch"), map(str, one), strict=True)
            used = run(
                [sys.executable, "-W", "ignore", script, *fixed, *itertools.chain.from_iterable(flags)]
            )
            took[one].append((used.wall_s, used.cpu_s))
            print(f"  {one} {used.wall_s:.1f} s {used.cpu_s:.1f} core-s", file=sys.stderr)
    medians = {
        one: [statistics.median(column) for column in zip(*took[one], strict=True)] for one in settings
    }
    fastest_first = sorted(medians, key=lambda one: medians[one][0])
    print(f"{args.loop} loop, {args.model.name}, {args.n} cases; {machine()}; {today()}\n")
    head = ("workers", "threads of the network", "batch", "wall time (median)", "core-seconds")
    print_table(head, [(*one, f"{medians[one][0]:.1f} s", f"{medians[one][1]:.1f}") for one in fastest_first])


if __name__ == "__main__":
    main()
