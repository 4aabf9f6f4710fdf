"""Ray beside the local engine on one machine, and what that makes for a million X-rays on a hundred.

    python benchmarks/scale.py speed --table cases.csv --split test --size 1024 --model net.onnx --out x.json
    python benchmarks/scale.py scale --measured x.json --machines 100 --cores 16 --price 0.04

``speed`` runs the command line with both engines and with 1 and 2 workers, interleaved, each once on few
cases and once on many, as often as ``--repeats`` says. Few cases show the start-up; what the further cases
take is the *time beyond start-up*, for both engines alike. Memory is the largest sum of resident sets over
the process tree, Ray's own processes included. Both engines' rows are compared; a difference ends the
benchmark. ``driver`` is the processor time, per case, of the process that gives out cases and writes rows:
what bounds how many machines it can feed. It is taken on 400 thumbnails at 50 JPEG points, so that
cases come fast and what Ray does per second weighs little.

``scale`` computes from those figures alone: core-seconds and bytes per case times cases, over machines.
What is assumed and not measured is named as such. With ``--write`` both put their tables into
``docs/scale.md``.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import polars as pl
import psutil
from measure import machine, subset
from study import study

from bitdose.data.phantoms import write_phantoms
from bitdose.study.plan import make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
SAMPLE_S = 0.1
WORKERS = (1, 2)
ENGINES = ("local", "ray")
THUMBNAILS, WARM = 400, 20
CLOCK = ("encode_ms", "decode_ms")


def run(command: list[str]) -> dict[str, float]:
    """Run a command to its end: wall seconds and peak bytes of its process tree."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        total = 0
        try:
            members = [process, *process.children(recursive=True)]
        except psutil.Error:
            members = []
        for member in members:
            try:
                total += member.memory_info().rss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"failed with code {process.returncode}: {' '.join(command)}")
    return {"wall_s": time.perf_counter() - started, "peak_bytes": peak}


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """Interleave engines, numbers of workers and of cases; report medians."""
    found: dict[tuple[str, int, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = {
            n: subset(args.table, folder, split=args.split, size=args.size, n=n)
            for n in (args.few, args.few + args.cases)
        }
        for repeat, workers, (n, table), engine in product(
            range(args.repeats), WORKERS, tables.items(), ENGINES
        ):
            out = folder / f"{engine}-{workers}-{n}"
            more = ("--points", args.points, "--workers", f"{workers}", "--engine", engine)
            one = run(study(table, args.model, out / f"{repeat}", *more))
            found.setdefault((engine, workers, n), []).append(one)
            print(f"  {engine:<6} {workers} workers {n:5d} cases {one['wall_s']:7.1f} s", file=sys.stderr)
        compare(*(folder / f"{engine}-2-{max(tables)}" / "0" for engine in ENGINES))
        last = pl.read_parquet(folder / f"ray-2-{max(tables)}" / "0" / "results" / "*.parquet")
        parts = (folder / f"ray-2-{max(tables)}" / "0" / "results").glob("*.parquet")
        bytes_out = sum(part.stat().st_size for part in parts) / max(tables)
        driver = driver_ms(folder)
        bytes_in = last.unique("case_id")["bytes_file"].mean()
    few, many = sorted(tables)
    figures = {
        f"{engine}-{workers}": figure(found[engine, workers, few], found[engine, workers, many])
        for engine in ENGINES
        for workers in WORKERS
    }
    return {
        "cases": args.cases, "few": args.few, "points": last["point"].n_unique(), "repeats": args.repeats,
        "bytes_in_per_case": round(bytes_in), "bytes_out_per_case": round(bytes_out),
        "driver_ms_per_case": round(driver, 2),
        "ray_over_local": {
            workers: round(figures[f"ray-{workers}"]["beyond_s"] / figures[f"local-{workers}"]["beyond_s"], 3)
            for workers in WORKERS
        },
        **figures,
    }  # fmt: skip


def figure(few: list[dict[str, float]], many: list[dict[str, float]]) -> dict[str, float]:
    """Give one engine's medians: start-up, what the further cases took, memory."""
    pairs = list(zip(few, many, strict=True))
    beyond = statistics.median(b["wall_s"] - a["wall_s"] for a, b in pairs)
    return {
        "few_s": round(statistics.median(a["wall_s"] for a in few), 2),
        "beyond_s": round(beyond, 2),
        "peak_mb": round(max(b["peak_bytes"] for b in many) / 1e6),
    }


def driver_ms(folder: Path) -> float:
    """Run thumbnails with Ray and two workers from this process; processor ms per case, start-up apart."""
    pristine = write_phantoms(folder / "phantoms", n_per_class=4, seed=1)
    for path in pristine.rglob("*.png"):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path), 0), (64, 64), interpolation=cv2.INTER_AREA))
    files = sorted(pristine.rglob("*.png"))
    table = folder / "thumbnails.csv"
    lines = [f"{n},{files[n % len(files)]},{files[n % len(files)].parent.name}" for n in range(THUMBNAILS)]
    table.write_text("\n".join(["id,path,label", *lines]) + "\n")
    spec = StudySpec(str(table), "phantom", points=("jpeg:q2..98/2",), ssim=False, engine="ray")
    taken: list[float] = []
    run_study(
        make_plan(spec), folder / "thumbnails", workers=2, watch=lambda _: taken.append(time.process_time())
    )
    return 1e3 * (taken[-1] - taken[WARM]) / (THUMBNAILS - WARM - 1)


