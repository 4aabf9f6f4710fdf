"""Update of value-dependent attributes after the map to 8 bits.

``old = new * scale + offset`` (PS3.3 C.11.1 describes the pipeline: stored value, Modality
LUT, VOI LUT). The map is undone as early as the object allows, so that everything behind
it stays valid:

| attribute | update | PS3.3 |
| --- | --- | --- |
| Rescale Slope and Intercept, also per frame | ``slope * scale``; ``slope * offset + intercept`` | C.11.1 |
| Modality LUT Sequence | resampled at the 256 new values | C.11.1 |
| neither | Rescale Slope ``scale``, Intercept ``offset``, Type ``US`` are added | C.11.1 |
| neither allowed but 1 and 0 (DX, MG, intra-oral) | Window Center, Width and VOI LUT are mapped | C.8.11.3 |
| Real World Value Mapping | slope, intercept, range are mapped; a LUT is dropped | C.7.6.16.2.11 |
| Pixel Padding Value, Range Limit | mapped, rounded | C.7.5.1.1.2 |

Window and VOI LUT act on the output of the Modality LUT and stay unchanged. Padding was one value and is
now near one, as after any lossy coding: a reader that hides padding by equality no
longer hides all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bitdose.codecs.base import DicomSyntax
from bitdose.compress.samples import Samples
from bitdose.compress.syntax import syntaxes
from bitdose.errors import CaseError

_TOP = 255
_MAX_DS = 16
_FIXED_RESCALE = tuple(f"1.2.840.10008.5.1.4.1.1.1.{n}" for n in ("1", "1.1", "2", "2.1", "3", "3.1"))
_SIXTEEN_BITS: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image: PS3.3 C.8.2.1",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image: PS3.3 C.8.15.2",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image: PS3.3 C.8.3.1",
    "1.2.840.10008.5.1.4.1.1.128": "PET Image: PS3.3 C.8.9.4",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET Image: PS3.3 C.8.22.3",
}


def sixteen_bits_by(dataset: Any) -> str:
    """Return the IOD that requires 16 bits allocated; empty where 8 are allowed."""
    return _SIXTEEN_BITS.get(str(dataset.SOPClassUID), "")


def check_depth(dataset: Any, syntax: DicomSyntax) -> None:
    """Refuse to make 8 bits of an object whose definition has 16 bits allocated.

    Raises
    ------
    CaseError
        ``codec-limit``, with the IOD in the reason.
    """
    definition = sixteen_bits_by(dataset)
    if definition and not syntax.keeps_depth:
        deep = " or ".join(name for name, known in syntaxes().items() if known.keeps_depth)
        raise CaseError(
            "codec-limit", f"this codec holds 8 bits, the object must have 16 ({definition}); take {deep}"
        )


def remap_values(dataset: Any, samples: Samples) -> None:
    """Update the attributes of the table above in place; no-op where the samples were not rescaled."""
    if not samples.is_mapped or samples.is_colour:
        return
    _padding(dataset, samples)
    if dataset.get("ModalityLUTSequence"):
        _resample_luts(dataset.ModalityLUTSequence, samples, dataset)
    elif str(dataset.SOPClassUID) in _FIXED_RESCALE:
        _windows(dataset, samples)
    else:
        _rescale(dataset, samples)
    for holder in _holders(dataset):
        _real_world(holder, samples)


def decimal(value: float) -> str:
    """Format a number as a Decimal String of at most 16 characters.

    Raises
    ------
    CaseError
        If the number has no Decimal String.

    Examples
    --------
    >>> decimal(4095 / 255), decimal(2.0), decimal(-1 / 3e-7)
    ('16.0588235294118', '2', '-3333333.3333333')
    """
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= _MAX_DS:
            return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    raise ValueError(f"{value} has no Decimal String")


def _holders(dataset: Any) -> Iterator[Any]:
    """Yield the data set, its functional groups, and every item in these."""
    yield dataset
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(name) or ():
            yield group
            for element in group:
                if element.VR == "SQ":
                    yield from element.value


def _padding(dataset: Any, samples: Samples) -> None:
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if dataset.get(name) is not None:
            value = (int(dataset[name].value) - samples.offset) / samples.scale
            del dataset[name]
            setattr(dataset, name, int(np.clip(round(value), 0, _TOP)))
            dataset[name].VR = "US"


def _rescale(dataset: Any, samples: Samples) -> None:
    found = [holder for holder in _holders(dataset) if holder.get("RescaleSlope") is not None]
    for holder in found:
        slope, intercept = float(holder.RescaleSlope), float(holder.get("RescaleIntercept") or 0)
        holder.RescaleSlope = decimal(slope * samples.scale)
        holder.RescaleIntercept = decimal(slope * samples.offset + intercept)
    if found:
        return
    target = dataset
    if dataset.get("SharedFunctionalGroupsSequence"):
        from pydicom.dataset import Dataset

        target = Dataset()
        dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [target]
    target.RescaleIntercept, target.RescaleSlope = decimal(samples.offset), decimal(samples.scale)
    target.RescaleType = "US"


def _windows(dataset: Any, samples: Samples) -> None:
    for name, offset in (("WindowCenter", samples.offset), ("WindowWidth", 0.0)):
        value = dataset.get(name)
        if value not in (None, ""):
            many = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
            setattr(dataset, name, [decimal((float(one) - offset) / samples.scale) for one in many])
    if dataset.get("VOILUTSequence"):
        _resample_luts(dataset.VOILUTSequence, samples, dataset)


def _resample_luts(items: Any, samples: Samples, dataset: Any) -> None:
    """Resample each table at the 256 new values."""
    from bitdose.data.dicom_values import lut_of

    values = np.arange(_TOP + 1) * samples.scale + samples.offset
    for item in items:
        lut = lut_of(item, dataset)
        del item.LUTDescriptor, item.LUTData
        item.add_new("LUTDescriptor", "US", [_TOP + 1, 0, lut.bits])
        item.add_new("LUTData", "OW", lut(values).astype("<u2").tobytes())


def _real_world(holder: Any, samples: Samples) -> None:
    items = holder.get("RealWorldValueMappingSequence")
    if not items:
        return
    kept = [item for item in items if item.get("RealWorldValueSlope") is not None]
    for item in kept:
        slope, intercept = float(item.RealWorldValueSlope), float(item.RealWorldValueIntercept)
        item.RealWorldValueSlope = slope * samples.scale
        item.RealWorldValueIntercept = slope * samples.offset + intercept
        for name in ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped"):
            if item.get(name) is not None:
                value = (int(item[name].value) - samples.offset) / samples.scale
                del item[name]
                item.add_new(name, "US", int(np.clip(round(value), 0, _TOP)))
    if kept:
        holder.RealWorldValueMappingSequence = kept
    else:
        del holder.RealWorldValueMappingSequence
