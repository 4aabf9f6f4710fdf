"""How long it takes, and how much memory, to put every interval on a large study, and to decide on it.

A made-up table of cases x points x classes, one case per patient or several, seeded:

    python benchmarks/deciding.py
    python benchmarks/deciding.py --cases-per-patient 2 --draws 2000
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import polars as pl

from bitdose.decision.decide import decide
from bitdose.results.summarize import summarize
from bitdose.results.table import rows_to_table
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule

LABELS = ("normal", "pneumonia", "covid-19")
# Wide enough that every point is tested: the largest amount of work for a decision.
MARGINS = (
    "accuracy=0.3,sensitivity[covid-19]=0.3,macro_f1=0.3",
    "accuracy=0.3,sensitivity[covid-19]=0.3,macro_f1=0.3,auroc=0.3,brier=0.5,ece=0.5,harmful_flips=0.3",
)
CHAINS = ("jpeg", "jpeg@256", "jpeg2000", "jpeg2000@256")


def make_table(n_cases: int, n_points: int, cases_per_patient: int) -> pl.DataFrame:
    """Draw answers that get worse along each chain, from probabilities that are near those of pristine."""
    rng = np.random.default_rng(20261122)
    truth = rng.integers(0, len(LABELS), n_cases)
    logits = rng.normal(0, 1.0, (n_cases, len(LABELS)))
    logits[np.arange(n_cases), truth] += 2.5
    parts = [_point(rng, truth, logits, number, cases_per_patient) for number in range(n_points)]
    return pl.concat([rows_to_table([]), *parts], how="diagonal_relaxed")


def _point(
    rng: np.random.Generator, truth: np.ndarray, logits: np.ndarray, number: int, cases_per_patient: int
) -> pl.DataFrame:
    n = truth.size
    chain = CHAINS[number % len(CHAINS)] if number else "pristine"
    step = (number + len(CHAINS) - 1) // len(CHAINS)
    noisy = logits + rng.normal(0, 0.04 * step, logits.shape)
    p = np.exp(noisy) / np.exp(noisy).sum(1, keepdims=True)
    names = np.array(LABELS)
    columns = {
        "case_id": [f"case-{i:05d}" for i in range(n)],
        "case_patient": [f"patient-{i // cases_per_patient:05d}" for i in range(n)],
        "case_label": names[truth],
        "point": [f"{chain.partition('@')[0]}:{step}" + "@256" * ("@" in chain) if number else "pristine"]
        * n,
        "codec_name": [chain.partition("@")[0]] * n,
        "codec_chain": [chain] * n,
        "codec_strength": [float(step)] * n,
        "codec_size": ["256x256" if "@" in chain else ""] * n,
        "bytes_file": [400_000] * n,
        "bytes_pixels": [1_048_576] * n,
        "bytes_coded": rng.integers(350_000, 450_000, n) // (1 + step),
        "model": ["made-up 0123abcd"] * n,
        "predicted": names[p.argmax(1)],
        "status": ["ok"] * n,
    }
    return pl.DataFrame(columns | {f"p_{name}": p[:, k] for k, name in enumerate(LABELS)})


def main() -> None:
    """Summarise one table and print wall time and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=1761)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--cases-per-patient", type=int, default=1)
    parser.add_argument("--draws", type=int, default=2000)
    asked = parser.parse_args()
    table = make_table(asked.cases, asked.points, asked.cases_per_patient)
    print(
        f"{asked.cases} cases x {asked.points} points x {len(LABELS)} classes, "
        f"{asked.cases_per_patient} per patient, {asked.draws} draws"
    )
    start = time.perf_counter(), time.process_time()
    summary = summarize(table, draws=asked.draws)
    report("summarize", *start)
    worst = min(summary.points, key=lambda point: point.accuracy_difference.value)
    print(f"  {worst.point}: accuracy difference {worst.accuracy_difference:.4f}")
    for margins in MARGINS:
        start = time.perf_counter(), time.process_time()
        found = decide(table, Rule(read_margins([margins])))
        report(f"decide, {margins}", *start)
        tested = sum(len(walk.tested) for walk in found.chain_tests)
        print(f"  {tested} points tested, certified: {found.certified.point if found.certified else 'none'}")


def report(step: str, started: float, started_cpu: float) -> None:
    """Print a step's wall and processor time and the process's peak memory up to now."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    print(f"{step}: {seconds:.1f} s ({cpu:.1f} s of processor time), peak memory {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
