"""What clinic and service say to each other: request and response models, shared by both sides.

The contract:

- an exam is sent as one tus 1.0 upload to ``UPLOADS``; its metadata holds one key, ``exam``, an
  :class:`ExamMeta` as JSON; its body is a *payload*;
- the payload of a coded exam is its streams, one per slice, packed by :func:`pack_streams`; that of a
  pristine exam is the source file as it is, already de-identified;
- no field names a patient: ``pseudonym`` is random, and who it stands for stays at the clinic;
- once an upload is complete, the answers to its PATCH, POST and HEAD name the exam in ``EXAM_HEADER``;
- a POST that brings the whole exam may say ``Prefer: wait=SECONDS`` (RFC 7240): it is then answered once the
  exam is settled, or after so many seconds, with ``Preference-Applied`` and the :class:`ExamView`;
- ``GET EXAMS/ID?wait=SECONDS`` (30 at most) returns as soon as the exam is answered, refused or failed;
  ``EVENTS`` sends an ``ExamView`` per server-sent event named ``exam``, its ``id`` a cursor;
- what the metadata alone forbid is refused with 422 before a byte of the body is sent; what the payload
  forbids ends as an exam that is refused, with the reason;
- the server answers errors as ``application/problem+json`` (RFC 9457), a :class:`Problem`;
- every answer carries the certified loss and the disclaimer.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from bitdose.errors import BitdoseError
from bitdose.html_card import DISCLAIMER

API = "/api/v1"
UPLOADS = f"{API}/uploads"
EXAMS = f"{API}/exams"
EVENTS = f"{API}/events"
PROFILE = f"{API}/profile"
EXAM_HEADER = "Exam-Id"

TUS_VERSION = "1.0.0"
TUS_EXTENSIONS = ("creation", "creation-with-upload", "expiration", "checksum", "termination")
CHECKSUM = "sha256"

_MAGIC = b"BDX1"
_COUNT = struct.Struct(">I")
_LENGTH = struct.Struct(">Q")
_MAX_STREAMS = 4096
_MOST_BYTES = 1 << 40

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{8,64}$")]
Token = Annotated[str, StringConstraints(max_length=200)]


class Role(StrEnum):
    """What an account may do: send and see its own clinic's exams, read all and judge, or run the service."""

    CLINIC = "clinic"
    PHYSICIAN = "physician"
    ADMIN = "admin"


class ExamKind(StrEnum):
    """How an exam came: coded at the profile's point, or as it is."""

    CODED = "coded"
    PRISTINE = "pristine"


class ExamState(StrEnum):
    """Where an exam stands; it moves on to the right only, and ends in one of the last three."""

    QUEUED = "queued"
    READING = "reading"
    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"


class Verdict(StrEnum):
    """What a physician says of an answer."""

    CONFIRM = "confirm"
    DISAGREE = "disagree"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Refuse what PostgreSQL keeps in no text."""
        if isinstance(value, str) and "\x00" in value:
            raise ValueError("expected a text without zero bytes")
        return value


class ExamMeta(_Model):
    """What a sender says of an exam; the server checks all of it that the payload can tell.

    ``rows``, ``columns``, ``slices``, ``bits`` and ``photometric`` are of the original, before downsizing.
    ``point`` is the operating point of a coded exam, empty for a pristine one. ``sha256`` and
    ``payload_bytes`` are of the payload; ``source_bytes`` counts the file at the clinic. ``pair`` is the
    same random text for a coded exam and the pristine one sent after it, for the sentinel.
    """

    kind: ExamKind
    point: Annotated[str, StringConstraints(max_length=100)] = ""
    profile: Annotated[str, StringConstraints(max_length=64)] = ""
    pseudonym: Pseudonym
    pair: Pseudonym | None = None
    modality: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{0,16}$")] = ""
    rows: Annotated[int, Field(ge=1, le=65_535)]
    columns: Annotated[int, Field(ge=1, le=65_535)]
    slices: Annotated[int, Field(ge=1, le=_MAX_STREAMS)] = 1
    bits: Annotated[int, Field(ge=8, le=16)]
    photometric: Annotated[str, StringConstraints(pattern=r"^(MONOCHROME2|RGB)$")]
    sha256: Digest
    payload_bytes: Annotated[int, Field(ge=1, le=_MOST_BYTES)]
    source_bytes: Annotated[int, Field(ge=1, le=_MOST_BYTES)]
    client: Annotated[str, StringConstraints(max_length=200)] = ""

    @model_validator(mode="after")
    def _fits(self) -> ExamMeta:
        if bool(self.point) != (self.kind is ExamKind.CODED):
            raise ValueError("point: expected one for a coded exam and none for a pristine one")
        return self


class Answer(_Model):
    """What the classifier said: a class, a probability per class in the classifier's order."""

    predicted: str
    probabilities: dict[str, float]
    model: str
    seconds: float


