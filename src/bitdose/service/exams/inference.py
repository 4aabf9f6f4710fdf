"""From payloads to answers: decode, prepare, classify, exam by exam where one goes wrong.

What the classifier sees is what it saw in the study: the same decoding, the same interpolation back, the
same preparation.
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
    """One image's outcome: an answer, or the reason why there is none."""

    answer: Answer | None
    reason: str = ""


@dataclass(frozen=True)
class PreparedInput:
    """One image as the classifier sees it, or why it could not be brought there."""

    batch: Batch | None
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class ServerCoded:
    """A pristine exam coded by the server: what a clinic's client would have sent."""

    meta: ExamMeta
    payload: bytes


def read_image(meta: ExamMeta, payload: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Bring a payload to the image that the classifier's input is made of.

    Parameters
    ----------
    meta : ExamMeta
        What was accepted.
    payload : bytes
        Packed streams of a coded exam, the file of a pristine one.
    max_pixels : int
        Largest number of pixels that is decoded.

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
    """Decode and prepare one exam; what goes wrong becomes its reason."""
    started = time.perf_counter()
    try:
        batch = prepare(read_image(meta, payload), classifier.spec)
    except CaseError as error:
        return PreparedInput(None, 0.0, error.reason)
    except BitdoseError as error:
        return PreparedInput(None, 0.0, str(error))
    return PreparedInput(batch, time.perf_counter() - started)


def read_batch(items: Sequence[PreparedInput], classifier: Classifier) -> list[Read]:
    """Classify prepared exams together, those of one shape in one call; results in the order given.

    An input that breaks the call is found by calling one by one; the others keep their answers.

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
