"""The populations on which decisions are tried."""

from __future__ import annotations

from dataclasses import dataclass

from validity_populations import (
    ONE_CASE,
    UP_TO_SIX,
    AnswersPopulation,
    AtomsPopulation,
    BinormalPopulation,
    Patients,
    Population,
)

from bitdose.rule.margins import Margin, read_margins

LABELS = ("normal", "pneumonia", "covid-19")
FEW_LARGE = (0.9, *[0.0] * 18, 0.1)
COMMON, RARE = (0.5, 0.3, 0.2), (0.6, 0.3, 0.1)
EVEN, OWN, OTHERS = (1.0, 1.0, 1.0), (0.2, 0.2, 2.0), (1.0, 1.0, 0.0)


@dataclass(frozen=True)
class Scenario:
    """A population, what is asked of it, and how."""

    population: Population
    margins: tuple[Margin, ...]
    chains: int = 1
    alpha: float = 0.05
    protocol: str = "chains"
    tables: bool = False


def single(count: int) -> Patients:
    """Patients with one case each."""
    return Patients(count, ONE_CASE)


def several(count: int, alike: float = 0.5) -> Patients:
    """Patients with one to six cases."""
    return Patients(count, UP_TO_SIX, alike)


def answers(
    patients: Patients,
    prevalence: tuple[float, ...] = COMMON,
    harm: tuple[float, ...] = EVEN,
    gain: float = 0.05,
) -> AnswersPopulation:
    """Three classes, nine answers in ten right."""
    return AnswersPopulation(patients, LABELS, prevalence, (0.9, 0.9, 0.9), harm, gain)


def _scenario(population: Population, margins: str, chains: int = 1, **more: object) -> Scenario:
    return Scenario(population, read_margins([margins]), chains, **more)


SCENARIOS: dict[str, Scenario] = {
    "100 cases, 1 loss expected": _scenario(answers(single(100)), "accuracy=0.01"),
    "60 cases, 3 losses expected": _scenario(answers(single(60)), "accuracy=0.05"),
    "200 cases, 3 losses expected": _scenario(answers(single(200)), "accuracy=0.015"),
    "1,000 cases, 10 losses expected": _scenario(answers(single(1000)), "accuracy=0.01"),
    "200 cases, no gains": _scenario(answers(single(200), gain=0.0), "accuracy=0.05"),
    "200 cases, many gains": _scenario(answers(single(200), gain=0.8), "accuracy=0.08"),
    "200 cases, half the alpha": _scenario(answers(single(200)), "accuracy=0.05", alpha=0.025),
    "400 cases, 4 chains": _scenario(answers(single(400)), "accuracy=0.025", 4),
    "200 cases, 4 chains, one order": _scenario(answers(single(200)), "accuracy=0.05", 4, protocol="order"),
    "a rare class: 40 of 400 cases": _scenario(answers(single(400), RARE), "sensitivity[covid-19]=0.1"),
    "two margins, 300 cases": _scenario(
        answers(single(300), harm=(1.0, 1.0, 3.0)), "accuracy=0.05, sensitivity[covid-19]=0.1"
    ),
    "harmful flips, 300 cases": _scenario(answers(single(300)), "harmful_flips=0.03"),
    "macro F1, 60 cases": _scenario(answers(single(60), harm=OWN), "macro_f1=0.15"),
    "macro F1, 200 cases, a rare class harmed": _scenario(answers(single(200), RARE, OWN), "macro_f1=0.08"),
    "macro F1, 500 cases, a rare class harmed": _scenario(answers(single(500), RARE, OWN), "macro_f1=0.05"),
    "precision, 500 cases, the others harmed": _scenario(
        answers(single(500), harm=OTHERS), "precision[covid-19]=0.1"
    ),
    "AUROC, 250 cases": _scenario(BinormalPopulation(single(250), 0.4, 2.0), "auroc[covid-19]=0.06"),
    "Brier, 200 cases, noise": _scenario(AtomsPopulation(single(200), "noise"), "brier=0.05"),
    "Brier, 500 cases, one class harmed": _scenario(AtomsPopulation(single(500), "shift"), "brier=0.1"),
    "calibration, 300 cases, overconfident": _scenario(AtomsPopulation(single(300), "sharpen"), "ece=0.05"),
    "calibration, 300 cases, shifted": _scenario(AtomsPopulation(single(300), "shift"), "ece=0.05"),
    "clustered, 30 patients, 4 chains": _scenario(answers(several(30)), "accuracy=0.3", 4),
    "clustered, 60 patients, 4 chains": _scenario(answers(several(60)), "accuracy=0.15", 4),
    "clustered, 130 patients, 4 chains": _scenario(answers(several(130)), "accuracy=0.08", 4),
    "clustered, 60 patients, all alike": _scenario(answers(several(60, 1.0)), "accuracy=0.12"),
    "clustered, 100 patients, a few large": _scenario(answers(Patients(100, FEW_LARGE, 0.8)), "accuracy=0.2"),
    "clustered, one order, 4 chains": _scenario(answers(several(60)), "accuracy=0.1", 4, protocol="order"),
    "clustered, a rare class": _scenario(
        answers(several(130), (0.6, 0.25, 0.15)), "sensitivity[covid-19]=0.3"
    ),
    "clustered, two margins": _scenario(
        answers(several(130), harm=(1.0, 1.0, 2.0)), "accuracy=0.1, sensitivity[covid-19]=0.25"
    ),
    "clustered, harmful flips": _scenario(answers(several(100)), "harmful_flips=0.08"),
    "clustered, macro F1": _scenario(answers(several(80)), "macro_f1=0.12"),
    "clustered, AUROC": _scenario(BinormalPopulation(several(100), 0.4, 2.0), "auroc[covid-19]=0.15"),
    "clustered, Brier": _scenario(AtomsPopulation(several(100), "noise"), "brier=0.12"),
    "two splits, 300 cases each, 4 chains": _scenario(
        answers(single(300)), "accuracy=0.04", 4, protocol="split"
    ),
    "two splits, clustered, 4 chains": _scenario(answers(several(80)), "accuracy=0.1", 4, protocol="split"),
    "clustered, through results tables, 2 chains": _scenario(
        answers(several(40)), "accuracy=0.2", 2, tables=True
    ),
}
