"""From a spec to a plan: cases found, points expanded, classifier checked, identity fixed."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bitdose.codecs.base import CODECS
from bitdose.codecs.grid import expand_points
from bitdose.codecs.point import Point
from bitdose.data.base import Case, CaseSet, Color
from bitdose.data.load import load_cases, select_cases
from bitdose.hashing import digest
from bitdose.models.base import Classifier
from bitdose.models.load import ModelRef, check_labels, choose_runtime, probe
from bitdose.models.spec import LabelsMissingError
from bitdose.native.library import state
from bitdose.results.schema import SCHEMA_VERSION
from bitdose.results.table import CASES_DIGEST, cases_digest
from bitdose.study.spec import StudySpec

_LOG = logging.getLogger(__name__)
_LIBRARIES = (
    "imagecodecs",
    "nibabel",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "pydicom",
)  # fmt: skip


@dataclass(frozen=True)
class StudyJob:
    """Settings for every worker; small and picklable.

    Parameters
    ----------
    points : tuple of Point
        Pristine first, then chain by chain from weak to strong.
    color : str
        As in the spec.
    exact, ssim : bool
        As in the spec.
    model : ModelRef or None
        Reference that a worker process loads; None for a classifier object.
    grid : tuple of Point
        All points of the study where ``points`` is a subset (in a search); else empty.
    """

    points: tuple[Point, ...]
    color: Color
    exact: bool
    ssim: bool
    model: ModelRef | None
    grid: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All that is fixed before the first case runs."""

    spec: StudySpec
    cases: CaseSet
    job: StudyJob
    classifier: Classifier
    identity: Mapping[str, Any]
    manifest: Mapping[str, Any]

    def at(self, points: Sequence[Point]) -> Plan:
        """Return the same study at other points, with or without pristine."""
        spec = replace(self.spec, points=tuple(map(str, points)))
        job = replace(self.job, points=tuple(points))
        identity = _identity(spec, self.cases, job, self.classifier)
        return replace(
            self, spec=spec, job=job, identity=identity, manifest={**self.manifest, "identity": identity}
        )


def make_plan(spec: StudySpec, classifier: Classifier | None = None, *, cases: CaseSet | None = None) -> Plan:
    """Plan a study: read the list of cases, load and probe the classifier, expand the points.

    Parameters
    ----------
    spec : StudySpec
        The study specification.
    classifier : Classifier, optional
        A loaded classifier (any callable in a ``CallableClassifier``) in place of ``spec.model``.
    cases : CaseSet, optional
        Cases that came as Python objects, in place of ``spec.data``; split, limit and classes of the spec
        apply to them.

    Raises
    ------
    UsageError
        If data, points and model are inconsistent.
    """
    points = expand_points(spec.points)
    cases = find_cases(spec, cases)
    spec, loaded = (spec, classifier) if classifier else _loaded(with_runtime(spec)[0], cases.labels)
    reference = None if classifier else _reference(spec)
    check_labels(loaded.spec.labels, cases.labels)
    probe(loaded)
    job = StudyJob(points, spec.color, spec.exact, spec.ssim, reference)
    identity = _identity(spec, cases, job, loaded)
    return Plan(spec, cases, job, loaded, identity, _manifest(spec, cases, identity, loaded))


def _loaded(spec: StudySpec, labels: tuple[str, ...]) -> tuple[StudySpec, Classifier]:
    """Load the classifier; one without labels has the data's, in sorted order as with ``ImageFolder``."""
    try:
        return spec, _reference(spec).load()
    except LabelsMissingError:
        spec = spec.updated(input=spec.input | {"labels": list(labels)})
        found = _reference(spec).load()
        _LOG.warning(
            "labels: the model names none, so its outputs are taken for the data's classes in sorted order: "
            "%s; where they stand in another, name them in that order",
            ", ".join(labels),
        )
        return spec, found


def with_runtime(spec: StudySpec) -> tuple[StudySpec, str]:
    """Settle ``runtime="auto"`` as :func:`~bitdose.models.load.choose_runtime` does."""
    ref, said = choose_runtime(_reference(spec))
    return spec.updated(runtime=ref.runtime), said


def _reference(spec: StudySpec) -> ModelRef:
    return ModelRef(spec.model, spec.weights, spec.input, spec.runtime, spec.precision)


