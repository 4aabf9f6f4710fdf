"""One self-contained HTML page: every figure inside it, no script, nothing fetched."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bitdose.decision.bdrate import BdRate
from bitdose.html_card import DISCLAIMER
from bitdose.metrics.catalogue import METRICS, Metric
from bitdose.report.findings.audit import Question
from bitdose.report.findings.decision import ChainTestRow, EvidenceRow
from bitdose.report.findings.flips import FlippedCase
from bitdose.report.findings.limitations import NotShown
from bitdose.report.findings.links import LinkTable, seconds_text
from bitdose.report.findings.phrasing import bytes_text, shown_amount
from bitdose.report.findings.sentences import counted, signed
from bitdose.report.findings.subgroups import Failure, Subgroup
from bitdose.results.comparison import RunComparison
from bitdose.results.summary import PointSummary, Summary
from bitdose.rule.margins import Margin
from bitdose.stats.estimate import Estimate

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_FLIPPED_ROWS = 200
MAX_FAILURE_ROWS = 200
_MAX_MANIFEST_ROWS = 400
_LONGEST_VALUE = 400


@dataclass(frozen=True)
class Picture:
    """An image of the page: its bytes, its kind (``svg+xml`` or ``png``), its words."""

    title: str
    alt: str
    data: bytes
    kind: str
    caption: str = ""

    @property
    def source(self) -> str:
        """The bytes as a data URI."""
        return f"data:image/{self.kind};base64,{b64encode(self.data).decode()}"


@dataclass(frozen=True)
class DecisionSection:
    """The decision as the page shows it; the first sentence is the verdict."""

    certified: str
    sentences: Sequence[str]
    rule: Sequence[tuple[str, str]]
    evidence: Sequence[EvidenceRow]
    chain_tests: Sequence[ChainTestRow]
    notes: Sequence[str]
    forests: Sequence[Picture]
    not_shown: NotShown


@dataclass(frozen=True)
class ComparisonSection:
    """Two runs side by side as a page shows them: the first sentence says how they were compared."""

    found: RunComparison
    sentences: Sequence[str]
    figure: Picture


@dataclass(frozen=True)
class Page:
    """All that the page shows, in its order.

    ``headline`` is the first figure; ``curves``, ``matrices``, ``flip_bars`` and ``qualities`` the
    others; ``plates`` the gallery, and ``plate_note`` why it is empty or lacks a case. ``decided`` is
    None without a decision, ``links`` without links.
    """

    title: str
    summary: Summary
    findings: Sequence[str]
    curves: Sequence[Picture] = ()
    matrices: Sequence[Picture] = ()
    flip_bars: Sequence[Picture] = ()
    qualities: Sequence[Picture] = ()
    plates: Sequence[Picture] = ()
    plate_note: str = ""
    flipped: Sequence[FlippedCase] = ()
    failures: Sequence[Failure] = ()
    subgroups: Sequence[Subgroup] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    decided: DecisionSection | None = None
    links: LinkTable | None = None
    link_sentences: Sequence[str] = ()
    link_points: Sequence[str] = ()
    front: Sequence[PointSummary] = ()
    bd_rates: Sequence[BdRate] = ()
    comparisons: Sequence[ComparisonSection] = ()


def render(page: Page) -> str:
    """Write the page as HTML text. Titles, labels and case ids are escaped: they are user input."""
    rows = flat_manifest(page.manifest)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            comparisons=page.comparisons,
            summary=page.summary,
            disclaimer=DISCLAIMER,
            flipped=page.flipped[:MAX_FLIPPED_ROWS],
            n_flipped_left_out=max(0, len(page.flipped) - MAX_FLIPPED_ROWS),
            failures=page.failures[:MAX_FAILURE_ROWS],
            n_failures_left_out=max(0, len(page.failures) - MAX_FAILURE_ROWS),
            methods=methods_used(page.summary),
            metrics={name: metric for name, metric in METRICS.items() if metric.estimated},
            manifest=rows[:_MAX_MANIFEST_ROWS],
            n_manifest_left_out=max(0, len(rows) - _MAX_MANIFEST_ROWS),
        )
    )


def render_audit(title: str, questions: Sequence[Question]) -> str:
    """Write the audit page as HTML text: the questions by topic, each with its answers or its state."""
    topics: dict[str, list[Question]] = {}
    for question in questions:
        topics.setdefault(question.topic, []).append(question)
    states = [question.state for question in questions]
    tally = {state: states.count(state) for state in dict.fromkeys(states)}
    template = _environment().get_template("audit.html.j2")
    return template.render(title=title, disclaimer=DISCLAIMER, topics=topics, tally=tally)


def render_comparison(title: str, comparisons: Sequence[ComparisonSection]) -> str:
    """Write the page of a comparison as HTML text."""
    template = _environment().get_template("compare.html.j2")
    return template.render(title=title, disclaimer=DISCLAIMER, comparisons=comparisons)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bitdose.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": num, "est": est, "pct": pct, "pts": pts, "size": size, "counted": counted}
    environment.filters |= {
        "told": told,
        "amount": amount,
        "level": level,
        "seconds": seconds_text,
        "pvalue": pvalue,
        "joined": joined,
    }
    return environment


def joined(text: str) -> str:
    """Keep a percent sign on the line of its number."""
    return text.replace(" %", "\u00a0%")


def amount(value: float, margin: Margin) -> str:
    """Write a loss or a margin without its unit; an en dash where it is undefined."""
    return "–" if math.isnan(value) else shown_amount(value, margin, unit=False)


def level(value: float, margin: Margin) -> str:
    """Write a metric's own value: a share in percent, anything else as it is."""
    return num(100 * value, 1) if margin.kind.percent else num(value, 3)


