"""The paper's X-ray set, from its two public sources.

| source | rows taken | label |
| --- | --- | --- |
| ieee8023/covid-chestxray-dataset | view ``PA``, X-ray | last part of ``finding``: :data:`FINDINGS` |
| RSNA Pneumonia Detection Challenge, stage 2 | class ``Normal`` | normal |
| the same | ``Target`` 1, one row per box | pneumonia |

The recipe is that of COVID-Next (github.com/velebit-ai/COVID-Next-Pytorch,
``generate_dataset.py``), with two corrections: one case per image regardless of its number of boxes,
and patients held out over the whole set instead of images class by class. Like COVID-Next, of
the other findings of the COVID set only SARS, MERS (now named ``MERS-CoV``) and Streptococcus are
included, as pneumonia.

An RSNA ``patientId`` names one image, not one person: the images come from NIH
ChestX-ray14, where a person may have several. RSNA's own table of mappings
(``pneumonia-challenge-dataset-mappings_2018.json``) identifies the person; with it, all images
of a person stay in one split.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bitdose.data.base import Case, Scalar
from bitdose.data.guard import decoding
from bitdose.datasets.arrange import Arranged
from bitdose.datasets.inputs import (
    Watch,
    age_years,
    csv_rows,
    existing_folder,
    file_state,
    is_plain_name,
    sex_letter,
)
from bitdose.datasets.paper import absent_warning, paper_set
from bitdose.datasets.split import held_out
from bitdose.errors import CaseError, UsageError, argument
from bitdose.hashing import file_digest

FINDINGS = {
    "covid-19": "covid-19",
    "sars": "pneumonia",
    "mers": "pneumonia",
    "mers-cov": "pneumonia",
    "streptococcus": "pneumonia",
}
COVID_SOURCE = "covid-chestxray"
RSNA_SOURCE = "rsna"
_COVID_FORM = "a clone of ieee8023/covid-chestxray-dataset (metadata.csv and images/)"
_RSNA_FORM = "the RSNA Pneumonia Detection Challenge download (stage_2_*.csv and stage_2_train_images/)"
_METADATA = "metadata.csv"
_CLASSES = "stage_2_detailed_class_info.csv"
_BOXES = "stage_2_train_labels.csv"
_IMAGES = "stage_2_train_images"
_CONFOUND = (
    "every covid-19 image comes from another source than the normal ones: a network can learn the source; "
    "report per case_source"
)
_NIH_NAME = re.compile(r"(\d{8})_\d{3}\.png")
_HEADER_TAGS = ["PatientSex", "PatientAge", "ViewPosition"]


def make_covidx(
    covid: Path, rsna: Path, *, rsna_map: Path | None = None, seed: int = 0, watch: Watch | None = None
) -> Arranged:
    """Arrange the two downloads as the paper's X-ray set.

    Parameters
    ----------
    covid, rsna : pathlib.Path
        The folders of the two downloads.
    rsna_map : pathlib.Path, optional
        RSNA's table of mappings to NIH's images.
    seed : int
        Seed of the hold-out.
    watch : callable, optional
        Called after each RSNA image with the numbers of processed and of all images.

    Returns
    -------
    Arranged
        Cases of ``train`` and ``test``, with the exclusions by reason.

    Raises
    ------
    UsageError
        If a folder or table has an unexpected form, or the mappings match none of the
        images.
    """
    covid, rsna = (
        existing_folder(argument("covid"), covid, _COVID_FORM),
        existing_folder(argument("rsna"), rsna, _RSNA_FORM),
    )
    persons = {} if rsna_map is None else _persons(rsna_map)
    dropped: Counter[str] = Counter()
    rows = csv_rows(argument("covid"), covid / _METADATA, ("patientid", "finding", "view", "filename"))
    cases = _covid_cases(covid, rows, dropped)
    labels, n_rows = _rsna_labels(rsna, dropped)
    if rsna_map is not None:
        _check_mappings(rsna_map, persons, labels)
    cases += _rsna_cases(rsna, labels, persons, dropped, watch)
    share = paper_set("covidx").test_share
    patients: dict[str, set[str]] = {}
    for case in cases:
        patients.setdefault(case.patient, set()).add(case.label)
    test = held_out(patients, share, seed=seed, name="covidx")
    cases = [replace(case, split="test" if case.patient in test else "train") for case in cases]
    inputs = {
        "covid": {_METADATA: file_digest(covid / _METADATA), "rows": len(rows)},
        "rsna": {name: file_digest(rsna / name) for name in (_CLASSES, _BOXES)} | {"rows": n_rows},
    }
    if rsna_map is not None:
        inputs["rsna_map"] = {"sha256": file_digest(rsna_map), "rows": len(persons)}
    options = {"seed": seed, "test_share": share, "rsna_map": rsna_map is not None}
    warnings = _warnings(cases, mapped=rsna_map is not None)
    return Arranged("covidx", tuple(cases), dict(dropped.most_common()), warnings, options, inputs)


def finding_label(finding: str) -> str | None:
    """Return the class of a finding of the COVID set, or None for an excluded one.

    Examples
    --------
    >>> finding_label("Pneumonia/Viral/COVID-19"), finding_label("SARS"), finding_label("Tuberculosis")
    ('covid-19', 'pneumonia', None)
    """
    return FINDINGS.get(finding.rpartition("/")[2].strip().lower())


def _covid_cases(folder: Path, rows: list[dict[str, str]], dropped: Counter[str]) -> list[Case]:
    cases: dict[str, Case] = {}
    for row in rows:
        reason = _covid_reason(folder, row)
        if reason == "" and row["filename"] in cases:
            reason = "image is listed twice"
        if reason:
            dropped[f"COVID set: {reason}"] += 1
            continue
        columns: dict[str, Scalar] = {
            "source": COVID_SOURCE,
            "sex": sex_letter(row.get("sex", "")),
            "age": age_years(row.get("age", "")),
            "view": row["view"],
            "original": row["filename"],
            "finding": row["finding"],
            "licence": row.get("license", ""),
        }
        cases[row["filename"]] = Case(
            id=f"{COVID_SOURCE}/{row['filename']}",
            label=str(finding_label(row["finding"])),
            path=folder / (row.get("folder") or "images") / row["filename"],
            patient=f"{COVID_SOURCE}:{row['patientid']}",
            columns=columns,
        )
    return list(cases.values())


def _covid_reason(folder: Path, row: dict[str, str]) -> str:
    """Return the reason for excluding a row of the COVID set; empty to include it."""
    if row["view"] != "PA":
        return "view is not PA"
    if row.get("modality", "X-ray").lower() not in ("x-ray", ""):
        return "not an X-ray"
    if finding_label(row["finding"]) is None:
        return "finding is of none of the classes"
    if not row["patientid"]:
        return "no patient is named"
    place = row.get("folder") or "images"
    if not is_plain_name(row["filename"]) or not is_plain_name(place):
        return "file name is none, or leads elsewhere"
    return file_state(folder / place / row["filename"])


def _rsna_labels(folder: Path, dropped: Counter[str]) -> tuple[dict[str, str], int]:
    """Return the label of each RSNA image that has one, and the number of rows read."""
    classes = csv_rows(argument("rsna"), folder / _CLASSES, ("patientid", "class"))
    boxes = csv_rows(argument("rsna"), folder / _BOXES, ("patientid", "target"))
    normal = {row["patientid"] for row in classes if row["class"].lower() == "normal"}
    opacity = {row["patientid"] for row in boxes if row["target"] in ("1", "1.0")}
    listed = {row["patientid"] for row in classes} | {row["patientid"] for row in boxes}
    names = {
        "image is neither normal nor with an opacity": listed - normal - opacity,
        "normal and with an opacity at once": normal & opacity,
        "image id is none, or leads elsewhere": {n for n in normal ^ opacity if not is_plain_name(n)},
    }
    for reason, group in names.items():
        if group:
            dropped[f"RSNA: {reason}"] += len(group)
    kept = sorted((normal ^ opacity) - names["image id is none, or leads elsewhere"])
    return {name: "normal" if name in normal else "pneumonia" for name in kept}, len(classes) + len(boxes)


def _rsna_cases(
    folder: Path,
    labels: dict[str, str],
    persons: dict[str, str],
    dropped: Counter[str],
    watch: Watch | None,
) -> list[Case]:
    cases = []
    for done, (name, label) in enumerate(labels.items(), 1):
        path = folder / _IMAGES / f"{name}.dcm"
        columns = file_state(path) or _header_columns(path)
        if watch is not None:
            watch(done, len(labels))
        if isinstance(columns, str):
            dropped[f"RSNA: {columns}"] += 1
            continue
        person = persons.get(name)
        patient = f"{RSNA_SOURCE}:{name}" if person is None else f"nih:{person}"
        cases.append(
            Case(f"{RSNA_SOURCE}/{name}", label, path, patient, columns=columns | {"original": name})
        )
    return cases


def _header_columns(path: Path) -> dict[str, Scalar] | str:
    """Read the table's columns from a DICOM header; the reason if it cannot be read."""
    import pydicom

    try:
        with decoding("DICOM"):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
            sex, age, view = (str(header.get(tag, "") or "") for tag in _HEADER_TAGS)
    except CaseError:
        return "image file is no readable DICOM"
    return {"source": RSNA_SOURCE, "sex": sex_letter(sex), "age": age_years(age), "view": view[:8]}


