"""The model card: data, recipe, metrics with intervals, limits (Mitchell et al. 2019, arXiv:1810.03993)."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bitdose.data.base import Case, Color
from bitdose.data.read import read_case
from bitdose.errors import CaseError
from bitdose.hashing import file_digest
from bitdose.html_card import DISCLAIMER
from bitdose.models.base import InputSpec, answer
from bitdose.models.onnx import load_onnx
from bitdose.models.prepare import prepare
from bitdose.results.schema import OK, PRISTINE, probability_columns
from bitdose.results.summarize import summarize
from bitdose.results.summary import PointSummary
from bitdose.results.table import rows_to_table
from bitdose.training import checkpoint
from bitdose.training.export import CARD, ONNX, WEIGHTS
from bitdose.training.recipe import Choices
from bitdose.training.split import Splits

METRICS = "metrics.json"


@dataclass(frozen=True)
class CardFacts:
    """Facts of a card that are not measured for it."""

    choices: Choices
    spec: InputSpec
    splits: Splits
    failed: dict[str, str]
    best_epoch: int
    epochs: int
    best_f1: float
    difference: float
    start: str
    teacher: str
    parameters: int


def write_card(facts: CardFacts, folder: Path) -> dict[str, Any]:
    """Evaluate the exported classifier on validation and test; write ``model.md`` and ``metrics.json``.

    Returns
    -------
    dict
        Estimates on the test split as JSON values; empty without a test split.
    """
    import torch

    splits, threads = facts.splits, torch.get_num_threads()
    measured = {
        name: judge(cases, folder / ONNX, color=facts.choices.recipe().color, threads=threads)
        for name, cases in (("validation", splits.validation), ("test", splits.test))
        if cases
    }
    document = {name: _document(point) for name, point in measured.items() if point is not None}
    text = json.dumps(document, indent=2) + "\n"
    checkpoint.write_text_atomically(folder / METRICS, text)
    checkpoint.write_text_atomically(folder / CARD, render(facts, measured, folder))
    return document.get("test", {})


def judge(cases: Sequence[Case], model: Path, *, color: Color, threads: int = 1) -> PointSummary | None:
    """Classify pristine cases with an ONNX file and summarise the predictions like a study.

    Returns
    -------
    PointSummary or None
        Accuracy, macro F1 and the classes' metrics with 95 % intervals; None if no case
        could be read.
    """
    classifier = load_onnx(model, threads=threads)
    columns = probability_columns(classifier.spec.labels)
    rows = []
    for case in cases:
        row: dict[str, Any] = {
            "case_id": case.id, "case_label": case.label, "case_split": case.split,
            "case_patient": case.patient, "model": classifier.name, "point": PRISTINE,
            "codec_name": PRISTINE, "codec_chain": PRISTINE, "codec_strength": 0.0, "codec_size": "",
        }  # fmt: skip
        try:
            source = read_case(case, color=color)
            probabilities = classifier.predict(prepare(source.image, classifier.spec)[None])
        except CaseError as error:
            rows.append(row | {"status": error.status, "reason": error.reason})
            continue
        (said,) = answer(probabilities, classifier.spec)
        if said is None:
            rows.append(row | {"status": "model-output", "reason": "no probabilities"})
            continue
        row |= {"bytes_file": source.file_bytes, "bytes_coded": source.file_bytes, "status": OK}
        row |= {"bytes_pixels": source.image.raw_bytes, "predicted": said}
        rows.append(row | dict(zip(columns, probabilities[0].tolist(), strict=True)))
    if not any(row["status"] == OK for row in rows):
        return None
    table: pl.DataFrame = rows_to_table(rows)
    return summarize(table).points[0]


def render(facts: CardFacts, measured: dict[str, PointSummary | None], folder: Path) -> str:
    """Return the card as Markdown."""
    parts = [
        f"# Model card: {facts.choices.network}",
        f"**{DISCLAIMER}** Made by `bitdose train`.",
        _model_section(facts, folder),
        _data_section(facts),
        _metrics_section(measured),
        _recipe_section(facts),
        _limits_section(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _model_section(facts: CardFacts, folder: Path) -> str:
    spec = facts.spec
    rows = {
        "network": f"{facts.choices.network}, {facts.parameters:,} parameters",
        "input": f"{spec.layout}, size {spec.size}, range {spec.range}, resized by {spec.resize}",
        "output": f"probabilities of {', '.join(spec.labels)}",
        "started from": facts.start or "fresh weights",
        "distilled from": facts.teacher or "the labels alone",
        "chosen": f"epoch {facts.best_epoch} of {facts.epochs}: validation macro F1 {facts.best_f1:.4f}",
        ONNX: f"SHA-256 `{file_digest(folder / ONNX)}`",
        WEIGHTS: f"SHA-256 `{file_digest(folder / WEIGHTS)}`",
        "ONNX against PyTorch": f"largest difference of a probability {facts.difference:.1e}",
        "trained with": _versions(),
    }
    return "## Model\n\n" + _table(("", ""), list(rows.items()))


def _data_section(facts: CardFacts) -> str:
    splits, volumes = facts.splits, facts.spec.takes_volumes
    named = {"learned from": splits.fit, "validation": splits.validation, "test": splits.test}
    rows = []
    for name, cases in named.items():
        counts = Counter(case.label for case in cases)
        patients = str(len({case.patient for case in cases})) if splits.has_patients else "not named"
        rows.append((name, str(len(cases)), patients, *(str(counts[label]) for label in facts.spec.labels)))
    held = "held out of the training split" if splits.drawn else "the data's own split"
    unit = "whole patients" if splits.has_patients else "cases: not every case names a patient"
    notes = [
        f"Data: {splits.name}, SHA-256 of its ids, labels and patients `{splits.digest()}`.",
        f"Validation is {held}, by {unit}; it chose the epoch. Test data chose nothing.",
        f"{len(facts.failed)} cases of training and validation could not be read and were left out.",
        *(
            ["Volumes are in the closest canonical (RAS+) orientation, L from inferior to superior."]
            * volumes
        ),
    ]
    return (
        "## Data\n\n"
        + _table(("", "cases", "patients", *facts.spec.labels), rows)
        + "\n\n"
        + "\n".join(notes)
    )


def _metrics_section(measured: dict[str, PointSummary | None]) -> str:
    lines = ["## Metrics", "", "95 % intervals; patients with several cases count as clusters."]
    for name, point in measured.items():
        if point is None:
            lines += ["", f"{name.capitalize()}: no case could be read."]
            continue
        rows = [("accuracy", f"{point.accuracy:.3f}"), ("macro F1", f"{point.macro_f1:.3f}")]
        for own in point.classes:
            rows.append((f"sensitivity, {own.label}", f"{own.estimates['sensitivity']:.3f}"))
            rows.append((f"specificity, {own.label}", f"{own.estimates['specificity']:.3f}"))
        failed = f", {point.n_failed} more could not be read" if point.n_failed else ""
        lines += ["", _table((f"{name} ({point.n_ok} cases{failed})", "pristine images"), rows)]
    return "\n".join(lines)


def _recipe_section(facts: CardFacts) -> str:
    departures = facts.choices.departures()
    rows = [
        (f"`{key}`", str(old), str(_names(facts).get(key, new))) for key, (old, new) in departures.items()
    ]
    table = _table(("departs from the default", "default", "here"), rows) if rows else "All as by default."
    full = json.dumps(facts.choices.recipe().to_dict() | _names(facts), indent=2)
    return f"## Recipe\n\n{table}\n\n```json\n{full}\n```"


def _names(facts: CardFacts) -> dict[str, Any]:
    """Return the recipe's path fields with the file name only."""
    return {"teacher": Path(facts.choices.recipe().teacher).name}


