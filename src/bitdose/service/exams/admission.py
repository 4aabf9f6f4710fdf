"""May this exam be read? What a profile asks of an upload, as pure functions: a reason, or nothing.

Two looks: :func:`meta_refusal` at what the sender says, before a byte of the body is sent, and
:func:`payload_refusal` at the payload itself, headers before pixels. Accepted are the profile's point, any
weaker one of its chain, the same without downsizing, and the pristine file. How strongly a stream is
compressed is the codec's to say (:class:`~bitdose.codecs.base.EnforceableCodec`), as far as the stream itself
can tell.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bitdose.codecs.base import EnforceableCodec, title_of
from bitdose.codecs.jpeg_whole import check_whole
from bitdose.codecs.point import Point
from bitdose.compress.limits import limit_check
from bitdose.compress.record import SourceFacts
from bitdose.data.guard import decoding
from bitdose.data.read import read_bytes
from bitdose.data.sniff import sniff
from bitdose.data.streams import jpeg_frame
from bitdose.errors import BitdoseError, CaseError
from bitdose.hashing import bytes_digest
from bitdose.profile.document import Profile
from bitdose.service.exams.trailing_bytes import check_end
from bitdose.wire import ExamKind, ExamMeta, unpack_streams

MAX_PIXELS = 2**27

_RGB_COMPONENTS = 3
_BYTE_BITS, _WORD_BITS = 8, 16
_DEFLATED = re.compile(rb"\x02\x00\x10\x00.{4,8}?1\.2\.840\.10008\.1\.2\.1\.99", re.DOTALL)
"""The transfer syntax element of a deflated object, with an explicit or an implicit value representation."""


def meta_refusal(meta: ExamMeta, profile: Profile, *, max_pixels: int = MAX_PIXELS) -> str:
    """Say why an exam is refused by what its sender says of it; empty where it is not.

    Parameters
    ----------
    meta : ExamMeta
        What the sender says.
    profile : Profile
        The one that is enforced.
    max_pixels : int
        Largest number of samples (rows x columns x slices) of the original.
    """
    n_pixels = meta.rows * meta.columns * meta.slices
    if n_pixels > max_pixels:
        return f"{meta.rows}x{meta.columns}x{meta.slices} is {n_pixels} pixels; at most {max_pixels} are read"
    facts = SourceFacts(meta.modality, meta.rows, meta.columns, meta.bits, meta.slices, meta.photometric)
    try:
        limit_check(profile.limits)(facts)
        if meta.kind is ExamKind.CODED:
            return _point_refusal(Point.parse(meta.point), Point.parse(profile.point))
    except CaseError as error:
        return error.reason
    except BitdoseError as error:
        return str(error)
    return ""


def payload_refusal(meta: ExamMeta, payload: bytes, profile: Profile, *, max_pixels: int = MAX_PIXELS) -> str:
    """Say why an exam is refused by its payload; empty where it is not.

    Parameters
    ----------
    meta : ExamMeta
        One that :func:`meta_refusal` has nothing against.
    payload : bytes
        As ``wire.py`` says.
    profile : Profile
        The one that is enforced.
    max_pixels : int
        Largest number of pixels that is decoded.
    """
    try:
        if meta.kind is ExamKind.CODED:
            _check_streams(meta, unpack_streams(payload), Point.parse(profile.point))
        else:
            _check_pristine(meta, payload, max_pixels)
    except CaseError as error:
        return error.reason
    except BitdoseError as error:
        return str(error)
    return ""


def is_intact(meta: ExamMeta, payload: bytes) -> bool:
    """Whether a payload has the length and the SHA-256 that its sender states."""
    return len(payload) == meta.payload_bytes and bytes_digest(payload) == meta.sha256


def _point_refusal(given: Point, certified: Point) -> str:
    plain = replace(certified, resize=None)
    if given.chain not in {certified.chain, plain.chain}:
        return f"coded at {given}: the profile holds for {certified}"
    if given.strength > certified.strength:
        return f"coded at {given}, compressed harder than the profile's {certified}"
    _enforceable(given)
    return ""


def _enforceable(point: Point) -> EnforceableCodec:
    """Return a point's codec; raises ``BitdoseError`` for one that cannot tell how strong a stream is."""
    codec = point.build_codec()
    if not isinstance(codec, EnforceableCodec):
        raise BitdoseError(
            f"codec {point.codec}: the service cannot tell how strongly its streams are compressed"
        )
    return codec


def _check_streams(meta: ExamMeta, streams: tuple[bytes, ...], certified: Point) -> None:
    """Hold every stream against what the sender says, and its strength against the profile."""
    given = Point.parse(meta.point)
    codec = _enforceable(certified)
    sides = (given.resize.height, given.resize.width) if given.resize else (meta.rows, meta.columns)
    components = _RGB_COMPONENTS if meta.photometric == "RGB" else 1
    depth = min(_BYTE_BITS if meta.bits <= _BYTE_BITS else _WORD_BITS, given.build_codec().max_bits)
    expected = (*sides, components, depth)
    if len(streams) != meta.slices:
        raise BitdoseError(f"expected {meta.slices} streams, one for each slice, got {len(streams)}")
    for stream in streams:
        with decoding(title_of(given.codec)):
            header = codec.inspect(stream)
            if tuple(header) != expected:
                raise BitdoseError(f"a stream is {_text(*header)}: expected {_text(*expected)} for {given}")
            problem = codec.too_strong(stream)
        if problem:
            raise BitdoseError(f"compressed harder than the profile's {certified}: {problem}")


def _text(height: int, width: int, components: int, bits: int) -> str:
    return f"{width}x{height}, {components} component{'s' * (components > 1)} of {bits} bits"


def _check_pristine(meta: ExamMeta, payload: bytes, max_pixels: int) -> None:
    name = sniff(payload)
    if name is not None:
        check_end(name, payload)
    if name == "DICOM":
        _check_deidentified(payload)
    image = read_bytes(payload, max_pixels=max_pixels).image
    if name == "JPEG" and (frame := jpeg_frame(payload)).bits == _BYTE_BITS and not frame.lossless:
        with decoding(name):
            check_whole(payload)
    found = (image.height, image.width, image.n_slices, image.bits, image.photometric)
    stated = (meta.rows, meta.columns, meta.slices, meta.bits, meta.photometric)
    if found != stated:
        text = "{0}x{1}x{2} of {3} bits, {4}".format
        raise BitdoseError(f"the file is {text(*found)}: the sender says {text(*stated)}")


def _check_deidentified(payload: bytes) -> None:
    """Refuse a DICOM object that does not say that it is de-identified (PS3.15, E.1.1).

    A deflated one (PS3.5, A.5) is refused before anything reads it: its header may inflate to gigabytes.
    """
    if _DEFLATED.search(payload):
        raise BitdoseError("the DICOM file is deflated: send it in another transfer syntax")
    from io import BytesIO

    import pydicom

    with decoding("DICOM"):
        header = pydicom.dcmread(BytesIO(payload), stop_before_pixels=True, force=True)
        removed = str(header.get("PatientIdentityRemoved", ""))
    if removed != "YES":
        raise BitdoseError("the DICOM file does not say that it is de-identified; it was not kept")