def find_cases(spec: StudySpec, cases: CaseSet | None = None) -> CaseSet:
    """List a spec's cases, of those given or of its data; raises ``UsageError`` as ``load_cases`` does."""
    chosen: dict[str, Any] = {
        "split": spec.split, "limit": spec.limit, "classes": spec.classes, "seed": spec.seed
    }  # fmt: skip
    if cases is not None:
        return select_cases(cases, **chosen)
    columns = ("path_column", "label_column", "patient_column")
    return load_cases(Path(spec.data), **{name: getattr(spec, name) for name in columns}, **chosen)


def difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return the first difference between two identities; empty if equal.

    Examples
    --------
    >>> difference({"exact": True}, {"exact": False})
    'exact: the run folder has False, this study True'
    """
    for key in (*mine, *(key for key in theirs if key not in mine)):
        ours, other = mine.get(key), theirs.get(key)
        if ours == other:
            continue
        if isinstance(ours, dict) and isinstance(other, dict):
            return f"{key}: {difference(ours, other)}"
        if isinstance(ours, list) and isinstance(other, list):
            return f"{key}: {_list_difference(ours, other)}"
        return f"{key}: the run folder has {other}, this study {ours}"
    return ""


def codec_libraries(points: tuple[Point, ...]) -> dict[str, str]:
    """Return the library build of every codec among the points."""
    names = dict.fromkeys(point.codec for point in points if not point.is_pristine)
    return {name: CODECS.get(name).library() for name in names}


def _identity(spec: StudySpec, cases: CaseSet, job: StudyJob, classifier: Classifier) -> dict[str, Any]:
    """Return the identity of a run: rows of two runs may be combined only if it is equal.

    A decision rule is part of it: fixed before the run, it cannot change when the run is resumed.
    """
    found = {
        "schema": SCHEMA_VERSION,
        "points": [str(point) for point in job.points],
        "model": classifier.name,
        "input": classifier.spec.to_dict(),
        "cases": len(cases.cases),
        "data": digest([_case_identity(case) for case in cases.cases]),
        "color": spec.color,
        "exact": spec.exact,
        "ssim": spec.ssim,
        "codecs": codec_libraries(job.points),
        "device": classifier.device,
        "libraries": {name: _version(name) for name in _libraries(classifier.device)},
    }
    return found | ({"decision": spec.rule.to_dict()} if spec.rule else {})


def _case_identity(case: Case) -> list[Any]:
    """Return what a case is known by: its file's size, or its pixels' digest, beside what its row says."""
    pixels: int | str = -1
    if case.pixels:
        pixels = case.pixels.digest
    else:
        with contextlib.suppress(OSError, ValueError):  # missing, or not a path: reported when it is read
            pixels = case.path.stat().st_size
    return [case.id, case.label, case.patient, case.split, pixels, dict(case.columns)]


def _manifest(
    spec: StudySpec, cases: CaseSet, identity: dict[str, Any], classifier: Classifier
) -> dict[str, Any]:
    """Return the provenance of the numbers for an assessor; no patient data."""
    known_by = getattr(classifier, "known_by", "")
    found = {
        "bitdose": _version("bitdose"),
        "schema": SCHEMA_VERSION,
        "identity": identity,
        "data": {
            "name": cases.name,
            "split": cases.split,
            "labels": list(cases.labels),
            "patients_from": cases.patients_from,
            CASES_DIGEST: cases_digest((c.id, c.label, c.patient, c.split) for c in cases.cases),
        },
        "seed": spec.seed,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "native": state().to_dict(),
    }
    return found | ({"model_known_by": known_by} if known_by else {})


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _libraries(device: str) -> tuple[str, ...]:
    """Return the versions that can affect a number; torch and OpenVINO only where used."""
    in_use = {"torch": "torch" in sys.modules, "openvino": device.endswith(":openvino")}
    return ("bitdose", *_LIBRARIES, *(name for name, used in in_use.items() if used))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _list_difference(ours: list[Any], theirs: list[Any]) -> str:
    added = [item for item in ours if item not in theirs]
    gone = [item for item in theirs if item not in ours]
    words = [f"this study adds {added[0]}" if added else "", f"it lacks {gone[0]}" if gone else ""]
    return " and ".join(word for word in words if word) or "the order differs"