def compare(local: Path, ray: Path) -> None:
    """End the benchmark if the engines' rows differ in anything but the clock."""
    tables = [pl.read_parquet(run / "results" / "*.parquet").drop(CLOCK) for run in (local, ray)]
    a, b = (table.sort("case_id", "point") for table in tables)
    if not a.equals(b.select(a.columns)):
        raise SystemExit("the engines' rows differ")


def speed_table(found: dict[str, Any]) -> str:
    """Write the measured figures as Markdown."""
    head = (
        f"| engine | workers | {found['few']} cases, start-up included | {found['cases']} further cases "
        "| of the local engine's | peak memory |"
    )
    lines = [head, "|---|---|---|---|---|---|"]
    for engine, workers in product(ENGINES, WORKERS):
        one, ratio = found[f"{engine}-{workers}"], found["ray_over_local"]
        share = "1" if engine == "local" else f"{ratio.get(workers) or ratio[str(workers)]:.2f}"
        lines.append(
            f"| {engine} | {workers} | {one['few_s']} s | {one['beyond_s']} s | {share} "
            f"| {one['peak_mb']} MB |"
        )
    gains = [
        f"{engine} {found[f'{engine}-1']['beyond_s'] / found[f'{engine}-2']['beyond_s']:.2f}x"
        for engine in ENGINES
    ]
    driver = f"The driver takes {found['driver_ms_per_case']} ms of processor per case."
    lines += ["", f"Two workers over one: {', '.join(gains)}. {driver}"]
    lines += [f"{found['points']} points, {found['machine']}, medians of {found['repeats']} runs."]
    return "\n".join(lines)


