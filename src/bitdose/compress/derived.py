"""Attributes that make the lossy version of a DICOM image a new, traceable object.

| attribute | value | PS3.3, or a context group of PS3.16 |
| --- | --- | --- |
| SOP Instance UID, also in the file's meta group | new | C.7.6.1.1.5, PS3.10 7.1 |
| Series Instance UID | new, one per source series and run | C.7.3.1 |
| Image Type value 1, Frame Type value 1 | DERIVED | C.7.6.1.1.2, C.7.6.16.2 |
| Lossy Image Compression | 01, never reset | C.7.6.1.1.5 |
| Lossy Image Compression Ratio, Method | one more value each, in step | C.7.6.1.1.5.1, .2 |
| Derivation Description | description of this step, appended | C.12.4.1.1 |
| Derivation Code Sequence | 113040 Lossy Compression; 113085 Spatial resampling | CID 7203 |
| Source Image Sequence | the source: 121320 (lossless) or 121330 (lossy) predecessor | CID 7202 |
| Contributing Equipment Sequence | one more item, 109103 Modifying Equipment | C.12.1, CID 7005 |
| Instance Creation Date and Time | now | C.12.1 |
| Icon, Smallest and Largest Pixel Value, Histogram | dropped: of the source's samples | F.7, C.7.6.3 |
| digital signatures and MAC parameters | dropped: no longer valid | C.12.1.1.3 |

Enhanced objects name their derivation per frame (C.7.6.16.2.6), others in the data set.
Study and patient, Frame of Reference, private elements and all else stay as they are.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from bitdose.compress.syntax import SOURCE_METHODS
from bitdose.compress.values import decimal

_DROPPED = (
    "IconImageSequence",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "HistogramSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
_MAX_DESCRIPTION = 1024
_RATIO_DIGITS = 6
_DCM = "DCM"
_LOSSY = ("113040", "Lossy Compression")
_RESAMPLED = ("113085", "Spatial resampling")
_MODIFYING = ("109103", "Modifying Equipment")
_FROM_UNCOMPRESSED = ("121320", "Uncompressed predecessor")
_FROM_LOSSY = ("121330", "Lossy compressed predecessor")


class Step(NamedTuple):
    """One lossy step: its method, and raw pixel bytes of the original over coded bytes."""

    method: str
    ratio: float


class Ids(NamedTuple):
    """UIDs of the new object."""

    instance: str
    series: str


class Derivation(NamedTuple):
    """Description of one derivation.

    Parameters
    ----------
    step : Step
        This lossy step.
    earlier : Step or None
        Lossy step implied by the source's transfer syntax, where its attributes name none.
    text : str
        Text for Derivation Description.
    resampled : bool
        Whether the image was downsized.
    from_lossy : bool
        Whether the source was already lossy.
    """

    step: Step
    earlier: Step | None
    text: str
    resampled: bool
    from_lossy: bool


def source_step(dataset: Any, pixel_bytes: int) -> Step | None:
    """Return the lossy step implied by the source's transfer syntax, if its attributes name none.

    Parameters
    ----------
    dataset : pydicom.Dataset
        The source, with its original pixel data.
    pixel_bytes : int
        Raw pixel bytes of the source.
    """
    method = SOURCE_METHODS.get(str(dataset.file_meta.TransferSyntaxUID))
    if method is None or dataset.get("LossyImageCompressionRatio") not in (None, "", []):
        return None
    return Step(method, pixel_bytes / len(dataset.PixelData))


def derive(dataset: Any, ids: Ids, derivation: Derivation, *, now: datetime) -> None:
    """Update the attributes of the table above in place; the Image Pixel module stays unchanged."""
    source = (str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))
    for name in _DROPPED:
        if name in dataset:
            delattr(dataset, name)
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = ids
    _types(dataset)
    _lossy_steps(dataset, derivation)
    _describe(dataset, derivation, source)
    dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = now.strftime("%H%M%S")
    _append(dataset, "ContributingEquipmentSequence", _equipment(now))


def _types(dataset: Any) -> None:
    values = dataset.get("ImageType") or ["ORIGINAL", "PRIMARY"]
    values = [values] if isinstance(values, str) else list(values)
    dataset.ImageType = ["DERIVED", *(values[1:] or ["SECONDARY"])]
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(name) or ():
            for element in group:
                for item in element.value if element.VR == "SQ" else ():
                    if item.get("FrameType"):
                        item.FrameType = ["DERIVED", *list(item.FrameType)[1:]]


def _lossy_steps(dataset: Any, derivation: Derivation) -> None:
    steps = [step for step in (derivation.earlier, derivation.step) if step]
    dataset.LossyImageCompression = "01"
    for name, new in (
        ("LossyImageCompressionRatio", [decimal(float(f"{s.ratio:.{_RATIO_DIGITS}g}")) for s in steps]),
        ("LossyImageCompressionMethod", [s.method for s in steps]),
    ):
        setattr(dataset, name, [*_values(dataset.get(name)), *new])


def _values(value: Any) -> list[Any]:
    if value in (None, "", []):
        return []
    return [value] if isinstance(value, (str, float, int)) else list(value)


def _describe(dataset: Any, derivation: Derivation, source: tuple[str, str]) -> None:
    before = str(dataset.get("DerivationDescription") or "").strip()
    dataset.DerivationDescription = f"{before}; {derivation.text}".removeprefix("; ")[:_MAX_DESCRIPTION]
    codes = [_LOSSY, *([_RESAMPLED] if derivation.resampled else [])]
    for code in codes:
        _append(dataset, "DerivationCodeSequence", _code(*code))
    purpose = _FROM_LOSSY if derivation.from_lossy else _FROM_UNCOMPRESSED
    _append(dataset, "SourceImageSequence", _reference(source, purpose))
    shared = dataset.get("SharedFunctionalGroupsSequence")
    if not shared:
        return
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    spread = any("DerivationImageSequence" in group for group in per_frame)
    for group in per_frame if spread else shared:
        _append(group, "DerivationImageSequence", _frame_derivation(derivation, codes, source, purpose))


def _frame_derivation(
    derivation: Derivation, codes: list[tuple[str, str]], source: tuple[str, str], purpose: tuple[str, str]
) -> Any:
    item = _item(DerivationDescription=derivation.text)
    item.DerivationCodeSequence = [_code(*code) for code in codes]
    item.SourceImageSequence = [_reference(source, purpose)]
    return item


def _reference(source: tuple[str, str], purpose: tuple[str, str]) -> Any:
    item = _item(ReferencedSOPClassUID=source[0], ReferencedSOPInstanceUID=source[1])
    item.PurposeOfReferenceCodeSequence = [_code(*purpose)]
    return item


def _equipment(now: datetime) -> Any:
    from bitdose import __version__

    item = _item(
        Manufacturer="BitDose", ManufacturerModelName="bitdose compress", SoftwareVersions=__version__
    )
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    item.PurposeOfReferenceCodeSequence = [_code(*_MODIFYING)]
    return item


def _code(value: str, meaning: str) -> Any:
    return _item(CodeValue=value, CodingSchemeDesignator=_DCM, CodeMeaning=meaning)


def _item(**attributes: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def _append(dataset: Any, name: str, item: Any) -> None:
    setattr(dataset, name, [*(dataset.get(name) or ()), item])
