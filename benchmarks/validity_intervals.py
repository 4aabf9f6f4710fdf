"""How often an interval holds the truth, over studies of populations whose truth is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from validity_populations import (
    UP_TO_SIX,
    AnswersPopulation,
    AtomsPopulation,
    BinormalPopulation,
    Fates,
    Patients,
    strength_at,
)

from bitdose.hashing import rng_for
from bitdose.metrics.catalogue import METRICS
from bitdose.results import estimates
from bitdose.results.conditions import Condition, condition_of, make_design
from bitdose.results.predictions import Cohort, ConditionPredictions
from bitdose.rule.margins import Margin
from bitdose.stats.areas import area_difference, clustered_area
from bitdose.stats.clusters import clustered_tango, clustered_wilson
from bitdose.stats.delong import delong
from bitdose.stats.estimate import Estimate
from bitdose.stats.proportions import tango, wilson

SIZES = (50, 100, 200, 500, 1000, 2000)
REPEATS = {50: 2000, 100: 2000, 200: 2000, 500: 1200, 1000: 600, 2000: 300}  # of bootstraps
DRAWS = 1000
LEVEL = 0.95
CASES_PER_PATIENT = float(np.dot(UP_TO_SIX, range(1, 7)))
Found = Iterator[tuple[str, Estimate, float]]


@dataclass(frozen=True)
class Setting:
    """One kind of study, of n cases; ``value`` is what is varied: a proportion, an area, an accuracy."""

    name: str
    what: str
    value: float
    n: int
    repeats: int
    change: float = 0.0


def coverage(setting: Setting) -> list[dict[str, Any]]:
    """Return per interval how often it holds the truth, among the studies in which it has limits."""
    held, given, asked = Counter(), Counter(), Counter()
    for repeat in range(setting.repeats):
        rng = rng_for("coverage", setting.name, setting.what, setting.n, repeat)
        for method, found, truth in _KINDS[setting.name](setting, rng, repeat):
            asked[method] += 1
            if not math.isnan(found.low):
                given[method] += 1
                held[method] += found.low - 1e-12 <= truth <= found.high + 1e-12
    return [
        {
            "method": method,
            "what": setting.what,
            "n": setting.n,
            "repeats": asked[method],
            "undefined": 1 - given[method] / asked[method],
            "coverage": held[method] / given[method] if given[method] else math.nan,
        }
        for method in asked
    ]


def _proportion(setting: Setting, rng: np.random.Generator, _: int) -> Found:
    yield "Wilson", wilson(int(rng.binomial(setting.n, setting.value)), setting.n), setting.value


def _paired(setting: Setting, rng: np.random.Generator, _: int) -> Found:
    gain, loss = setting.value, setting.change
    gained, lost, _same = rng.multinomial(setting.n, [gain, loss, 1 - gain - loss])
    yield "Tango", tango(int(gained), int(lost), setting.n), gain - loss


def _clustered(setting: Setting, rng: np.random.Generator, _: int) -> Found:
    fates = Fates(_several(setting.n), rng)
    hits = fates.uniform(1)[:, 0] < setting.value
    yield "Wilson, clustered", clustered_wilson(hits, fates.patient), setting.value


def _clustered_paired(setting: Setting, rng: np.random.Generator, _: int) -> Found:
    fates = Fates(_several(setting.n), rng)
    u, gain, loss = fates.uniform(1)[:, 0], setting.value, setting.change
    yield "Tango, clustered", clustered_tango(u < gain, u > 1 - loss, fates.patient), gain - loss


def _binormal(setting: Setting, rng: np.random.Generator, _: int) -> Found:
    population, strength = _areas(setting, Patients(setting.n))
    cohort = population.draw(np.array([[strength]]), rng)
    positive, before = cohort.true == 1, cohort.pristine.probabilities[:, 1]
    after = _coded(cohort).probabilities[:, 1]
    yield "AUROC (DeLong)", delong(positive, before), setting.value
    yield "AUROC difference (Tango, pairs)", area_difference(positive, after, before), -setting.change


def _binormal_clustered(setting: Setting, rng: np.random.Generator, _: int) -> Found:
    population, strength = _areas(setting, _several(setting.n))
    cohort = population.draw(np.array([[strength]]), rng)
    positive, before = cohort.true == 1, cohort.pristine.probabilities[:, 1]
    after, patients = _coded(cohort).probabilities[:, 1], cohort.patient_of_case
    yield "AUROC, clustered (Obuchowski)", clustered_area(positive, before, patients), setting.value
    difference = area_difference(positive, after, before, patients)
    yield "AUROC difference, clustered (Tango, pairs)", difference, -setting.change


def _macro_f1(setting: Setting, rng: np.random.Generator, repeat: int) -> Found:
    right = (setting.value,) * 3
    labels = ("normal", "pneumonia", "covid-19")
    population = AnswersPopulation(Patients(setting.n), labels, (0.5, 0.3, 0.2), right, (1.0, 1.0, 1.0))
    margin = Margin("macro_f1", "", setting.change)
    strength = strength_at(population, [margin], 1.0)
    cohort = population.draw(np.array([[strength]]), rng)
    now, then = _conditions(cohort, repeat)
    yield "macro F1 (BCa)", estimates.estimate_of(METRICS["macro_f1"], then), population.value(margin)
    difference = estimates.difference_of(METRICS["macro_f1"], now, then)
    yield "macro F1 difference (Tango, effective)", difference, -setting.change


def _calibration(setting: Setting, rng: np.random.Generator, repeat: int) -> Found:
    turn, slope = setting.what.split(", slope ")
    population = AtomsPopulation(Patients(setting.n), turn, float(slope))
    cohort = population.draw(np.array([[setting.change]]), rng)
    now, then = _conditions(cohort, repeat)
    own = replace(population, mix=_mix(cohort))
    brier, ece = (Margin(name, "", 0.5) for name in ("brier", "ece"))
    yield "Brier score (BCa)", estimates.estimate_of(METRICS["brier"], then), population.value(brier)
    difference = estimates.difference_of(METRICS["brier"], now, then)
    for where, at in (("", population), (", at the study's own class mix", own)):
        yield f"Brier score difference (BCa){where}", difference, at.loss(brier, setting.change)
    yield "calibration error (gaps)", estimates.estimate_of(METRICS["ece"], then), population.value(ece)
    lost = population.loss(ece, setting.change)
    yield "calibration error difference (gaps)", estimates.difference_of(METRICS["ece"], now, then), lost


def _mix(cohort: Cohort) -> tuple[float, ...]:
    """Return the share of each class among a study's cases."""
    return tuple(np.bincount(cohort.true, minlength=len(cohort.labels)) / cohort.true.size)


