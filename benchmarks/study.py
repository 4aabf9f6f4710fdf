"""How fast a study is beside the hand-written loop, how much memory it takes, how quickly it starts.

    python benchmarks/study.py speed --table cases.csv --split test --model model.onnx --size 1024
    python benchmarks/study.py memory --table cases.csv --split test --model model.onnx --size 1024
    python benchmarks/study.py start

``speed`` runs the loop, BitDose and BitDose with ``--exact`` one after the other, as often as
``--repeats`` says, on the same files in the same session, and prints the median of the ratios of
wall time; it compares the bytes and the answers of every (case, point) and says how many differ.
``memory`` runs BitDose on 300 and on 3,000 cases (the files again and again under new ids) with a
small grid, and on 300 with the paper's. Memory is the largest sum of resident sets over the
process tree. ``start`` times ``import bitdose`` and ``bitdose --help``.

Each prints a Markdown table for ``benchmarks/README.md`` and a last line of JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psutil

HERE = Path(__file__).parent
SMALL_GRID = "jpeg:q50@256,jpeg2000:10x@256"
SAMPLE_S = 0.2


def measured(command: list[str]) -> tuple[float, int]:
    """Run a command to its end; wall seconds and peak resident bytes of its process tree."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        total = 0
        for member in [process, *_children(process)]:
            try:
                total += member.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"failed with code {process.returncode}: {' '.join(command)}")
    return time.perf_counter() - started, peak


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def subset(args: argparse.Namespace, folder: Path, *, n: int | None = None) -> Path:
    """Write a table of the cases of one size with absolute paths; ``n`` repeats them under new ids."""
    with args.table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not args.split or row["split"] == args.split]
    side = str(args.size)
    rows = [row for row in rows if not args.size or (row["width"], row["height"]) == (side, side)]
    rows = rows[: args.limit] if args.limit else rows
    count = n or len(rows)
    table = folder / f"cases-{count}.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "label", "width", "height"])
        for index in range(count):
            row = rows[index % len(rows)]
            path = (args.table.parent / row["path"]).resolve()
            writer.writerow([f"{index}", path, row["label"], row["width"], row["height"]])
    return table


def study(table: Path, model: Path, out: Path, *more: str) -> list[str]:
    """Give BitDose's command; SSIM off, since the loop measures none, PSNR on."""
    command = [sys.executable, "-m", "bitdose", "study", str(table), "--model", str(model)]
    return [*command, "--color", "grey", "--no-ssim", "--no-report", "--out", str(out), *more]


def loop(table: Path, model: Path, out: Path) -> list[str]:
    """Give the hand-written loop's command."""
    script = str(HERE / "handwritten_loop.py")
    return [
        sys.executable,
        "-W",
        "ignore",
        script,
        "--table",
        str(table),
        "--model",
        str(model),
        "--out",
        str(out),
    ]


def compare(loop_csv: Path, run: Path) -> dict[str, Any]:
    """Count the (case, point)s whose bytes or answers differ, pristine bytes left out."""
    mine = pl.read_parquet(run / "results" / "*.parquet")
    theirs = pl.read_csv(loop_csv)
    ids = pl.int_range(pl.len()).over("point").cast(pl.String)
    both = mine.join(theirs.with_columns(ids.alias("case_id")), on=["case_id", "point"], suffix="_loop")
    coded = both.filter(pl.col("point") != "pristine")
    names = [name for name in mine.columns if name.startswith("p_")]
    gaps = [(both[name] - both[f"{name}_loop"]).abs().max() for name in names]
    return {
        "rows": len(both),
        "bytes_differ": int((coded["bytes_coded"] != coded["bytes_coded_loop"]).sum()),
        "answers_differ": int((both["predicted"] != both["predicted_loop"]).sum()),
        "largest_probability_gap": float(max(gaps)),
        "bytes_total_ratio": float(coded["bytes_coded"].sum() / coded["bytes_coded_loop"].sum()),
    }


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """Interleave the three; report medians of ratios."""
    found: dict[str, list[float]] = {"loop": [], "bitdose": [], "exact": [], "with_ssim": []}
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = subset(args, folder)
        for repeat in range(args.repeats):
            commands = {
                "loop": loop(table, args.model, folder / "loop.csv"),
                "bitdose": study(table, args.model, folder / f"default-{repeat}"),
                "exact": study(table, args.model, folder / f"exact-{repeat}", "--exact"),
                "with_ssim": [
                    w for w in study(table, args.model, folder / f"ssim-{repeat}") if w != "--no-ssim"
                ],
            }
            for kind, command in commands.items():
                seconds, peak = measured(command)
                found[kind].append(seconds)
                memory[kind] = max(memory.get(kind, 0), peak)
                print(f"  {kind:<10} {seconds:7.1f} s  {peak / 1e6:6.0f} MB", file=sys.stderr)
        answer: dict[str, Any] = {
            "cases": len(table.read_text().splitlines()) - 1,
            "exact_differs": compare(folder / "loop.csv", folder / "exact-0"),
            "default_differs": compare(folder / "loop.csv", folder / "default-0"),
        }
    for kind in ("bitdose", "exact", "with_ssim"):
        ratios = [a / b for a, b in zip(found["loop"], found[kind], strict=True)]
        answer[f"loop_over_{kind}"] = round(statistics.median(ratios), 2)
    answer["seconds"] = {kind: round(statistics.median(values), 1) for kind, values in found.items()}
    answer["peak_mb"] = {kind: round(peak / 1e6) for kind, peak in memory.items()}
    rows = [(k, f"{answer['seconds'][k]} s", f"{answer['peak_mb'][k]} MB") for k in found]
    print_table(("what", "wall time (median)", "peak memory"), rows)
    return answer


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Peak memory with two workers."""
    answer, rows = {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count, points in ((300, "paper"), (300, SMALL_GRID), (3000, SMALL_GRID)):
            table = subset(args, folder, n=count)
            more = ("--points", points, "--workers", "2")
            seconds, peak = measured(study(table, args.model, folder / f"{count}-{len(points)}", *more))
            grid = "paper" if points == "paper" else "3 points"
            answer[f"{count} cases, {grid}"] = round(peak / 1e6)
            rows.append((f"{count}", grid, f"{peak / 1e6:.0f} MB", f"{seconds:.0f} s"))
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


def machine() -> str:
    """Name the processor, cores and date."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}"
    )


def print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print a Markdown table."""
    for row in (head, tuple("---" for _ in head), *rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def main() -> None:
    """Read the command line and run one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "memory", "start"])
    parser.add_argument("--table", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--size", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.what != "start" and not (args.table and args.model):
        parser.error("--table and --model are needed")
    answer = {"speed": speed, "memory": memory, "start": start}[args.what](args)
    print(json.dumps({"what": args.what, "machine": machine()} | answer))


if __name__ == "__main__":
    main()
