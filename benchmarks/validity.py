"""Does a decision keep what it promises, and does an interval hold the truth.

    nice -n 19 python benchmarks/validity.py         # all: half an hour on two cores; prints Markdown
    python benchmarks/validity.py --quick            # a twentieth of the studies: two minutes
    python benchmarks/validity.py decisions --only clustered --studies 2000 --json
    python benchmarks/validity.py --docs 2026-11-22  # puts the tables into docs/validation.md

- ``exact``: every outcome of n paired cases, weighted by its probability: the largest chance of passing
  at the margin, no simulation.
- ``decisions``: studies drawn from populations whose true losses are known, each decided by the function
  behind ``bitdose decide``. *At the margin*: the first point of every chain loses exactly the margin, the
  others more. *Mixed*: no loss, a third of the margin, the margin, half as much again. One scenario goes
  through results tables; in all others the arrays are handed over in place of the table that they would
  be read from. Exit code 1 if a violation is more frequent than alpha, chance allowed for.
- ``intervals``: how often a 95 % interval holds the truth.

``--from FILE`` takes what ``--json`` printed before in place of running. Every study's seed is a hash of
its scenario's name and its number.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: every process has one core
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from validity_exact import exact_sizes
from validity_intervals import SETTINGS, coverage
from validity_populations import CHAINS, strength_at, to_table
from validity_scenarios import SCENARIOS, Scenario

from bitdose.decision.decide import decide
from bitdose.hashing import rng_for
from bitdose.results.predictions import Cohort
from bitdose.rule.rule import Rule
from bitdose.stats.proportions import wilson

STUDIES = 10_000
DOCS = Path(__file__).resolve().parents[1] / "docs" / "validation.md"
MARKS = "<!-- made by benchmarks/validity.py -->", "<!-- end of what is made -->"
CHUNK = 125
AT_MARGIN = (1.0, 1.25, 1.5)
MIXED = (0.0, 1 / 3, 1.0, 1.5)
SELECT, CONFIRM = "calibration", "test"


@dataclass(frozen=True)
class Chunk:
    """Some studies of a scenario, and what came of them."""

    scenario: str
    levels: tuple[float, ...]
    number: int
    studies: int
    violating: int = 0
    harmless: int = 0
    third: int = 0


class Ready:
    """Arrays that stand for a results table: what ``make_cohort`` would read from it, split by split."""

    def __init__(self, cohorts: Mapping[str, Cohort]) -> None:
        self.cohorts = cohorts

    def __getitem__(self, column: str) -> list[str]:
        return ["simulated"]


def keep_answers() -> None:
    """Let ``decide`` take ready arrays, and keep the answers of pure functions that few arguments reach."""
    module = import_module("bitdose.decision.decide")
    losses = import_module("bitdose.decision.margin_tests")
    read = module.make_cohort
    module.make_cohort = lambda table, split: (
        table.cohorts[split] if isinstance(table, Ready) else read(table, split)
    )
    for place, name in ((losses, "paired_loss_test"), (losses, "rate_test"), (module, "cases_needed")):
        setattr(place, name, functools.lru_cache(maxsize=None)(getattr(place, name)))


def run_chunk(chunk: Chunk) -> Chunk:
    """Draw and decide the studies of a chunk."""
    scenario = SCENARIOS[chunk.scenario]
    strengths = np.array(
        [strength_at(scenario.population, scenario.margins, level) for level in chunk.levels]
    )
    everywhere = np.tile(strengths, (scenario.chains, 1))
    counts = {"violating": 0, "harmless": 0, "third": 0}
    for study in range(chunk.studies):
        rng = rng_for("validity", chunk.scenario, len(chunk.levels), chunk.number, study)
        step = certified_step(scenario, everywhere, rng)
        if step is None:
            continue
        violates = loses_too_much(scenario, float(strengths[step]))
        counts["violating" if violates else "harmless"] += 1
        counts["third"] += not violates and chunk.levels[step] > 0
    return replace(chunk, **counts)


def certified_step(scenario: Scenario, strengths: np.ndarray, rng: np.random.Generator) -> int | None:
    """Draw one study and decide it; return the certified point's place in its chain."""
    names = (SELECT, CONFIRM) if scenario.protocol == "split" else ("",)
    cohorts = {name: scenario.population.draw(strengths, rng, prefix=name) for name in names}
    rule = Rule(
        scenario.margins,
        scenario.alpha,
        order=CHAINS[: scenario.chains] if scenario.protocol == "order" else (),
        select=names[0] if len(names) > 1 else "",
        confirm=names[1] if len(names) > 1 else "",
    )
    table = to_table(cohorts) if scenario.tables else Ready(cohorts)
    found = decide(table, rule, seed=int(rng.integers(2**40))).certified
    if found is None:
        return None
    rows = cohorts[names[-1]].points[found.point]
    return int(rows.strength)