class CertifiedLoss(_Model):
    """One margin of the profile: what was accepted, seen, and shown at most."""

    metric: str
    margin: float
    loss: float
    upper: float


class Review(_Model):
    """A physician's verdict on an answer; ``label`` is the class that a disagreeing one holds for right."""

    verdict: Verdict
    label: Annotated[str, StringConstraints(max_length=200)] = ""
    by: str = ""
    at: datetime | None = None


class ExamView(_Model):
    """An exam as the service shows it to one who may see it."""

    id: str
    state: ExamState
    reason: str = ""
    kind: ExamKind
    point: str
    pseudonym: str
    modality: str
    rows: int
    columns: int
    slices: int
    bits: int
    clinic: str
    payload_bytes: int
    source_bytes: int
    received: datetime
    answered: datetime | None = None
    answer: Answer | None = None
    pair: str | None = None
    pair_id: str | None = None
    profile: str = ""
    certified: tuple[CertifiedLoss, ...] = ()
    review: Review | None = None
    disclaimer: str = DISCLAIMER


class ExamPage(_Model):
    """Some exams, newest first; ``next`` continues, None at the end."""

    exams: tuple[ExamView, ...]
    next: str | None = None


class LinkSeconds(_Model):
    """Expected seconds of an exam on a named link: coded at the point, mean bytes of the study."""

    link: str
    coded_bytes: float
    seconds: float


class ProfileView(_Model):
    """The active profile's document, what it costs on the named links, and the sentinel's share."""

    id: str
    profile: dict[str, Any]
    links: tuple[LinkSeconds, ...]
    sentinel_share: float
    disclaimer: str = DISCLAIMER


class LoginRequest(_Model):
    """Name and password; the answer sets the session's cookie."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Account(_Model):
    """Who is logged in. ``csrf`` goes into the header ``X-CSRF-Token`` of every change by cookie."""

    name: str
    role: Role
    clinic: str = ""
    csrf: str = ""


class TokenRequest(_Model):
    """A name for a new API token, for the uploader."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]


class TokenMade(_Model):
    """A new API token; its text is shown this once."""

    id: str
    name: str
    token: str


class Problem(BaseModel):
    """An error, after RFC 9457; ``title`` is short and stable, ``detail`` says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""


def pack_streams(streams: Sequence[bytes]) -> bytes:
    """Pack an exam's streams, one per slice, into one payload.

    ``BDX1``, the number of streams as 32 bits, then for each its length as 64 bits and its bytes; all
    numbers are big-endian.

    Examples
    --------
    >>> unpack_streams(pack_streams([b"a", b"bc"]))
    (b'a', b'bc')
    """
    parts = [_MAGIC, _COUNT.pack(len(streams))]
    for stream in streams:
        parts += [_LENGTH.pack(len(stream)), stream]
    return b"".join(parts)


def unpack_streams(payload: bytes) -> tuple[bytes, ...]:
    """Take a payload apart; raises ``BitdoseError`` if it is not exactly what :func:`pack_streams` makes."""
    head = len(_MAGIC) + _COUNT.size
    if payload[: len(_MAGIC)] != _MAGIC or len(payload) < head:
        raise BitdoseError("payload: expected packed streams (BDX1)")
    (count,) = _COUNT.unpack_from(payload, len(_MAGIC))
    if not 1 <= count <= _MAX_STREAMS:
        raise BitdoseError(f"payload: expected 1 to {_MAX_STREAMS} streams, got {count}")
    streams, at = [], head
    for _ in range(count):
        if len(payload) < at + _LENGTH.size:
            raise BitdoseError("payload: it ends inside a stream's length")
        (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size
        if length > len(payload) - at:
            raise BitdoseError("payload: it ends inside a stream")
        streams.append(payload[at : at + length])
        at += length
    if at != len(payload):
        raise BitdoseError("payload: bytes are left after the last stream")
    return tuple(streams)
