"""One case through all points: the only place where data, codec and model meet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bitdose.codecs.coding import Coded, code_points, kernel_names
from bitdose.codecs.point import Point
from bitdose.data.base import Case, Source
from bitdose.data.read import read_source
from bitdose.errors import CaseError
from bitdose.image import Image
from bitdose.metrics.fidelity import psnr_db, ssim
from bitdose.models.base import Batch, Classifier, answer
from bitdose.models.prepare import prepare
from bitdose.results.schema import COLUMNS, OK, probability_columns
from bitdose.study.plan import Job

Row = dict[str, Any]

_BATCH_SAMPLES = 2**21  # a batch is full from here on: 32 images of 256x256, or one volume


def run_case(case: Case, job: Job, classifier: Classifier) -> list[Row]:
    """Read, code, decode and classify one case at every point.

    Parameters
    ----------
    case : Case
        The case, by reference.
    job : Job
        Points and settings.
    classifier : Classifier
        The loaded classifier.

    Returns
    -------
    list of dict
        One row per point, in the job's order; a point that failed has status and reason.
    """
    try:
        source = read_source(case.path, color=job.color)
    except CaseError as error:
        return failed_rows(case, job, classifier.name, error)
    rows: dict[Point, Row] = {}
    waiting: list[tuple[Row, Batch]] = []
    for point, coded in _variants(source, job):
        row = rows[point] = _identity_columns(case, point, classifier.name) | _source_columns(source)
        try:
            if isinstance(coded, CaseError):
                raise coded
            row |= _measures(source.image, coded, with_ssim=job.ssim)
            waiting.append((row, prepare(coded.image, classifier.spec)))
        except CaseError as error:
            row |= {"status": error.status, "reason": error.reason}
        if sum(batch.size for _, batch in waiting) >= _BATCH_SAMPLES:
            _classify(waiting, classifier)
            waiting = []
    _classify(waiting, classifier)
    return [rows[point] for point in job.points]


def failed_rows(case: Case, job: Job, model: str, error: CaseError) -> list[Row]:
    """Return the rows of a case that failed as a whole: one per point, with status and reason."""
    failure = {"status": error.status, "reason": error.reason}
    return [_identity_columns(case, point, model) | failure for point in job.points]


def _variants(source: Source, job: Job) -> Iterator[tuple[Point, Coded | CaseError]]:
    for point in job.points:
        if point.is_pristine:
            yield point, Coded(point, source.image, source.file_bytes)
    yield from code_points(source.image, job.points, exact=job.exact)


def _identity_columns(case: Case, point: Point, model: str) -> Row:
    resize = point.resize
    return {
        "case_id": case.id,
        "case_label": case.label,
        "case_patient": case.patient,
        "case_split": case.split,
        **_further_columns(case),
        "point": str(point),
        "codec_name": point.codec,
        "codec_chain": point.chain,
        "codec_quality": None if point.quality is None else float(point.quality),
        "codec_strength": float(point.strength),
        "codec_size": f"{resize.width}x{resize.height}" if resize else "",
        "codec_kernels": kernel_names(resize),
        "model": model,
    }


def _further_columns(case: Case) -> Row:
    """Return the table's own columns; one that we measure ourselves gives way to what we measure."""
    named = {f"case_{name}": value for name, value in case.columns.items()}
    return {name: value for name, value in named.items() if name not in COLUMNS}


def _source_columns(source: Source) -> Row:
    image = source.image
    return {
        "case_format": source.format,
        "case_lossy": source.lossy,
        "case_digest": source.digest,
        "case_mapping": source.mapping,
        "case_height": image.height,
        "case_width": image.width,
        "case_slices": image.n_slices,
        "case_bits": image.bits,
        "bytes_file": source.file_bytes,
        "bytes_pixels": image.raw_bytes,
    }


def _measures(original: Image, coded: Coded, *, with_ssim: bool) -> Row:
    row: Row = {
        "codec_mode": coded.mode,
        "codec_library": coded.library,
        "codec_mapping": coded.mapping,
        "bytes_coded": coded.coded_bytes,
        "encode_ms": coded.encode_ms,
        "decode_ms": coded.decode_ms,
    }
    if coded.image.pixels.shape != original.pixels.shape:
        return row | {"psnr_db": math.nan, "ssim": math.nan}
    row["psnr_db"] = psnr_db(original.pixels, coded.image.pixels, peak=original.max_value)
    if with_ssim:
        pairs = zip(original.slices(), coded.image.slices(), strict=True)
        row["ssim"] = float(np.mean([ssim(a.pixels, b.pixels, peak=a.max_value) for a, b in pairs]))
    return row


def _classify(waiting: list[tuple[Row, Batch]], classifier: Classifier) -> None:
    """Classify one batch and fill its rows with the answers."""
    if not waiting:
        return
    columns = probability_columns(classifier.spec.labels)
    probabilities = classifier.predict(np.stack([array for _, array in waiting]))
    answers = answer(probabilities, classifier.spec)
    for (row, _), values, label in zip(waiting, probabilities.tolist(), answers, strict=True):
        if label is None:
            reason = "the model returned NaN or values outside [0, 1]"
            row.update(status="model-output", reason=reason)
        else:
            row.update(zip(columns, values, strict=True), predicted=label, status=OK)