def _limits_section(facts: CardFacts) -> str:
    lines = [
        "- For measuring the effect of compression, not for diagnosis: never use it on patients.",
        "- The numbers hold for images from the same sources.",
        "- Where classes come from different sources, the network may have learned the source.",
        "- Predictions depend on the input's preparation, which the sidecar states.",
    ]
    if facts.choices.recipe().color == "grey":
        lines.append(
            "- It learned from grey images: colour ones must become grey first (`color` of a study)."
        )
    if facts.teacher:
        lines.append(
            "- Its teacher may have been trained on the cases that chose the epoch, which biases the "
            "validation numbers; the test numbers are unbiased if the teacher never saw the test split."
        )
    return "## Limits\n\n" + "\n".join(lines)


def _document(point: PointSummary) -> dict[str, Any]:
    classes = {
        own.label: {name: own.estimates[name].to_dict() for name in ("sensitivity", "specificity")}
        for own in point.classes
    }
    overall = {"accuracy": point.accuracy.to_dict(), "macro_f1": point.macro_f1.to_dict()}
    return {
        "cases": point.n_ok,
        "failed": point.n_failed,
        **overall,
        "classes": classes,
        "confusion": point.confusion,
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first, *rest = ("| " + " | ".join(map(_cell, row)) + " |" for row in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *rest])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _versions() -> str:
    import torch

    return f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}"