def _several(n: int) -> Patients:
    return Patients(round(n / CASES_PER_PATIENT), UP_TO_SIX, 0.5)


def _areas(setting: Setting, patients: Patients) -> tuple[BinormalPopulation, float]:
    from scipy.special import ndtri

    population = BinormalPopulation(patients, 0.3, math.sqrt(2) * float(ndtri(setting.value)))
    return population, strength_at(population, [Margin("auroc", "covid-19", setting.change)], 1.0)


def _coded(cohort: Cohort) -> ConditionPredictions:
    return next(iter(cohort.points.values())).predictions


def _conditions(cohort: Cohort, repeat: int) -> tuple[Condition, Condition]:
    """Return the conditions coded and pristine, with the bootstrap draws that a report makes."""
    import polars as pl

    cases = pl.DataFrame(
        {
            "case_id": cohort.case_ids,
            "case_patient": [cohort.patients[p] for p in cohort.patient_of_case],
            "case_label": [cohort.labels[k] for k in cohort.true],
        }
    )
    design = make_design(cases, cohort.labels, level=LEVEL, draws=DRAWS, seed=repeat)
    everyone = np.arange(cohort.true.size)
    now, then = (condition_of(design, one, everyone) for one in (_coded(cohort), cohort.pristine))
    return now, then


_KINDS = {
    "proportion": _proportion,
    "paired": _paired,
    "clustered": _clustered,
    "clustered paired": _clustered_paired,
    "binormal": _binormal,
    "binormal clustered": _binormal_clustered,
    "macro F1": _macro_f1,
    "calibration": _calibration,
}


def _settings() -> Iterator[Setting]:
    """Yield every setting, the dearest first, so that the processes end together."""
    for n in reversed(SIZES):
        few = REPEATS[n]
        for value in (0.9, 0.8):
            yield Setting("macro F1", f"accuracy {value}", value, n, few, 0.05)
        for turn, slope, change in (("noise", 1.0, 0.5), ("sharpen", 0.7, 0.5), ("shift", 1.0, 0.2)):
            yield Setting("calibration", f"{turn}, slope {slope}", slope, n, few, change)
    for n in reversed(SIZES):
        for value in (0.95, 0.9, 0.8):
            yield Setting("binormal", f"AUROC {value}", value, n, 10_000, 0.05)
            yield Setting("clustered", f"p = {value}", value, n, 10_000)
            yield Setting("proportion", f"p = {value}", value, n, 10_000)
        for value in (0.9, 0.8):
            yield Setting("binormal clustered", f"AUROC {value}", value, n, 10_000, 0.05)
        for gain, loss in ((0.03, 0.08), (0.02, 0.02), (0.05, 0.02)):
            what = f"gained {gain}, lost {loss}"
            yield Setting("clustered paired", what, gain, n, 10_000, loss)
            yield Setting("paired", what, gain, n, 10_000, loss)


SETTINGS = tuple(_settings())