def pvalue(value: float) -> str:
    """Write a p-value: ``< 0.0001`` where it is smaller.

    Examples
    --------
    >>> pvalue(0.01234), pvalue(1e-9)
    ('0.012', '< 0.0001')
    """
    if math.isnan(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"  # noqa: PLR2004 -- no test here means more


def num(value: float | None, digits: int = 1) -> str:
    """Write a number; an en dash where it is unknown, ∞ where it is infinite.

    Examples
    --------
    >>> num(1234.56), num(float("nan")), num(float("inf"))
    ('1,234.6', '–', '∞')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.{digits}f}".replace("-", "−") if round(value, digits) else f"{0:.{digits}f}"


def est(estimate: Estimate, digits: int = 3) -> str:
    """Write an estimate with its interval: ``0.818 (0.762 to 0.864)``; an en dash if undefined."""
    if math.isnan(estimate.value):
        return "–"
    if math.isnan(estimate.low):
        return f"{num(estimate.value, digits)} (no interval)"
    return f"{num(estimate.value, digits)} ({num(estimate.low, digits)} to {num(estimate.high, digits)})"


def pct(estimate: Estimate) -> str:
    """Write a fraction in percent with its interval: ``81.8 (76.2 to 86.4)``."""
    return est(_scaled(estimate), 1)


def told(estimate: Estimate, metric: Metric, *, difference: bool = False) -> str:
    """Write a metric's estimate, or its difference, in the unit that the metric is told in."""
    if metric.percent:
        return pts(estimate) if difference else pct(estimate)
    return est(estimate)


def pts(estimate: Estimate) -> str:
    """Write a difference in percentage points, signed, with its interval."""
    if math.isnan(estimate.value):
        return "–"
    value, low, high = (signed(100 * v) for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} (no interval)" if math.isnan(estimate.low) else f"{value} ({low} to {high})"


def size(count: float) -> str:
    """Write a number of bytes, an en dash where it is unknown."""
    return "–" if math.isnan(count) else bytes_text(count)


def methods_used(summary: Summary) -> list[tuple[str, str]]:
    """Return which interval stands behind which number, as found in the estimates themselves."""
    uses: dict[str, dict[str, None]] = {}
    for point in summary.points:
        named = {METRICS[name].words: point.estimates[name] for name in METRICS if name in point.estimates}
        named |= _differences(point.estimates) | {"share of changed answers": point.flips.share}
        for one in point.classes:
            named |= {
                f"{METRICS[name].words} of a class": one.estimates[name]
                for name in METRICS
                if name in one.estimates
            }
            named |= {f"{name} of a class": found for name, found in _differences(one.estimates).items()}
        for name, estimate in named.items():
            if not math.isnan(estimate.value):
                uses.setdefault(f"{estimate.method}, unit {estimate.unit}", {})[name] = None
    return [(method, ", ".join(names)) for method, names in uses.items()]


def _differences(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    named = {f"difference of {metric.words}": f"{name}_difference" for name, metric in METRICS.items()}
    return {words: estimates[name] for words, name in named.items() if name in estimates}


def flat_manifest(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Flatten nested JSON values to ``a.b`` and text, long values cut."""
    if isinstance(value, Mapping) and value:
        return [
            row for key, part in value.items() for row in flat_manifest(part, f"{name}.{key}".lstrip("."))
        ]
    if isinstance(value, list | tuple) and value and not isinstance(value[0], str | int | float):
        return [row for index, part in enumerate(value) for row in flat_manifest(part, f"{name}.{index}")]
    shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    cut = shown if len(shown) <= _LONGEST_VALUE else shown[: _LONGEST_VALUE - 1] + "…"
    return [(name, cut)] if name else []


def _scaled(estimate: Estimate) -> Estimate:
    value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
    return replace(estimate, value=value, low=low, high=high)
