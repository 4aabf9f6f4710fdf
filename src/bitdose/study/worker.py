"""One case at all points: the only place that combines data, codec and model.

``coded_chunks`` reads and codes; ``ask`` classifies a chunk's inputs and ``fill_predictions`` writes the
predictions into its rows; ``in_order`` assembles a case's rows. ``run_case`` does all of it in one process;
an engine with a separate classifier process (for a GPU) distributes the steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bitdose.codecs.coding import Coded, SharedStreams, code_points
from bitdose.codecs.point import Point
from bitdose.data.base import Case, Source
from bitdose.errors import CaseError
from bitdose.image import Image
from bitdose.models.base import Batch, Classifier, InputSpec, Probabilities, answer
from bitdose.models.prepare import check_fits, prepare_many
from bitdose.results.schema import OK, PRISTINE, probability_columns
from bitdose.study.plan import StudyJob
from bitdose.study.rows import Original, Row, coding_columns, identity_columns, source_columns
from bitdose.study.source_cache import SourceCache

_FP32 = {"fp32_predicted", "fp32_gap"}  # of pristine rows only
_SAME_AS = "same input as"  # placeholder for a prediction, until ``in_order``

# A CPU's caches like small batches (4 images of 256x256; benchmarks/parts.py), a GPU large ones.
_CHUNK_SAMPLES = {"cpu": 2**18, "cuda": 2**23}
_CHUNK_DECODED_SAMPLES = 2**26
_GROUP = 4  # images resized to the classifier's input at a time
_REMEMBERED_SAMPLES = 2**23


class ChunkPredictions(NamedTuple):
    """A classifier's probabilities for a chunk's inputs.

    Parameters
    ----------
    probabilities : numpy.ndarray
        ``(n, n_classes)`` float in [0, 1]; NaN in rows without a prediction.
    in_fp32 : numpy.ndarray or None
        Probabilities of the fp32 network for the pristine inputs only; None where the classifier
        itself is in fp32, or no input is pristine.
    """

    probabilities: Probabilities
    in_fp32: Probabilities | None = None


class Chunk(NamedTuple):
    """Part of a case's rows.

    Parameters
    ----------
    waiting : list of dict
        Rows that await a prediction.
    inputs : numpy.ndarray
        ``(len(waiting), ...)`` float32, inputs of the classifier; empty without waiting rows.
    settled : list of dict
        Rows that failed, or whose input equals an earlier row's.
    """

    waiting: list[Row]
    inputs: Batch
    settled: list[Row]

    @property
    def pristine(self) -> list[int]:
        """Mask of the pristine inputs."""
        return [index for index, row in enumerate(self.waiting) if row["point"] == PRISTINE]


def run_case(
    case: Case, job: StudyJob, classifier: Classifier, *, kept: SourceCache | None = None
) -> list[Row]:
    """Read, code, decode and classify one case at every point.

    Parameters
    ----------
    case : Case
        The case, by reference.
    job : StudyJob
        Points and settings.
    classifier : Classifier
        The loaded classifier.
    kept : SourceCache, optional
        Cache of sources for repeated tasks on one case.

    Returns
    -------
    list of dict
        One row per point, in the job's order; a point that failed has status and reason.
    """
    rows: list[Row] = []
    name, spec, device = classifier.name, classifier.spec, classifier.device
    for chunk in coded_chunks(case, job, name, spec, device=device, kept=kept):
        if chunk.waiting:
            fill_predictions(chunk, ask(classifier, chunk.inputs, chunk.pristine), spec)
        rows += chunk.waiting + chunk.settled
    return in_order(rows, job)


def coded_chunks(
    case: Case,
    job: StudyJob,
    model: str,
    spec: InputSpec,
    *,
    device: str = "cpu",
    kept: SourceCache | None = None,
) -> Iterator[Chunk]:
    """Read and code one case; yield its rows with the inputs of those that await a prediction.

    Parameters
    ----------
    case, job
        As for :func:`run_case`.
    model : str
        The classifier's name, for the rows.
    spec : InputSpec
        Input specification of the classifier.
    device : str
        Device of the classifier; chunks are larger for a GPU.
    kept : SourceCache
        As for :func:`run_case`.

    Yields
    ------
    Chunk
        Memory holds one chunk, not all variants of the case.
    """
    kept = kept or SourceCache(0)
    try:
        source = kept.read(case, color=job.color)
    except CaseError as error:
        yield Chunk([], np.empty(0, np.float32), failed_rows(case, job, model, error))
        return
    seen, images, rows, settled = _Seen(), list[Image](), list[Row](), list[Row]()
    limit = _images_per_chunk(source.image, spec, device)
    original = Original(source.image, with_ssim=job.ssim)
    for point, coded in _variants(source, job, kept.streams(case, color=job.color)):
        row = identity_columns(case, point, model) | source_columns(source)
        try:
            if isinstance(coded, CaseError):
                raise coded
            row |= coding_columns(original, coded)
            check_fits(coded.image, spec)
        except CaseError as error:
            settled.append(row | {"status": error.status, "reason": error.reason})
            continue
        if images and (len(images) >= limit or not _alike(images[0], coded.image, spec)):
            yield _chunk(rows, images, settled, spec, seen)
            images, rows, settled = [], [], []
        rows.append(row)
        images.append(coded.image)
    if rows or settled:
        yield _chunk(rows, images, settled, spec, seen)


def ask(classifier: Classifier, inputs: Batch, pristine: Sequence[int]) -> ChunkPredictions:
    """Classify inputs; at a precision other than fp32, classify the pristine ones in fp32 too."""
    plain = classifier.in_fp32 if pristine else None
    return ChunkPredictions(
        classifier.predict(inputs), plain.predict(inputs[list(pristine)]) if plain else None
    )


def fill_predictions(chunk: Chunk, predictions: ChunkPredictions, spec: InputSpec) -> None:
    """Write a classifier's predictions into a chunk's rows."""
    columns, probabilities = probability_columns(spec.labels), predictions.probabilities
    labels = answer(probabilities, spec)
    for row, values, label in zip(chunk.waiting, probabilities.tolist(), labels, strict=True):
        if label is None:
            reason = "the model returned NaN or values outside [0, 1]"
            row.update(status="model-output", reason=reason)
        else:
            row.update(zip(columns, values, strict=True), predicted=label, status=OK)
    if predictions.in_fp32 is None:
        return
    gaps = np.abs(probabilities[chunk.pristine] - predictions.in_fp32).max(axis=1).tolist()
    for index, label, gap in zip(chunk.pristine, answer(predictions.in_fp32, spec), gaps, strict=True):
        chunk.waiting[index].update(fp32_predicted=label, fp32_gap=gap)


def in_order(rows: Sequence[Row], job: StudyJob) -> list[Row]:
    """Return a case's classified rows in the job's order; equal inputs share their prediction."""
    by_point = {row["point"]: row for row in rows}
    for row in rows:
        original = by_point.get(row.pop(_SAME_AS, None))
        if original is not None:
            answered = original.keys() - row.keys() - _FP32
            row |= {name: value for name, value in original.items() if name in answered}
    return [by_point[str(point)] for point in job.points]


def failed_rows(case: Case, job: StudyJob, model: str, error: CaseError) -> list[Row]:
    """Return the rows of a case that failed as a whole: one per point, with status and reason."""
    failure = {"status": error.status, "reason": error.reason}
    return [identity_columns(case, point, model) | failure for point in job.points]


def crash(error: Exception) -> CaseError:
    """Convert an unexpected error into a case's failure, at the edge of an engine.

    Only the type of the error is retained: its text may quote the file.
    """
    if isinstance(error, MemoryError):
        return CaseError("out-of-memory", "the case does not fit into memory")
    return CaseError("crashed", f"{type(error).__name__} while the case was worked on")


class _Seen:
    """Inputs of a case that are already classified, so that equal inputs are classified once."""

    def __init__(self) -> None:
        self.by_sum: dict[float, tuple[str, Batch]] = {}
        self.room = _REMEMBERED_SAMPLES

    def before(self, point: str, entry: Batch) -> str | None:
        """Return the earlier point with the same input, or else record this one (while there is room)."""
        total = float(np.add.reduce(entry, axis=None))
        earlier, remembered = self.by_sum.get(total, ("", None))
        if remembered is not None and np.array_equal(remembered, entry):
            return earlier
        if entry.size <= self.room:
            self.by_sum[total] = (point, entry)
            self.room -= entry.size
        return None


def _chunk(rows: list[Row], images: list[Image], settled: list[Row], spec: InputSpec, seen: _Seen) -> Chunk:
    waiting, inputs = [], []
    for row, entry in zip(rows, prepare_many(images, spec), strict=True):
        earlier = seen.before(row["point"], entry)
        if earlier is None:
            waiting.append(row)
            inputs.append(entry)
        else:
            settled.append(row | {_SAME_AS: earlier})
    return Chunk(waiting, np.stack(inputs) if inputs else np.empty(0, np.float32), settled)


def _alike(first: Image, other: Image, spec: InputSpec) -> bool:
    """Whether two variants fit into one batch: without a size a classifier sees them as they come."""
    return spec.size is not None or first.pixels.shape == other.pixels.shape


def _images_per_chunk(image: Image, spec: InputSpec, device: str) -> int:
    """Return the variants per chunk, as a compromise between batch size and memory."""
    plane = math.prod(spec.size) if spec.size else image.height * image.width
    wanted = _CHUNK_SAMPLES.get(device, _CHUNK_SAMPLES["cpu"]) // (plane * spec.channels * image.n_slices)
    in_memory = _CHUNK_DECODED_SAMPLES // image.pixels.size
    whole_groups = max(1, -(-wanted // _GROUP)) * _GROUP if image.n_slices < _GROUP else wanted
    return int(max(1, min(whole_groups, in_memory)))


def _variants(
    source: Source, job: StudyJob, shared: SharedStreams | None
) -> Iterator[tuple[Point, Coded | CaseError]]:
    for point in job.points:
        if point.is_pristine:
            yield point, Coded(point, source.image, source.file_bytes or source.image.raw_bytes)
    yield from code_points(source.image, job.points, exact=job.exact, grid=job.grid, shared=shared)
