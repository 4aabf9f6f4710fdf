"""Lossy version of a DICOM object: coded frames, consistent attributes, a new file.

1. Every frame is decoded and prepared (``samples.py``), coded at the point, and put into
   fragments, one stream each, behind an offset table.
2. The attributes are updated: pixel description here, positions in ``geometry.py``, stored values in
   ``values.py``, identity and provenance in ``derived.py``.
3. The file is written in Explicit VR Little Endian with a new meta group.

Objects whose samples are labels or quantities, not images, are refused. No message contains a
value of the data set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any

from bitdose.codecs.base import DicomSyntax
from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.compress.derived import Derivation, Ids, Step, derive, source_step
from bitdose.compress.geometry import downsize_attributes
from bitdose.compress.record import Compressed, SourceFacts
from bitdose.compress.samples import Samples, stored_samples
from bitdose.compress.syntax import syntax_of
from bitdose.compress.values import check_depth, remap_values, sixteen_bits_by
from bitdose.data.decoded import MAX_PIXELS, check_pixel_count
from bitdose.data.dicom import check_pixel_data, is_lossy, parse_dicom
from bitdose.data.dicom_frames import decode_frames, frame_shape
from bitdose.data.guard import decoding
from bitdose.errors import CaseError

IMPLEMENTATION_UID = "2.25.271598340117462918337401235530718422957"
_NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a label map",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.481.2": "a dose grid",
}
_LONG_VRS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_MAX_OFFSET = 2**32 - 1
_BYTE = 8


@dataclass
class Uids:
    """UID generator of one run: random UIDs under 2.25 (PS3.5 B.2), one series per source series.

    Random, not derived from the source: two versions of one object, at two points or by two
    runs, never share a UID.
    """

    _series: dict[str, str] = field(default_factory=dict)

    def learn(self, source: bytes, made: bytes) -> None:
        """Continue an earlier run's series, found from one of its sources and the derived object."""
        from pydicom import dcmread

        try:
            with decoding("DICOM"):
                old, new = (
                    dcmread(BytesIO(file), stop_before_pixels=True, force=True) for file in (source, made)
                )
                self._series.setdefault(str(old.SeriesInstanceUID), str(new.SeriesInstanceUID))
        except CaseError:
            return  # not a matching pair: start a new series

    def ids_for(self, series: str) -> Ids:
        """Return a new instance UID and the series UID that this source series has in this run."""
        from pydicom.uid import generate_uid

        if series not in self._series:
            self._series[series] = str(generate_uid(prefix=None))
        return Ids(str(generate_uid(prefix=None)), self._series[series])


