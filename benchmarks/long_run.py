"""Whether a long run keeps its memory, goes on quickly after a kill, and can be read in seconds.

    python benchmarks/long_run.py run --cases 20000
    python benchmarks/long_run.py rows --cases 20000
    python benchmarks/long_run.py rows --cases 20000 --cases-per-patient 2

``run`` studies small drawn phantoms at four points with the shipped classifier and two workers: once
undisturbed, once killed at half the cases and resumed. It prints the peak memory of the parent and of the
workers in the first and in the last tenth of the undisturbed run, the seconds from the start of the process
to its first new case on the disk for a fresh and for the resumed run, and whether the rows of both are the
same.

``rows`` writes the run folder of a study of 50 points that nobody ran (its answers are drawn at random) and
times ``bitdose report`` and ``bitdose decide`` on it, as processes, with their processor time and their peak
memory: images, bootstrap and report as by default. ``--cases-per-patient`` makes patients of several cases.

Each prints a Markdown table for ``benchmarks/README.md`` and a last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from long_run_data import CASES_PER_PART, made_up_run, small_cases
from measure import machine, print_table, today
from measure import run as run_command

from bitdose.results.table import PARTS
from bitdose.study.store import JOURNAL, read_run

POINTS = "jpeg:q50,jpeg:q10,jpeg2000:10x"
WATCH_S, POLL_S = 0.25, 0.01
TIMES = ["encode_ms", "decode_ms"]
SEVEN = "accuracy=0.1 sensitivity[nodules]=0.1 macro_f1=0.1 auroc=0.1 brier=0.2 ece=0.2 harmful_flips=0.2"
COMMANDS = {
    "report": ["report"],
    "report, no images": ["report", "--no-images"],
    "decide, one margin": ["decide", "--margin", "accuracy=0.05"],
    "decide, one margin, no report": ["decide", "--margin", "accuracy=0.05", "--no-report"],
    "decide, seven margins": ["decide", *(word for margin in SEVEN.split() for word in ("--margin", margin))],
}


class Sample(NamedTuple):
    """Resident bytes of the parent and of all its workers, at one time."""

    at_s: float
    parent: int
    workers: int


def watched(process: psutil.Process, *, stop_at: int, parts: Path) -> list[Sample]:
    """Sample a study's memory until it ends, or kill it once so many cases stand in its parts."""
    started, samples = time.perf_counter(), []
    while process.poll() is None:
        try:
            own = process.memory_info().rss
            theirs = sum(child.memory_info().rss for child in process.children(recursive=True))
            samples.append(Sample(time.perf_counter() - started, own, theirs))
        except psutil.Error:
            pass
        if stop_at and len(list(parts.glob("*.parquet"))) * CASES_PER_PART >= stop_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return samples
        time.sleep(WATCH_S)
    if process.returncode:
        raise SystemExit(f"the study failed with code {process.returncode}")
    return samples


def study(table: Path, out: Path, *more: str) -> psutil.Popen:
    """Start a study of the small cases."""
    command = [sys.executable, "-m", "bitdose", "study", str(table), "--model", "phantom", "--points", POINTS]
    command += ["--no-report", "--workers", "2", "--out", str(out), *more]
    return psutil.Popen(command, stdout=subprocess.DEVNULL)


def first_case_s(process: psutil.Process, journal: Path) -> float:
    """Wait until a study just started has a whole new line in its journal; seconds since its start."""
    known = _whole_lines(journal)
    while _whole_lines(journal) <= known:
        if process.poll() is not None:
            raise SystemExit(f"the study ended with code {process.returncode} before its first case")
        time.sleep(POLL_S)
    return time.time() - process.create_time()


def _whole_lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Watch one run undisturbed, and one killed at half and resumed."""
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        table = small_cases(folder, args.cases)
        journals = {kind: folder / kind / PARTS / JOURNAL for kind in ("whole", "killed")}
        began = time.perf_counter()
        process = study(table, folder / "whole")
        fresh = first_case_s(process, journals["whole"])
        samples = watched(process, stop_at=0, parts=journals["whole"].parent)
        whole_s = time.perf_counter() - began
        watched(study(table, folder / "killed"), stop_at=args.cases // 2, parts=journals["killed"].parent)
        left = read_run(folder / "killed")["case_id"].n_unique()
        process = study(table, folder / "killed", "--resume")
        resumed = first_case_s(process, journals["killed"])
        watched(process, stop_at=0, parts=journals["killed"].parent)
        rows = [read_run(folder / kind).drop(TIMES) for kind in journals]
    answer = {
        "cases": args.cases, "seconds": round(whole_s, 1), "killed_at": left,
        "fresh_first_case_s": round(fresh, 2), "resumed_first_case_s": round(resumed, 2),
        "resume_costs_s": round(resumed - fresh, 2), "rows": len(rows[0]),
        "rows_equal": rows[0].equals(rows[1]), **tenths(samples),
    }  # fmt: skip
    print_table(("what", "value"), list(answer.items()))
    return answer


def tenths(samples: list[Sample]) -> dict[str, int]:
    """Peak memory in the first and in the last tenth of a run, in MB."""
    end = samples[-1].at_s
    first, last = [s for s in samples if s.at_s <= end / 10], [s for s in samples if s.at_s >= 0.9 * end]
    parts = {"first": first, "last": last}
    return {
        f"{who}_{tenth}_tenth_mb": round(max(getattr(s, who) for s in some) / 1e6)
        for tenth, some in parts.items()
        for who in ("parent", "workers")
    }


def rows(args: argparse.Namespace) -> dict[str, Any]:
    """Time report and decide on a table of cases x 50 points."""
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        began = time.perf_counter()
        made = made_up_run(Path(name), args.cases, cases_per_patient=args.cases_per_patient)
        table = read_run(made)
        print(f"  {len(table)} rows written in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        answer: dict[str, Any] = {"rows": len(table), "cases_per_patient": args.cases_per_patient}
        shown = []
        del table
        for label, words in COMMANDS.items():
            if args.only and args.only not in label:
                continue
            command = [sys.executable, "-m", "bitdose", words[0], str(made), *words[1:], "--json"]
            more = ["--key", str(Path(name) / "key.pem")] if words[0] == "decide" else []
            used = run_command([*command, *more])
            took = {"seconds": round(used.wall_s, 1), "cpu_s": round(used.cpu_s, 1)}
            answer[label] = {**took, "peak_mb": round(used.rss / 1e6)}
            shown.append((label, *(f"{value} s" for value in took.values()), f"{used.rss / 1e6:.0f} MB"))
            print(f"  {shown[-1]}", file=sys.stderr)
        answer["report_kb"] = round((made / "report.html").stat().st_size / 1e3)
    print_table(("command", "wall time", "processor time", "peak memory"), shown)
    return answer


def main() -> None:
    """Read the command line and run one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "rows"])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--cases-per-patient", type=int, default=1)
    parser.add_argument("--only", default="", help="of 'rows': the commands whose name holds this")
    parser.add_argument("--folder", type=Path, help="where to write for the time being")
    args = parser.parse_args()
    answer = {"run": run, "rows": rows}[args.what](args)
    print(json.dumps({"what": args.what, "machine": machine(), "date": today()} | answer))


if __name__ == "__main__":
    main()