def _persons(path: Path) -> dict[str, str]:
    """Read RSNA's table of mappings: image id of the challenge to patient number of NIH."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        numbered = rows if isinstance(rows, list) else [rows]
        pairs = {str(row["subset_img_id"]): _NIH_NAME.fullmatch(str(row["img_id"])) for row in numbered}
    except OSError as error:
        raise UsageError(f"{argument('rsna_map')} {str(path)!r}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise UsageError(
            f"{argument('rsna_map')} {path.name!r}: expected RSNA's JSON list with subset_img_id and img_id"
        ) from None
    return {name: found[1] for name, found in pairs.items() if found is not None}


def _check_mappings(path: Path, persons: Mapping[str, str], images: Mapping[str, str]) -> None:
    """Reject the mappings of another set, which would silently separate no patients."""
    if images and persons.keys().isdisjoint(images):
        raise UsageError(
            f"{argument('rsna_map')} {path.name!r}: expected the persons of the {len(images)} "
            f"images of {argument('rsna')}, got "
            f"{len(persons)} mappings and none of these; give this challenge's mappings, or omit it"
        )


def _warnings(cases: list[Case], *, mapped: bool) -> tuple[str, ...]:
    found = [_CONFOUND]
    images = [case for case in cases if case.columns["source"] == RSNA_SOURCE]
    n_unmapped = sum(case.patient.startswith(f"{RSNA_SOURCE}:") for case in images)
    if mapped and n_unmapped:
        found.append(
            f"the RSNA mappings tell no person for {n_unmapped} of {len(images)} RSNA images: each "
            "counts as a "
            "patient, so a person may be in both splits"
        )
    if not mapped:
        found.append(
            "an RSNA patientId is one image, so a person may be in both splits; RSNA's mappings "
            "tell the persons"
        )
    return (*found, *absent_warning("covidx", (case.label for case in cases)))
