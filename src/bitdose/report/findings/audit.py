"""The audit page as data: what an assessor asks about compressed input, answered from the study.

The topics are those that assessments of AI for health usually go through, narrowed to what
compression can change; the wording is our own. An answer is made of the table, the summary, the
decision and the manifest and of nothing else. What these do not hold is said to be not recorded; what
no study of this kind can tell is said to be not answered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bitdose.decision.base import Decision
from bitdose.report.findings.counts import (
    class_counts,
    counts,
    patients_text,
    span,
    splits_text,
)
from bitdose.report.findings.decision import chain_test_rows, harmed, rule_rows, sentences
from bitdose.report.findings.flips import of_model
from bitdose.report.findings.limitations import NotShown
from bitdose.report.findings.phrasing import point_words
from bitdose.report.findings.sentences import counted, first_loss, points_of
from bitdose.report.findings.subgroups import Subgroup
from bitdose.results.summary import PointSummary, Summary

if TYPE_CHECKING:
    from polars import DataFrame

State = Literal["answered", "not recorded", "not answered by this study"]
ANSWERED: State = "answered"
NOT_RECORDED: State = "not recorded"
NOT_ANSWERED: State = "not answered by this study"
_MAX_REASONS = 10
_SEARCH = (
    "Points pass an individual test, at a fiftieth of the chain's alpha over its points, or a sequential "
    "one; the true loss is taken not to fall along a chain"
)
_FIXED_SEQUENCE = "Each runs from weak to strong compression and stops at the first failure"


@dataclass(frozen=True)
class Question:
    """One question of an assessment and what this study has to say to it.

    Parameters
    ----------
    topic, asked : str
        Under what, and what.
    answers : tuple of str
        Sentences or rows; empty where there is none.
    state : {"answered", "not recorded", "not answered by this study"}
        What to make of it.
    """

    topic: str
    asked: str
    answers: tuple[str, ...]
    state: State


@dataclass(frozen=True, eq=False)
class _Study:
    """What the answers are made from; ``cases`` has one row per case."""

    summary: Summary
    table: DataFrame
    cases: DataFrame
    manifest: Mapping[str, Any]
    decision: Decision | None
    open: NotShown | None
    groups: Sequence[Subgroup]
    profile: str


def audit_rows(
    summary: Summary,
    table: DataFrame,
    *,
    manifest: Mapping[str, Any],
    decision: Decision | None = None,
    open_points: NotShown | None = None,
    groups: Sequence[Subgroup] = (),
    profile: str = "",
) -> list[Question]:
    """Answer the questions that an assessor asks about compressed input.

    Parameters
    ----------
    summary : Summary
        Of ``table``.
    table : polars.DataFrame
        Results in the schema of :mod:`bitdose.results.schema`.
    manifest : mapping
        JSON values of the run; may be empty.
    decision : Decision, optional
        What was decided on the same table.
    open_points : NotShown, optional
        From :func:`bitdose.report.findings.limitations.not_shown`.
    groups : sequence of Subgroup
        From :func:`bitdose.report.findings.subgroups.subgroups`, the certified point among its points.
    profile : str
        Identity of the signed profile and of its key; empty where there is none.

    Returns
    -------
    list of Question
        In the order of the page, by topic.
    """
    own = of_model(table, summary)
    cases = own.unique("case_id", keep="first", maintain_order=True)
    study = _Study(summary, own, cases, manifest, decision, open_points, groups, profile)
    topics = (_use, _inputs, _data, _compression, _endpoint, _result, _missing, _groups, _robustness)
    return [q for topic in (*topics, _reproducing, _limits, _after, _signed) for q in topic(study)]


def _asked(topic: str, asked: str, *answers: str, otherwise: State = NOT_RECORDED) -> Question:
    """Make a question; without any answer its state is ``otherwise``."""
    given = tuple(answer for answer in answers if answer)
    return Question(topic, asked, given, ANSWERED if given else otherwise)


def _use(study: _Study) -> list[Question]:
    topic = "Intended use"
    labels = ", ".join(study.summary.labels)
    return [
        _asked(
            topic, "What does the classifier tell apart?", f"{len(study.summary.labels)} classes: {labels}."
        ),
        _asked(topic, "Which classifier is it?", study.summary.model),
        _asked(topic, "For which patients, users and settings is it meant?"),
        _asked(topic, "What follows from its answer, and who looks at the image besides it?"),
    ]


def _inputs(study: _Study) -> list[Question]:
    topic, cases = "Input", study.cases
    wide, high = span(cases, "case_width"), span(cases, "case_height")
    taken = study.manifest.get("identity", {}).get("input", {})
    spec = ", ".join(
        f"{key} {value}" for key, value in taken.items() if key != "labels" and value is not None
    )
    return [
        _asked(topic, "Which modality?", counts(cases, "case_modality")),
        _asked(topic, "Which file formats?", counts(cases, "case_format")),
        _asked(topic, "How large are the images?", f"{wide} wide, {high} high." if wide and high else ""),
        _asked(topic, "How many slices, and how many bits per sample?", *_depth(cases)),
        _asked(topic, "How are stored samples turned into pixels?", _mapping(cases)),
        _asked(topic, "What does the classifier take in?", spec),
    ]


def _data(study: _Study) -> list[Question]:
    topic, cases, summary = "Reference data", study.cases, study.summary
    lossy = f"{summary.n_lossy_sources:,} of {counted(summary.n_cases, 'source file')} lossily coded before."
    known = "case_lossy" in cases.columns and cases["case_lossy"].null_count() < cases.height
    return [
        _asked(topic, "How many cases and patients?", patients_text(cases)),
        _asked(topic, "How many of each class?", class_counts(cases)),
        _asked(topic, "Where do they come from?", counts(cases, "case_source")),
        _asked(topic, "Which split are they of?", splits_text(cases)),
        _asked(
            topic,
            "Is it shown that training never saw them?",
            otherwise=NOT_ANSWERED,
        ),
        _asked(topic, "Who set the reference standard, and how?"),
        _asked(topic, "What had the sources been through before?", lossy if known else ""),
    ]


def _compression(study: _Study) -> list[Question]:
    topic, table, found = "What was compressed, and with what", study.table, _certified(study)
    chains = [
        f"{name}: {counted(len(points), 'point')}, {points[0].point} to {points[-1].point}"
        for name, points in study.summary.chains().items()
    ]
    return [
        _asked(topic, "At which strengths was it tested?", *chains),
        _asked(topic, "Which software coded?", counts(table, "codec_library", unit="coded exam")),
        _asked(
            topic,
            "Which kernels downsized and interpolated?",
            counts(table, "codec_kernels", unit="coded exam"),
        ),
        _asked(
            topic,
            "Was every strength coded alone, or cut from one stream?",
            counts(table, "codec_mode", unit="coded exam"),
        ),
        _asked(topic, "Which point may be used?", *found),
    ]


def _endpoint(study: _Study) -> list[Question]:
    topic, decision = "Endpoint and error control", study.decision
    rows = dict(rule_rows(decision)) if decision else {}
    level = f"{100 * study.summary.level:g} %, resampling unit {study.summary.resampling_unit}"
    searched = decision is not None and any(chain.searched for chain in decision.chain_tests)
    order = _SEARCH if searched else _FIXED_SEQUENCE
    multiple = (
        f"Order of tests: {rows['Order of tests']}. {order}, so that the chance of certifying a "
        "point that loses too much stays at alpha over all points."
        if rows
        else ""
    )
    before = {"yes": "Yes", "no": "No"}.get(rows.get("Fixed before the run", ""), "")
    methods = (
        sorted({t.test.method for w in decision.chain_tests for p in w.tested for t in p.tests})
        if decision
        else []
    )
    return [
        _asked(
            topic,
            "Which loss was accepted, in which measure?",
            rows.get("Margins, all of which must hold", ""),
        ),
        _asked(
            topic,
            "Was that fixed before anyone saw results?",
            f"{before}. Digest of the rule: {rows['Digest of the rule']}" if before else "",
        ),
        _asked(topic, "At which error rate?", rows.get("Alpha", "")),
        _asked(topic, "How are many points kept from passing by luck?", multiple),
        _asked(topic, "Were choosing and proving kept apart?", rows.get("Chosen on, proven on", "")),
        _asked(topic, "Which tests decided?", ", ".join(methods)),
        _asked(topic, "At which level are the other intervals?", level),
    ]


def _result(study: _Study) -> list[Question]:
    topic, decision = "Result", study.decision
    said = sentences(decision) if decision else []
    stops = (
        [
            f"{w.chain}: {f'stopped at {w.stopped_at}: ' if w.stopped_at else ''}{w.why}"
            for w in chain_test_rows(decision)
        ]
        if decision
        else []
    )
    harm = ""
    if decision and decision.certified:
        right, wrong = harmed(study.table, decision, decision.certified.point)
        harm = (
            f"Of {counted(right, 'answer')} right at pristine, {wrong:,} wrong at {decision.certified.point}."
        )
    return [
        _asked(topic, "What was decided?", *said),
        _asked(topic, "Where did the tests stop?", *stops),
        _asked(topic, "How many right answers turn wrong?", harm),
    ]


def _missing(study: _Study) -> list[Question]:
    topic, summary = "Missing data and failures", study.summary
    n_failed, all_cases = summary.n_failed_cases, counted(summary.n_cases, "case")
    failed = f"{n_failed:,} of {all_cases} failed at one point at least." if n_failed else "No case failed."
    reasons = [f"{n:,}: {reason}" for reason, n in list(summary.failures.items())[:_MAX_REASONS]]
    planned = (
        f"{summary.n_cases:,} of {summary.n_planned:,} planned cases were run." if summary.n_planned else ""
    )
    rule = (
        "A point at which a case that pristine answers has no answer does not pass." if study.decision else ""
    )
    return [
        _asked(topic, "How many cases failed, and why?", failed, *reasons),
        _asked(topic, "Was the whole set run?", planned),
        _asked(topic, "How do failures count in the decision?", rule),
    ]


def _groups(study: _Study) -> list[Question]:
    topic, decision = "Subgroups", study.decision
    best = decision.certified.point if decision and decision.certified else ""
    changes = [_group_text(group) for group in study.groups if group.point == best]
    small = [
        f"{g.column} {g.value}: with {counted(g.least.n, g.least.unit)} a loss of accuracy below "
        f"{g.least.text} stays open"
        for g in (study.open.groups if study.open else ())
    ]
    return [
        _asked(
            topic, "How does accuracy change in each group at the certified point, as observed?", *changes
        ),
        _asked(topic, "Is any group too small to be judged alone?", *small),
    ]


def _group_text(group: Subgroup) -> str:
    where = f"{group.column} {group.group}, {counted(group.n_ok, 'case')}"
    return f"{where}: accuracy {points_of(group.accuracy_difference)} against pristine."


def _robustness(study: _Study) -> list[Question]:
    topic = "Robustness"
    steps = [_breaking(name, points) for name, points in study.summary.chains().items()]
    return [
        _asked(topic, "Is it known where the answers break down?", *steps),
        _asked(
            topic, "Does it hold for another encoder, or another build of this one?", otherwise=NOT_ANSWERED
        ),
        _asked(topic, "Does it hold for damaged, noisy or unusual images?", otherwise=NOT_ANSWERED),
        _asked(topic, "Can a crafted file mislead decoder or classifier?", otherwise=NOT_ANSWERED),
    ]


def _breaking(name: str, points: Sequence[PointSummary]) -> str:
    lost = first_loss(points)
    if lost is None:
        return f"{name}: no clear loss up to {points[-1].point}, which is no proof of none."
    return f"{name}: first clear loss of accuracy at {lost.point}."


def _reproducing(study: _Study) -> list[Question]:
    topic, manifest = "Reproducibility", study.manifest
    identity = manifest.get("identity", {})
    libraries = identity.get("libraries", {})
    listed = ", ".join(f"{name} {version}" for name, version in libraries.items())
    machine = [str(manifest[key]) for key in ("platform", "processor", "python") if manifest.get(key)]
    digest = study.decision.rule.digest() if study.decision else ""
    return [
        _asked(topic, "Which versions ran?", listed),
        _asked(topic, "On which machine?", ", ".join(machine)),
        _asked(topic, "Which seed?", str(manifest["seed"]) if "seed" in manifest else ""),
        _asked(topic, "Digest of the data?", str(identity.get("data", ""))),
        _asked(topic, "Digest of the rule?", digest),
        _asked(topic, "Has another group repeated it?", otherwise=NOT_ANSWERED),
    ]


def _limits(study: _Study) -> list[Question]:
    least = [
        f"{one.metric}: a loss below {one.text} cannot be ruled out with {counted(one.n, one.unit)}"
        for one in (study.open.least if study.open else ())
        if not one.reason
    ]
    said = study.open.sentences if study.open else ()
    return [
        _asked("Limits", "What is the smallest loss that these cases can rule out?", *least),
        _asked("Limits", "What else can this study not show?", *said),
    ]


def _after(_: _Study) -> list[Question]:
    topic = "After deployment"
    return [
        _asked(topic, "How is a change noticed once it is in use?", otherwise=NOT_ANSWERED),
        _asked(topic, "When must the point be certified again?", otherwise=NOT_ANSWERED),
        _asked(topic, "Do decisions of physicians change?", otherwise=NOT_ANSWERED),
    ]


def _signed(study: _Study) -> list[Question]:
    topic = "Responsibility"
    return [
        _asked(topic, "Who signed what?", study.profile),
        _asked(topic, "Who ran the study, and who pays for it?"),
        _asked(topic, "Which ethics board approved the use of the data?"),
    ]


def _certified(study: _Study) -> Sequence[str]:
    decision = study.decision
    if decision is None:
        return ()
    found = decision.certified
    if found is None:
        return ("None: no point was shown to hold every margin.",)
    ratios = f"{found.ratio_pixels:.1f}:1 of the raw pixels"
    if not math.isnan(found.ratio_file):
        ratios = f"{found.ratio_file:.1f}:1 of the source files, {ratios}"
    return (f"{found.point}: {point_words(found.point)}; {ratios}, {found.mean_bytes:,.0f} bytes per exam.",)


def _depth(cases: DataFrame) -> Sequence[str]:
    slices, bits = span(cases, "case_slices"), span(cases, "case_bits")
    many = f"{slices} {'slice' if slices == '1' else 'slices'}"
    return [text for text in (many if slices else "", f"{bits} bits" if bits else "") if text]


def _mapping(cases: DataFrame) -> str:
    if "case_mapping" not in cases.columns or not cases["case_mapping"].drop_nulls().len():
        return ""
    return counts(cases, "case_mapping", empty="taken as they are")
