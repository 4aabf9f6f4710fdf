"""The simulation behind ``docs/validation.md``: its truths are true, its short cut is none, and it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bitdose.hashing import rng_for
from bitdose.metrics import classification as metric
from bitdose.metrics.calibration import brier_score, expected_calibration_error

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
CASES, DRAWS = 15_000, 4


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Import the benchmark's parts as it does, from their folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import validity_populations
    import validity_scenarios

    return SimpleNamespace(**vars(validity_populations), SCENARIOS=validity_scenarios.SCENARIOS)


def observed_loss(name: str, true: np.ndarray, before: SimpleNamespace, after: SimpleNamespace) -> float:
    """Measure a loss on class indices, answers and probabilities; the class is the last of its labels."""
    if name == "harmful_flips":
        return float(((before.predicted == true) & (after.predicted != true)).mean())
    k = int(true.max()) + 1
    measures = {
        "accuracy": lambda arm: metric.accuracy(metric.confusion_matrix(true, arm.predicted, k)),
        "sensitivity": lambda arm: metric.sensitivity(metric.confusion_matrix(true, arm.predicted, k))[-1],
        "precision": lambda arm: metric.precision(metric.confusion_matrix(true, arm.predicted, k))[-1],
        "macro_f1": lambda arm: metric.macro_f1(metric.confusion_matrix(true, arm.predicted, k)),
        "auroc": lambda arm: metric.auroc(true == k - 1, arm.probabilities[:, -1]),
        "brier": lambda arm: -brier_score(true, arm.probabilities),
        "ece": lambda arm: -expected_calibration_error(true, arm.probabilities),
    }
    return float(measures[name](before) - measures[name](after))


@pytest.mark.parametrize(
    "name",
    [
        "two margins, 300 cases",
        "clustered, a rare class",
        "clustered, harmful flips",
        "macro F1, 200 cases, a rare class harmed",
        "precision, 500 cases, the others harmed",
        "clustered, AUROC",
        "Brier, 200 cases, noise",
        "Brier, 500 cases, one class harmed",
        "calibration, 300 cases, overconfident",
    ],
)
def test_the_true_loss_is_what_very_many_cases_lose(name: str, parts: SimpleNamespace) -> None:
    """Sixty thousand cases lose what a population says that they lose, within a tenth of the margin."""
    scenario = parts.SCENARIOS[name]
    strength = parts.strength_at(scenario.population, scenario.margins, 1.0)
    truths = [scenario.population.loss(margin, strength) / margin.limit for margin in scenario.margins]
    assert max(truths) == pytest.approx(1)
    sizes = scenario.population.patients.sizes
    count = round(CASES / np.dot(sizes, range(1, len(sizes) + 1)))
    many = replace(scenario.population, patients=replace(scenario.population.patients, count=count))
    studies = [many.draw(np.array([[strength]]), rng_for("truth", name, i)) for i in range(DRAWS)]
    true = np.concatenate([study.true for study in studies])
    arms = [[s.pristine for s in studies], [next(iter(s.points.values())).predictions for s in studies]]
    joined = [
        SimpleNamespace(
            **{f: np.concatenate([getattr(a, f) for a in arm]) for f in ("predicted", "probabilities")}
        )
        for arm in arms
    ]
    for margin, truth in zip(scenario.margins, truths, strict=True):
        found = observed_loss(margin.metric, true, *joined) / margin.limit
        assert found == pytest.approx(truth, abs=0.1), margin


def test_a_study_handed_over_as_arrays_is_decided_as_its_table_is(parts: SimpleNamespace) -> None:
    """The reader of tables gives back the arrays that the table was written from, splits and all."""
    from bitdose.results.predictions import make_cohort

    scenario = parts.SCENARIOS["clustered, Brier"]
    rng = rng_for("table")
    drawn = {name: scenario.population.draw(np.full((2, 3), 0.3), rng, prefix=name) for name in ("a", "b")}
    table = parts.to_table(drawn)
    for split, one in drawn.items():
        read = make_cohort(table, split)
        assert (read.labels, read.case_ids, read.patients) == (one.labels, one.case_ids, one.patients)
        assert np.array_equal(read.true, one.true)
        assert np.array_equal(read.patient_of_case, one.patient_of_case)
        assert list(read.points) == list(one.points)
        for point, rows in read.points.items():
            same = one.points[point]
            assert np.array_equal(rows.predictions.predicted, same.predictions.predicted)
            assert np.array_equal(rows.predictions.probabilities, same.predictions.probabilities)
            assert (rows.chain, rows.strength) == (same.chain, same.strength)
            assert np.array_equal(rows.bytes_coded, same.bytes_coded)


def test_it_runs_and_counts() -> None:
    """A few hundred studies of one population: few pass at the margin, most where one is harmless."""
    words = [sys.executable, str(BENCHMARKS / "validity.py"), "decisions", "--only", "60 cases, 3 losses"]
    done = subprocess.run(
        [*words, "--studies", "500", "--processes", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["decisions"]
    assert row["studies"] == 500
    assert 0 < row["violating"] < 0.07
    assert row["harmless"] > 0.5
    assert row["kept"]
