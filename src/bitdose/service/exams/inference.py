"""From payloads to predictions: decode, prepare, classify; individually where a batch fails.

The classifier's inputs are computed as in the study: the same decoding, interpolation and preparation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitdose.codecs.coding import Streams, decode_streams, encode_point
from bitdose.codecs.point import Point
from bitdose.data.guard import decoding
from bitdose.data.read import read_bytes
from bitdose.errors import BitdoseError, CaseError
from bitdose.hashing import bytes_digest
from bitdose.image import Image, container
from bitdose.models.base import Batch, Classifier, answer
from bitdose.models.prepare import prepare
from bitdose.service.exams.admission import MAX_PIXELS
from bitdose.wire import Answer, ExamKind, ExamMeta, pack_streams, unpack_streams

_NO_ANSWER = "the classifier gave no probability for this image"
_BROKE = "the classifier cannot take this image"


@dataclass(frozen=True)
class Read:
    """Outcome of one image: a prediction, or the reason of its failure."""

    answer: Answer | None
    reason: str = ""


@dataclass(frozen=True)
class PreparedInput:
    """Classifier input of one image, or the reason of its failure."""

    batch: Batch | None
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class ServerCoded:
    """A pristine exam coded by the server as a clinic's client would."""

    meta: ExamMeta
    payload: bytes


def read_image(meta: ExamMeta, payload: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode a payload to the image before the classifier's preparation.

    Parameters
    ----------
    meta : ExamMeta
        Metadata of the accepted exam.
    payload : bytes
        Packed streams of a coded exam, the file of a pristine one.
    max_pixels : int
        Limit of decoded pixels.

    Raises
    ------
    CaseError
        If it cannot be decoded.
    """
    if meta.kind is ExamKind.PRISTINE:
        return read_bytes(payload, max_pixels=max_pixels).image
    shape = (meta.rows, meta.columns)
    if meta.photometric == "RGB":
        shape = (*shape, 3)  # type: ignore[assignment]
    elif meta.slices > 1:
        shape = (meta.slices, *shape)  # type: ignore[assignment]
    photometric = "RGB" if meta.photometric == "RGB" else "MONOCHROME2"
    original = Image(np.zeros(shape, container(meta.bits)), meta.bits, photometric)  # type: ignore[arg-type]
    point = Point.parse(meta.point)
    with decoding(point.codec):
        return decode_streams(original, point, Streams(unpack_streams(payload), 0.0, "")).image


def prepared(meta: ExamMeta, payload: bytes, classifier: Classifier) -> PreparedInput:
    """Decode and prepare one exam; an error becomes its reason."""
    started = time.perf_counter()
    try:
        batch = prepare(read_image(meta, payload), classifier.spec)
    except CaseError as error:
        return PreparedInput(None, 0.0, error.reason)
    except BitdoseError as error:
        return PreparedInput(None, 0.0, str(error))
    return PreparedInput(batch, time.perf_counter() - started)


def read_batch(items: Sequence[PreparedInput], classifier: Classifier) -> list[Read]:
    """Classify prepared exams in one call per shape; results in the given order.

    An input that breaks a batch is isolated by individual calls; the others keep their predictions.

    Parameters
    ----------
    items : sequence of PreparedInput
        From any exams.
    classifier : Classifier
        Loaded.
    """
    found = [Read(None, item.reason) for item in items]
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, item in enumerate(items):
        if item.batch is not None:
            groups.setdefault(item.batch.shape, []).append(index)
    for indices in groups.values():
        for index, read in zip(indices, _read_alike([items[i] for i in indices], classifier), strict=True):
            found[index] = read
    return found


def code_pristine(meta: ExamMeta, payload: bytes, point: Point, pair: str) -> ServerCoded:
    """Code a pristine exam at the profile's point, for the comparison.

    Raises
    ------
    CaseError
        If it cannot be read or coded.
    """
    streams = encode_point(read_image(meta, payload), point)
    packed = pack_streams(streams.data)
    changes = {
        "kind": ExamKind.CODED,
        "point": str(point),
        "pair": pair,
        "sha256": bytes_digest(packed),
        "payload_bytes": len(packed),
        "client": "service",
    }
    return ServerCoded(ExamMeta.model_validate(meta.model_dump() | changes), packed)


def _read_alike(items: Sequence[PreparedInput], classifier: Classifier) -> list[Read]:
    started = time.perf_counter()
    try:
        batch = np.stack([item.batch for item in items if item.batch is not None])
        probabilities = classifier.predict(batch)
    except Exception as error:  # noqa: BLE001  any model, any runtime: what it raises is not ours to know
        if len(items) > 1:
            return [read for item in items for read in _read_alike([item], classifier)]
        return [Read(None, f"{_BROKE} ({type(error).__name__})")]
    share_s = (time.perf_counter() - started) / len(items)
    labels = answer(probabilities, classifier.spec)
    found = []
    for item, label, row in zip(items, labels, probabilities, strict=True):
        if label is None or not all(map(math.isfinite, row)):
            found.append(Read(None, _NO_ANSWER))
            continue
        shown = dict(zip(classifier.spec.labels, map(float, row), strict=True))
        seconds = item.seconds + share_s
        found.append(
            Read(Answer(predicted=label, probabilities=shown, model=classifier.name, seconds=seconds))
        )
    return found
