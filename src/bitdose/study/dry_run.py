"""Forecast of a study: its grid, its cost, and the losses that its sample size can exclude."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from bitdose.codecs.grid import chains_of
from bitdose.results.schema import OK
from bitdose.stats.proportions import smallest_provable_loss, wilson
from bitdose.study.engines.local import run_in_process
from bitdose.study.plan import Plan

_TRIALS = 3


@dataclass(frozen=True)
class DryRun:
    """Forecast of a study before the run.

    ``seconds`` is the mean time of the trial cases times the cases over the workers, NaN where
    every trial failed; ``provable_loss`` is the minimum detectable loss of accuracy if
    no prediction changes, and of each class's sensitivity.
    """

    cases: int
    patients: int
    labels: dict[str, int]
    chains: dict[str, list[str]]
    points: int
    case_points: int
    workers: int
    trial_cases: int
    failed_trials: int
    seconds: float
    level: float
    provable_loss: float
    provable_loss_by_class: dict[str, float]
    half_width: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, NaN as None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    def lines(self) -> list[str]:
        """Return the forecast as text."""
        counts = ", ".join(f"{label} {n}" for label, n in self.labels.items())
        lines = [f"cases    {self.cases} of {self.patients} patients: {counts}"]
        lines += [f"chain    {chain:<16} {' '.join(points)}" for chain, points in self.chains.items()]
        lines.append(f"grid     {self.points} points, {self.case_points} case-points")
        lines += self._cost() + self._power()
        return lines

    def _cost(self) -> list[str]:
        trial = f"from {self.trial_cases} trial cases" + (
            f", {self.failed_trials} of them failed" if self.failed_trials else ""
        )
        if math.isnan(self.seconds):
            return [f"cost     unknown: every trial case failed ({self.trial_cases})"]
        return [f"cost     about {duration(self.seconds)} with {self.workers} workers ({trial})"]

    def _power(self) -> list[str]:
        level = f"{100 * self.level:g} %"
        by_class = ", ".join(f"{k} {100 * v:.1f}" for k, v in self.provable_loss_by_class.items())
        loss, half = 100 * self.provable_loss, 100 * self.half_width
        lines = [
            f"n shows  if no prediction changes: a loss of accuracy under {loss:.1f} points (Tango, {level})",
            f"         sensitivity per class, likewise: {by_class} points",
            f"         an accuracy near 0.8 is known to about ±{half:.1f} points (Wilson, {level})",
        ]
        if self.patients < self.cases:
            lines.append(
                "         patients with several cases make these optimistic: fewer units, wider intervals"
            )
        return lines


def forecast(plan: Plan, *, workers: int | None = None, level: float = 0.95) -> DryRun:
    """Run a few cases in this process without writing files, and forecast cost and power of the study."""
    cases, count = plan.cases.cases, workers or os.cpu_count() or 1
    step = max(1, len(cases) // _TRIALS)
    trials = cases[::step][:_TRIALS]
    seconds: list[float] = []
    for _, rows in run_in_process(trials[:1], plan.job, plan.classifier):
        del rows  # the first case includes the loading of libraries
    for case in trials:
        started = time.perf_counter()
        ((_, rows),) = run_in_process([case], plan.job, plan.classifier)
        if all(row["status"] == OK for row in rows):
            seconds.append(time.perf_counter() - started)
    labels = Counter(case.label for case in cases)
    right = wilson(round(0.8 * len(cases)), len(cases), level=level)
    return DryRun(
        cases=len(cases),
        patients=len({case.patient for case in cases}),
        labels=dict(sorted(labels.items())),
        chains={k: [p.quality_text() for p in points] for k, points in chains_of(plan.job.points).items()},
        points=len(plan.job.points),
        case_points=len(cases) * len(plan.job.points),
        workers=count,
        trial_cases=len(trials),
        failed_trials=len(trials) - len(seconds),
        seconds=sum(seconds) / len(seconds) * len(cases) / count if seconds else float("nan"),
        level=level,
        provable_loss=smallest_provable_loss(len(cases), level=level),
        provable_loss_by_class={k: smallest_provable_loss(n, level=level) for k, n in sorted(labels.items())},
        half_width=(right.high - right.low) / 2,
    )


def duration(seconds: float) -> str:
    """Format a time span.

    Examples
    --------
    >>> duration(42), duration(200), duration(9000)
    ('42 s', '3 min', '2.5 h')
    """
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
