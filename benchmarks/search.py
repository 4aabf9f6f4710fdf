"""Does a search find what the full grid finds, with how many case-points, and does its guarantee hold.

    python benchmarks/search.py agreement --table results/cxr-mobilenetv2.parquet
    python benchmarks/search.py agreement --select-share 0.33
    python benchmarks/search.py guarantee --studies 10000

``agreement`` draws studies from a kept table of real answers: its cases with replacement (``--clustered``:
its patients), as many as ``--n``; with ``--select-share`` that part of the patients is a first split. Each is
decided twice: by ``decide`` on all of it, and by a race that is given what it asks for. It prints how often
the two certify the same point, and what share of the case-points the race was given; exit code 1 if they
agree less often than ``--at-least``.

``guarantee`` draws studies from populations whose true losses are known (those of ``validity.py``) and lets
races decide them: chains of twelve points, of which the first six lose a third of the margin or less and the
seventh loses it exactly. Exit code 1 if a bad point is certified in clearly more than alpha of them.

Each prints a Markdown table and a last line of JSON. A study's seed is a hash of its names.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: every process has one core
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import polars as pl
from measure import machine, print_table

from bitdose.decision.base import Decision
from bitdose.decision.decide import decide
from bitdose.hashing import rng_for
from bitdose.results.table import rows_to_table
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.search.racing import Racing
from bitdose.stats.proportions import wilson

PRISTINE = "pristine"
QUALITIES = (95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1)
GOOD_POINTS = 6
SELECT, CONFIRM = "first", "second"


@dataclass(frozen=True)
class Raced:
    """What a race decided, and how many case-points it was given."""

    decision: Decision
    given: int
    rounds: int


def raced(table: pl.DataFrame, rule: Rule, *, seed: int) -> Raced:
    """Let a race decide a table, giving it no more than what it asks for."""
    chains: dict[str, list[str]] = {}
    coded = (
        table.filter(pl.col("point") != PRISTINE).select("codec_chain", "codec_strength", "point").unique()
    )
    for chain, _, point in coded.sort("codec_chain", "codec_strength").iter_rows():
        chains.setdefault(chain, []).append(point)
    race = Racing(rule, chains, sizes_of(table, rule), seed=seed)
    placed = in_drawn_order(table if rule.select else table.with_columns(case_split=pl.lit("")), seed)
    upto: dict[tuple[str, str], int] = {}
    asked, rounds = race.start, 0
    while True:
        for point, n in asked.points:
            upto[asked.split, point] = max(n, upto.get((asked.split, point), 0))
        limits = pl.DataFrame(
            [(*key, n) for key, n in upto.items()], ["case_split", "point", "upto"], orient="row"
        )
        have = placed.join(limits, on=["case_split", "point"]).filter(pl.col("place") < pl.col("upto"))
        found, rounds = race.step(have.drop("place", "upto")), rounds + 1
        if isinstance(found, Decision):
            return Raced(found, len(have), rounds)
        asked = found


def sizes_of(table: pl.DataFrame, rule: Rule) -> dict[str, int]:
    """Count a rule's cases, split by split."""
    if not rule.select:
        return {"": table["case_id"].n_unique()}
    return dict(table.group_by("case_split").agg(pl.col("case_id").n_unique()).iter_rows())