def compress_dicom(
    data: bytes,
    point: Point,
    *,
    uids: Uids,
    now: datetime,
    check: Callable[[SourceFacts], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Compressed:
    """Return the lossy version of a DICOM object, by the steps at the top of this module.

    Parameters
    ----------
    data : bytes
        Contents of the file.
    point : Point
        The operating point; not pristine.
    uids : Uids
        UID generator of the run.
    now : datetime
        Time of creation and contribution.
    check : callable, optional
        Called with the object's :class:`SourceFacts`; raises ``CaseError`` to reject it.
    max_pixels : int
        Limit of rows x columns x frames.

    Raises
    ------
    CaseError
        If the object cannot be read, is no image, or exceeds the codec or its transfer syntax.
    UsageError
        If the point has no transfer syntax.
    """
    syntax = syntax_of(point)
    with decoding("DICOM"):
        dataset = _open(data, max_pixels)
        if check is not None:
            check(facts_of(dataset))
        check_depth(dataset, syntax)
        samples = stored_samples(decode_frames(dataset), dataset, syntax)
        streams = _streams(samples, point, syntax)
        pixel_bytes = _raw_bytes(dataset)
        derivation = _derivation(dataset, point, samples, pixel_bytes, streams)
        _describe_pixels(dataset, samples, syntax)
        if point.resize:
            downsize_attributes(dataset, point.resize.height, point.resize.width)
        remap_values(dataset, samples)
        derive(dataset, uids.ids_for(str(dataset.get("SeriesInstanceUID", ""))), derivation, now=now)
        put_streams(dataset, streams)
        written = _written(dataset, syntax)
    return Compressed(written, pixel_bytes, sum(map(len, streams)))


def facts_of(dataset: Any) -> SourceFacts:
    """Return the properties that a profile can limit."""
    height, width, frames = frame_shape(dataset)
    grey = str(dataset.PhotometricInterpretation).startswith("MONOCHROME")
    # A study reads fewer than 8 bits as 8, and multi-frame colour as grey slices.
    bits = max(_BYTE, int(dataset.BitsStored))
    kind = "MONOCHROME2" if grey or frames > 1 else "RGB"
    return SourceFacts(str(dataset.get("Modality") or ""), height, width, bits, frames, kind)


def put_streams(dataset: Any, streams: list[bytes], *, max_offset: int = _MAX_OFFSET) -> None:
    """Encapsulate frames after a Basic Offset Table, or an Extended one beyond 32-bit offsets.

    PS3.5 A.4; PS3.3 C.7.6.3.1.8 for the extended table.
    """
    from pydicom.encaps import encapsulate, encapsulate_extended

    if sum(len(stream) + 9 for stream in streams) <= max_offset:
        dataset.PixelData = encapsulate(streams)
    else:
        dataset.PixelData, offsets, lengths = encapsulate_extended(streams)
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def _open(data: bytes, max_pixels: int) -> Any:
    from pydicom.filewriter import correct_ambiguous_vr

    dataset = parse_dicom(data)
    check_pixel_data(dataset, data)
    if not dataset.get("SOPClassUID") or not dataset.get("SOPInstanceUID"):
        raise CaseError("unreadable", "the DICOM object has no SOP Class or Instance UID to refer to")
    kind = _NOT_PICTURES.get(str(dataset.SOPClassUID))
    if kind:
        raise CaseError("unsupported", f"the DICOM object is {kind}: its samples must not change")
    check_pixel_count(frame_shape(dataset), max_pixels)
    little = bool(dataset.original_encoding[1])
    correct_ambiguous_vr(dataset, little)
    return dataset


def _streams(samples: Samples, point: Point, syntax: DicomSyntax) -> list[bytes]:
    return [samples.finish(encode_point(frame, point).data[0], syntax) for frame in samples.frames]


def _raw_bytes(dataset: Any) -> int:
    rows, columns, frames = frame_shape(dataset)
    return rows * columns * frames * int(dataset.SamplesPerPixel) * int(dataset.BitsAllocated) // 8


def _derivation(
    dataset: Any, point: Point, samples: Samples, pixel_bytes: int, streams: list[bytes]
) -> Derivation:
    from bitdose import __version__

    ratio = pixel_bytes / sum(map(len, streams))
    said = [
        f"Lossy compression {ratio:.4g}:1 of the raw pixels by BitDose {__version__}, point {point}",
        point.build_codec().library(),
    ]
    resize = point.resize
    resampled = resize is not None and (resize.height, resize.width) != (dataset.Rows, dataset.Columns)
    if resize is not None and resampled:
        small = f"{resize.height}x{resize.width}"
        said.append(f"resampled from {dataset.Rows}x{dataset.Columns} to {small} by {resize.down}")
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        said.append("palette applied")
    if samples.bits != int(dataset.BitsStored):
        said.append(f"stored values mapped linearly from {dataset.BitsStored} to {samples.bits} bits")
    step = Step(syntax_of(point).method, ratio)
    earlier = source_step(dataset, pixel_bytes)
    return Derivation(step, earlier, "; ".join(said), resampled, is_lossy(dataset) is True)


def _describe_pixels(dataset: Any, samples: Samples, syntax: DicomSyntax) -> None:
    """Make the Image Pixel module agree with the streams (PS3.5 8.2.1 and 8.2.4)."""
    # Readers differ on 8-bit streams in 16 bits allocated: only where a definition asks for these.
    dataset.BitsAllocated = 8 if samples.bits <= _BYTE and not sixteen_bits_by(dataset) else 16
    dataset.BitsStored, dataset.HighBit = samples.bits, samples.bits - 1
    dataset.PixelRepresentation = int(samples.signed)
    dataset.SamplesPerPixel = 3 if samples.is_colour else 1
    for tag in [tag for tag in dataset.keys() if tag.group == 0x0028 and _is_palette(tag.element)]:  # noqa: PLR2004, SIM118
        if samples.is_colour:
            del dataset[tag]
    if samples.is_colour:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = syntax.colour, 0
    elif "PlanarConfiguration" in dataset:
        del dataset.PlanarConfiguration
    _drop_overlays_in_pixels(dataset)


def _drop_overlays_in_pixels(dataset: Any) -> None:
    """Drop overlays in unused bits of the samples (retired, PS3.5 8.1.2): no codec preserves these."""
    from pydicom.tag import Tag

    for group in range(0x6000, 0x6020, 2):
        if Tag(group, 0x0010) in dataset and Tag(group, 0x3000) not in dataset:
            for tag in [tag for tag in list(dataset.keys()) if tag.group == group]:
                del dataset[tag]


def _is_palette(element: int) -> bool:
    """Whether an element describes or holds a Palette Color Lookup Table (PS3.3 C.7.9)."""
    return 0x1101 <= element <= 0x1104 or element == 0x1199 or 0x1201 <= element <= 0x1224  # noqa: PLR2004


def _written(dataset: Any, syntax: DicomSyntax) -> bytes:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    from bitdose import __version__

    if not dataset.original_encoding[1]:
        dataset.walk(_to_little_endian)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax.uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = f"BITDOSE_{__version__}"[:16]
    dataset.file_meta, dataset.preamble = meta, bytes(128)
    file = BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _to_little_endian(_dataset: Any, element: Any) -> None:
    """Swap the words of byte strings, which the library leaves in their byte order."""
    width = _LONG_VRS.get(element.VR)
    if width and isinstance(element.value, bytes) and element.keyword != "PixelData":
        value = element.value
        element.value = b"".join(value[at : at + width][::-1] for at in range(0, len(value), width))