def loses_too_much(scenario: Scenario, strength: float) -> bool:
    """Say whether a true loss is a margin or more."""
    losses = ((scenario.population.loss(margin, strength), margin.limit) for margin in scenario.margins)
    return any(loss >= limit * (1 - 1e-9) for loss, limit in losses)


def chunks_of(scenarios: Iterable[str], studies: int) -> list[Chunk]:
    """Cut the studies of all scenarios up: all at the margin, a quarter of as many mixed."""
    return [
        Chunk(name, levels, number, CHUNK)
        for name in scenarios
        for levels, count in ((AT_MARGIN, studies), (MIXED, studies // 4))
        for number in range(max(1, count // CHUNK))
    ]


def decisions(pool: Any, only: str, studies: int) -> list[dict[str, Any]]:
    """Run all scenarios, or those whose name holds a word."""
    names = [name for name in SCENARIOS if only in name]
    done = list(pool.imap_unordered(run_chunk, chunks_of(names, studies)))
    return [_scenario_row(name, [chunk for chunk in done if chunk.scenario == name]) for name in names]


def _scenario_row(name: str, chunks: list[Chunk]) -> dict[str, Any]:
    scenario = SCENARIOS[name]
    margin, mixed = (_totals(chunks, levels) for levels in (AT_MARGIN, MIXED))
    interval = wilson(margin["violating"], margin["studies"])
    return {
        "scenario": name,
        "margins": ", ".join(map(str, scenario.margins)),
        "alpha": scenario.alpha,
        "studies": margin["studies"],
        "violating": interval.value,
        "low": interval.low,
        "high": interval.high,
        "mixed_studies": mixed["studies"],
        "mixed_violating": mixed["violating"] / mixed["studies"],
        "harmless": mixed["harmless"] / mixed["studies"],
        "third": mixed["third"] / mixed["studies"],
        "kept": interval.low <= scenario.alpha,
    }


def _totals(chunks: list[Chunk], levels: tuple[float, ...]) -> dict[str, int]:
    mine = [asdict(chunk) for chunk in chunks if chunk.levels == levels]
    return {key: sum(chunk[key] for chunk in mine) for key in ("studies", "violating", "harmless", "third")}


def intervals(pool: Any, only: str, share: float) -> list[dict[str, Any]]:
    """Measure the coverage of every interval at every size."""
    asked = [replace(setting, repeats=max(100, round(setting.repeats * share))) for setting in SETTINGS]
    found = pool.imap(coverage, [setting for setting in asked if only in setting.name])
    return [row for rows in found for row in rows]


def exact(pool: Any, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Enumerate all outcomes at every size and margin."""
    margins = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2)
    return [
        row for rows in pool.starmap(exact_sizes, [(n, m) for n in sizes for m in margins], 1) for row in rows
    ]


def exact_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table: the worst margin at every size and alpha."""
    yield "| cases | alpha | largest chance of passing at the margin | with Tango's test alone |"
    yield "|---|---|---|---|"
    for n, alpha in dict.fromkeys((row["n"], row["alpha"]) for row in rows):
        mine = [row for row in rows if (row["n"], row["alpha"]) == (n, alpha)]
        sizes = (max(row[key] for row in mine) for key in ("size", "tango"))
        yield f"| {n} | {alpha} | " + " | ".join(f"{size:.4f}" for size in sizes) + " |"


def decisions_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table, one per scenario."""
    yield (
        "| population | margin, alpha | at the margin: certified (95 % interval) | mixed: certified beyond "
        "| mixed: certified a harmless point | the one at a third of the margin |"
    )
    yield "|---|---|---|---|---|---|"
    for r in rows:
        low, high, share = (f"{100 * r[key]:.2f}" for key in ("low", "high", "violating"))
        mark = "" if r["kept"] else " **too often**"
        rest = (f"{100 * r[key]:.0f} %" for key in ("harmless", "third"))
        asked = f"{r['margins']}; {r['alpha']}"
        found = f"{share} % ({low} to {high}){mark} | {100 * r['mixed_violating']:.1f} %"
        yield f"| {r['scenario']} | {asked} | {found} | {' | '.join(rest)} |"


def intervals_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table, one per interval, the settings of a size averaged."""
    sizes = sorted({row["n"] for row in rows})
    yield f"| interval | {' | '.join(f'n = {n}' for n in sizes)} | mean | worst setting |"
    yield "|---" * (len(sizes) + 3) + "|"
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        by_size = (np.mean([row["coverage"] for row in mine if row["n"] == n]) for n in sizes)
        worst = min(mine, key=lambda row: row["coverage"])
        where = f"{100 * worst['coverage']:.1f} ({worst['what']}, n = {worst['n']})"
        mean = f"{100 * np.mean([row['coverage'] for row in mine]):.1f}"
        yield f"| {method} | {' | '.join(f'{100 * one:.1f}' for one in by_size)} | {mean} | {where} |"


TABLES = {"exact": exact_table, "decisions": decisions_table, "intervals": intervals_table}


def as_markdown(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return the tables of all parts."""
    return "\n\n".join("\n".join(TABLES[part](rows)) for part, rows in found.items())


def write_docs(found: Mapping[str, list[dict[str, Any]]], day: str) -> None:
    """Put the tables between the marks of the page, with the date and the machine."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    machine = f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
    before, _, rest = DOCS.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    head = f"`python benchmarks/validity.py --docs`, {day}, {machine}."
    DOCS.write_text(f"{before}{MARKS[0]}\n{head}\n\n{as_markdown(found)}\n{MARKS[1]}{after}")


def run_parts(parts: list[str], args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Run what is asked for."""
    studies, share = (500, 0.05) if args.quick else (args.studies, args.studies / STUDIES)
    found = {}
    with multiprocessing.get_context("spawn").Pool(args.processes, keep_answers) as pool:
        if "exact" in parts:
            found["exact"] = exact(pool, (50, 100) if args.quick else (50, 75, 100, 150, 200, 300))
        if "decisions" in parts:
            found["decisions"] = decisions(pool, args.only, studies)
        if "intervals" in parts:
            found["intervals"] = intervals(pool, args.only, share)
    return found


def main() -> None:
    """Run what is asked for and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*TABLES, []], default=[])
    parser.add_argument("--only", default="", help="names that hold this word")
    parser.add_argument("--studies", type=int, default=STUDIES, help="per scenario")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--from", dest="files", type=Path, action="append")
    parser.add_argument("--docs", metavar="DATE", default="")
    args = parser.parse_args()
    started, found = time.perf_counter(), {}
    for file in args.files or []:
        found |= json.loads(file.read_text())
    found = {part: found[part] for part in TABLES if part in found} or run_parts(
        args.parts or list(TABLES), args
    )
    print(json.dumps(found, indent=2) if args.json else as_markdown(found))
    if args.docs:
        write_docs(found, args.docs)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if not all(row["kept"] for row in found.get("decisions", [])):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