def scale(args: argparse.Namespace) -> dict[str, Any]:
    """Compute a large study's time, cost and bytes from what ``speed`` measured."""
    found = json.loads(args.measured.read_text(encoding="utf-8"))
    two = found["ray-2"]
    core_s = two["beyond_s"] * 2 / found["cases"]
    cores = args.machines * args.cores
    seconds = args.cases * core_s / cores
    rate = args.cases / seconds
    return {
        "cases": args.cases, "case_points": args.cases * found["points"], "machines": args.machines,
        "cores": cores, "core_s_per_case": round(core_s, 3),
        "core_hours": round(args.cases * core_s / 3600, 1), "hours": round(seconds / 3600, 2),
        "cost": round(args.cases * core_s / 3600 * args.price, 2), "price_per_core_hour": args.price,
        "tb_read": round(args.cases * found["bytes_in_per_case"] / 1e12, 3),
        "gb_per_s_read": round(rate * found["bytes_in_per_case"] / 1e9, 2),
        "gb_results": round(args.cases * found["bytes_out_per_case"] / 1e9, 2),
        "cases_per_s": round(rate),
        "driver_cores": round(rate * found["driver_ms_per_case"] / 1e3, 2),
        "machines_per_driver": int(1e3 / found["driver_ms_per_case"] * core_s / args.cores),
        "measured_on": found["machine"],
    }  # fmt: skip


def scale_table(found: dict[str, Any]) -> str:
    """Write the computed figures as Markdown, each with where it comes from."""
    rows = [
        ("cases, case-points", f"{found['cases']:,}, {found['case_points']:,}", "asked"),
        ("machines, cores", f"{found['machines']}, {found['cores']:,}", "asked"),
        ("core-seconds per case", found["core_s_per_case"], "measured: Ray, 2 workers, both cores"),
        ("core-hours", f"{found['core_hours']:,}", "cases x core-seconds / 3600"),
        ("wall time", f"{found['hours']} h", "core-hours / cores; start-up and the last cases left out"),
        (
            "cost",
            f"{found['cost']:,}",
            f"core-hours x {found['price_per_core_hour']} per core-hour, an assumption",
        ),
        (
            "read",
            f"{found['tb_read']} TB, {found['gb_per_s_read']} GB/s",
            "cases x measured size of a source",
        ),
        ("results", f"{found['gb_results']} GB", "cases x measured Parquet bytes"),
        (
            "finished",
            f"{found['cases_per_s']:,} cases/s",
            f"the driver's share of that: {found['driver_cores']} cores",
        ),
        ("one driver feeds", f"{found['machines_per_driver']} such machines", "its measured time per case"),
    ]
    lines = ["| what | how much | from |", "|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([*lines, "", f"Measured on: {found['measured_on']}."])


def write(what: str, table: str) -> None:
    """Put a table between its two marks in the page."""
    begin, end = f"<!-- {what}: begin -->", f"<!-- {what}: end -->"
    text = PAGE.read_text(encoding="utf-8")
    new = re.sub(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL
    )
    PAGE.write_text(new, encoding="utf-8")


def main() -> None:
    """Read the command line and run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/scale.md")
    commands = parser.add_subparsers(dest="what", required=True)
    measure = commands.add_parser("speed")
    measure.add_argument("--table", type=Path, required=True)
    measure.add_argument("--split")
    measure.add_argument("--model", type=Path, required=True)
    measure.add_argument("--size", type=int)
    measure.add_argument("--points", default="paper")
    measure.add_argument("--few", type=int, default=4)
    measure.add_argument("--cases", type=int, default=120)
    measure.add_argument("--repeats", type=int, default=3)
    measure.add_argument("--out", type=Path, help="keep the figures, for 'scale'")
    measure.set_defaults(limit=None)
    compute = commands.add_parser("scale")
    compute.add_argument("--measured", type=Path, required=True)
    compute.add_argument("--cases", type=int, default=1_000_000)
    compute.add_argument("--machines", type=int, default=100)
    compute.add_argument("--cores", type=int, default=16, help="of a machine")
    compute.add_argument("--price", type=float, default=0.04, help="of a core-hour, an assumption")
    args = parser.parse_args()
    found = {"speed": speed, "scale": scale}[args.what](args)
    if args.what == "speed":
        found = {"machine": machine()} | found
        if args.out:
            args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    table = {"speed": speed_table, "scale": scale_table}[args.what](found)
    print(table)
    if args.write:
        write(args.what, table)
    print(json.dumps({"what": args.what} | found))


if __name__ == "__main__":
    main()
