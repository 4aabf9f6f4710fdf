"""Preparation of a clinic's file for sending: coded at the profile's point, or de-identified.

A coded exam contains coded pixels and nothing of the file's header; a pristine one is the de-identified file
(``deidentify/``). The pixels are read as in a study, so the coded streams equal those of the certification,
byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import bitdose
from bitdose.client.deidentify.burnt_in import burnt_in_signs
from bitdose.client.deidentify.dataset import Identity, deidentify
from bitdose.client.deidentify.pseudonyms import Patient, patient_of
from bitdose.client.deidentify.strip_metadata import stripped
from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.compress.limits import limit_check
from bitdose.compress.record import SourceFacts
from bitdose.data.base import Source
from bitdose.data.guard import decoding
from bitdose.data.read import read_bytes
from bitdose.errors import CaseError
from bitdose.hashing import bytes_digest
from bitdose.profile.document import Profile
from bitdose.wire import ExamKind, ExamMeta, pack_streams

_LEAST_BITS = 8


@dataclass(frozen=True)
class Opened:
    """A file as read: bytes, pixels, patient, modality, and signs of burnt-in text."""

    data: bytes
    source: Source
    patient: Patient
    modality: str
    signs: tuple[str, ...]

    def facts(self) -> SourceFacts:
        """Return the properties that a profile can limit."""
        image = self.source.image
        return SourceFacts(
            self.modality, image.height, image.width, image.bits, image.n_slices, image.photometric
        )


@dataclass(frozen=True)
class Exam:
    """An exam to send: metadata and payload."""

    meta: ExamMeta
    payload: bytes

    def alone(self) -> Exam:
        """Return the exam without its pair."""
        return replace(self, meta=self.meta.model_copy(update={"pair": None}))


def open_exam(data: bytes) -> Opened:
    """Read a file's pixels and patient; raises ``CaseError`` like ``read_bytes``."""
    source = read_bytes(data)
    if source.format != "DICOM":
        return Opened(data, source, Patient(file=source.digest), "", ())
    from pydicom import dcmread

    with decoding("DICOM"):
        dataset = dcmread(BytesIO(data), stop_before_pixels=True, force=True)
        patient, signs = patient_of(dataset, source.digest), burnt_in_signs(dataset)
        modality = re.sub("[^A-Z0-9]", "", str(dataset.get("Modality") or "").upper())[:16]
    return Opened(data, source, patient, modality, signs)


def coded_exam(opened: Opened, profile: Profile, *, pseudonym: str, pair: str | None = None) -> Exam:
    """Code an exam at a profile's point.

    Parameters
    ----------
    opened : Opened
        Output of :func:`open_exam`.
    profile : Profile
        Profile with the point, and the limits for the exam.
    pseudonym : str
        Identity of its patient.
    pair : str, optional
        Text shared with the pristine exam of the same pair.

    Raises
    ------
    CaseError
        ``outside-profile`` with the limit, or the codec's error.
    """
    limit_check(profile.limits)(opened.facts())
    point = Point.parse(profile.point)
    if point.is_pristine:
        raise CaseError("outside-profile", "the profile certifies no coded point")
    payload = pack_streams(encode_point(opened.source.image, point).data)
    shared = {"profile": profile.id, "pseudonym": pseudonym, "pair": pair}
    return _exam(opened, payload, kind=ExamKind.CODED, point=str(point), **shared)


def pristine_exam(opened: Opened, *, identity: Identity, profile: str = "", pair: str | None = None) -> Exam:
    """De-identify a file without changing its pixels.

    Raises
    ------
    CaseError
        If its format does not allow it.
    """
    if opened.source.format == "DICOM":
        payload = deidentify(opened.data, identity)
    else:
        payload = stripped(opened.data, opened.source)
    shared = {"profile": profile, "pseudonym": identity.pseudonym, "pair": pair}
    return _exam(opened, payload, kind=ExamKind.PRISTINE, **shared)


def _exam(opened: Opened, payload: bytes, **fields: Any) -> Exam:
    image = opened.source.image
    if image.bits < _LEAST_BITS:
        raise CaseError("unsupported", f"{image.bits} bits per sample; 8 to 16 can be sent")
    meta = ExamMeta(
        modality=opened.modality,
        rows=image.height,
        columns=image.width,
        slices=image.n_slices,
        bits=image.bits,
        photometric=image.photometric,
        sha256=bytes_digest(payload),
        payload_bytes=len(payload),
        source_bytes=len(opened.data),
        client=f"bitdose {bitdose.__version__}",
        **fields,
    )
    return Exam(meta, payload)