def in_drawn_order(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Add every case's ``place`` in an order drawn once within its split."""
    cases = table.select("case_id", "case_split").unique().sort("case_id")
    drawn = cases.sample(fraction=1, shuffle=True, seed=seed)
    return table.join(
        drawn.with_columns((pl.int_range(pl.len()).over("case_split")).alias("place")),
        on=["case_id", "case_split"],
    )


def in_two_splits(table: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    """Give a share of the patients to a first split, the rest to a second."""
    patients = table["case_patient"].unique().sort().to_list()
    first = {patients[k] for k in rng.permutation(len(patients))[: round(share * len(patients))]}
    chosen = pl.col("case_patient").is_in(list(first))
    return table.with_columns(
        pl.when(chosen).then(pl.lit(SELECT)).otherwise(pl.lit(CONFIRM)).alias("case_split")
    )


def drawn_again(table: pl.DataFrame, n: int, rng: np.random.Generator, *, clustered: bool) -> pl.DataFrame:
    """Draw cases, or patients with all of theirs, with replacement until there are ``n`` cases."""
    unit = "case_patient" if clustered else "case_id"
    cases = table.unique("case_id").sort("case_id")
    units = cases.group_by(unit, maintain_order=True).len()
    names, sizes = units[unit].to_list(), units["len"].to_list()
    chosen, total = [], 0
    while total < n:
        pick = int(rng.integers(len(names)))
        chosen.append(names[pick])
        total += sizes[pick]
    draws = pl.DataFrame({unit: chosen}).with_row_index("draw")
    again = draws.join(table, on=unit)
    case = pl.format("{}-{}", "draw", "case_id")
    patient = pl.format("{}-{}", "draw", "case_patient") if clustered else case
    return again.with_columns(case.alias("case_id"), patient.alias("case_patient")).drop("draw")


def agree(number: int, args: argparse.Namespace) -> dict[str, Any]:
    """Decide one drawn study both ways."""
    table = pl.read_parquet(args.table).filter(pl.col("status") == "ok")
    rng = rng_for("agreement", args.table.name, args.n, number)
    study = drawn_again(table, args.n, rng, clustered=args.clustered)
    rule = Rule(read_margins(args.margin), alpha=args.alpha)
    if args.select_share:
        study = in_two_splits(study, args.select_share, rng)
        rule = rule.updated(select=SELECT, confirm=CONFIRM)
    whole, race = decide(study, rule, seed=number).certified, raced(study, rule, seed=number)
    answer = race.decision.certified
    return {
        "whole": whole.point if whole else "none", "race": answer.point if answer else "none",
        "share": race.given / len(study), "rounds": race.rounds,
    }  # fmt: skip


def agreement(args: argparse.Namespace, pool: Any) -> dict[str, Any]:
    """Count how often the two agree."""
    found = pool.map(partial(agree, args=args), range(args.repeats), chunksize=1)
    for number, row in enumerate(found):
        if row["whole"] != row["race"]:
            print(
                f"  study {number}: the grid certifies {row['whole']}, the race {row['race']}",
                file=sys.stderr,
            )
    agreed = sum(row["whole"] == row["race"] for row in found)
    shares = [row["share"] for row in found]
    answer = {
        "studies": len(found), "agreed": agreed, "nothing": sum(row["whole"] == "none" for row in found),
        "share": round(float(np.mean(shares)), 3), "largest_share": round(max(shares), 3),
        "rounds": round(float(np.mean([row["rounds"] for row in found])), 1),
    }  # fmt: skip
    print_table(
        ("table", "margins", "cases", "studies", "same point", "nothing certified", "case-points measured"),
        [
            (
                args.table.stem,
                " ".join(args.margin),
                args.n,
                len(found),
                agreed,
                answer["nothing"],
                answer["share"],
            )
        ],
    )
    return answer | {"failed": agreed < args.at_least * len(found)}


def population(number: int, args: argparse.Namespace) -> pl.DataFrame:
    """Draw a study whose true losses are known: two chains that spoil mostly the same cases."""
    rng = rng_for("guarantee", args.n, args.alpha, number)
    limit = read_margins(args.margin)[0].limit
    losses = np.r_[np.linspace(0, limit / 3, GOOD_POINTS), limit * np.array([1, 1.02, 1.05, 1.5, 3, 6])]
    right = rng.random(args.n) < args.accuracy
    rows: list[dict[str, Any]] = []
    shared = rng.random(args.n)
    for place, tail in enumerate(("", "@256")):
        # The harder a point, the more of the cases in this order are spoilt; chains share most of it.
        hardness = np.where(rng.random(args.n) < args.shared, shared, rng.random(args.n))
        if place == 0:
            rows += _answers(PRISTINE, "", 0, right)
        for step, (quality, loss) in enumerate(zip(QUALITIES, losses, strict=True)):
            spoilt = hardness < loss / args.accuracy
            rows += _answers(f"jpeg:q{quality}{tail}", f"jpeg{tail}", step + 1, right & ~spoilt)
    return rows_to_table(rows)


def _answers(point: str, chain: str, step: int, right: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "case_id": f"{n:05d}", "case_patient": f"{n:05d}", "case_label": "sick", "case_split": "",
            "point": point, "codec_chain": chain, "codec_strength": float(step), "bytes_file": 100_000,
            "bytes_pixels": 100_000, "bytes_coded": 100_000 // (1 + step), "model": "drawn", "status": "ok",
            "predicted": "sick" if yes else "well", "p_sick": float(yes), "p_well": float(not yes),
        }
        for n, yes in enumerate(right.tolist())
    ]  # fmt: skip


def judge(number: int, args: argparse.Namespace) -> tuple[int, float]:
    """Race one drawn study; return how far along its chain the certified point is, and the share measured."""
    table = population(number, args)
    race = raced(table, Rule(read_margins(args.margin), alpha=args.alpha), seed=number)
    share = race.given / len(table)
    if race.decision.certified is None:
        return -1, share
    name = race.decision.certified.point.partition("@")[0]
    return [f"jpeg:q{q}" for q in QUALITIES].index(name), share


def guarantee(args: argparse.Namespace, pool: Any) -> dict[str, Any]:
    """Count how often a bad point is certified, and how near the last good one the races come."""
    found = pool.map(partial(judge, args=args), range(args.studies), chunksize=25)
    bad = sum(place >= GOOD_POINTS for place, _ in found)
    limits = wilson(bad, len(found))
    answer = {
        "studies": len(found), "bad": bad, "bad_share": bad / len(found),
        "low": limits.low, "high": limits.high,
        "some_good": sum(0 <= place < GOOD_POINTS for place, _ in found) / len(found),
        "last_good": sum(place == GOOD_POINTS - 1 for place, _ in found) / len(found),
        "share": round(float(np.mean([share for _, share in found])), 3),
    }  # fmt: skip
    print_table(
        ("margins", "alpha", "cases", "studies", "a bad point certified", "a good one", "the last good one"),
        [
            (
                " ".join(args.margin), args.alpha, args.n, len(found),
                f"{100 * answer['bad_share']:.2f} % ({100 * limits.low:.2f} to {100 * limits.high:.2f})",
                f"{100 * answer['some_good']:.0f} %", f"{100 * answer['last_good']:.0f} %",
            )
        ],
    )  # fmt: skip
    return answer | {"failed": limits.low > args.alpha}


def main() -> None:
    """Read the command line and run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["agreement", "guarantee"])
    parser.add_argument("--table", type=Path, default=Path("results/cxr-mobilenetv2.parquet"))
    parser.add_argument("--margin", action="append", help="default: accuracy=0.05")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--clustered", action="store_true", help="draw patients, not cases")
    parser.add_argument("--select-share", type=float, help="part of the patients that selects candidates")
    parser.add_argument("--at-least", type=float, default=0.95)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--accuracy", type=float, default=0.9)
    parser.add_argument(
        "--shared", type=float, default=0.7, help="share of cases that both chains spoil alike"
    )
    args = parser.parse_args()
    args.margin = args.margin or ["accuracy=0.05"]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        answer = {"agreement": agreement, "guarantee": guarantee}[args.what](args, pool)
    print(json.dumps({"what": args.what, "machine": machine()} | answer))
    raise SystemExit(bool(answer["failed"]))


if __name__ == "__main__":
    main()
