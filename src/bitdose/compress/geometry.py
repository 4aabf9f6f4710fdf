"""Update of position-dependent attributes after downsizing.

Pixels of the small image are ``sy = old rows / new rows`` and ``sx = old columns / new columns``
times as large. The kernels keep the image's edges in place, so a position ``p`` counted
from 1 becomes ``(p - 1/2) / s + 1/2``, and the centre of the first pixel moves by half the
difference of the spacings.

| attribute | update | PS3.3 |
| --- | --- | --- |
| Rows, Columns | the small image's | C.7.6.3 |
| Pixel, Imager Pixel, Nominal Scanned Pixel Spacing (also per frame) | times ``sy``, ``sx`` | 10.7.1 |
| Object Pixel Spacing in Center of Beam | times ``sy``, ``sx`` | C.8.19.6.9 |
| Image Plane Pixel Spacing | times ``sy``, ``sx`` | C.8.8.2 |
| Pixel Aspect Ratio, where no spacing is given | times ``sy : sx`` | C.7.6.3.1.7 |
| Image Position (Patient) (also per frame) | half the spacings' difference, per axis | C.7.6.2.1.1 |
| RT Image Position | the same, in the image plane | C.8.8.2 |
| ultrasound regions: corners, reference pixel, deltas | mapped; deltas times ``sx``, ``sy`` | C.8.5.5 |
| shutter and collimator edges, centres, vertices | mapped; a circle only where ``sx = sy`` | C.7.6.11 |
| mask sub-pixel shift | divided | C.7.6.10 |
| a circle where ``sx`` and ``sy`` differ; overlays 60xx and curves 50xx | dropped | C.9.2 |

Whole-slide tiles, whose positions refer to a larger matrix, are refused. Slice Location,
Slice Thickness and attributes in millimetres or of the detector stay unchanged.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

from bitdose.compress.values import decimal
from bitdose.errors import CaseError

_SPACINGS = (
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "ObjectPixelSpacingInCenterOfBeam",
    "ImagePlanePixelSpacing",
)
_REGION_X = ("RegionLocationMinX0", "RegionLocationMaxX1")
_REGION_Y = ("RegionLocationMinY0", "RegionLocationMaxY1")
_COLUMNS = tuple(
    f"{kind}{side}VerticalEdge" for kind in ("Shutter", "Collimator") for side in ("Left", "Right")
)
_ROWS = tuple(
    f"{kind}{side}HorizontalEdge" for kind in ("Shutter", "Collimator") for side in ("Upper", "Lower")
)
_PAIRS = (
    "CenterOfCircularShutter",
    "VerticesOfThePolygonalShutter",
    "CenterOfCircularCollimator",
    "VerticesOfThePolygonalCollimator",
)
_GROUP_FAMILY = 0xFF00
_PLANES = (0x5000, 0x6000)
_CIRCLES = ("Shutter", "Collimator")


class Shrink(NamedTuple):
    """Growth factor of the pixels along columns (``y``) and rows (``x``)."""

    y: Fraction
    x: Fraction

    def row(self, position: float) -> int:
        """Map a row number, counted from 1."""
        return _moved(position, self.y)

    def column(self, position: float) -> int:
        """Map a column number, counted from 1."""
        return _moved(position, self.x)


def downsize_attributes(dataset: Any, height: int, width: int) -> None:
    """Update the attributes of the table above in place.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Copy of the source's attributes.
    height, width : int
        Size of the downsized image in pixels.

    Raises
    ------
    CaseError
        ``unsupported`` for tiles of a whole-slide image.
    """
    if dataset.get("TotalPixelMatrixColumns") is not None:
        raise CaseError(
            "unsupported", "tiles of a whole-slide image are not downsized; take a point without @"
        )
    shrink = Shrink(Fraction(int(dataset.Rows), height), Fraction(int(dataset.Columns), width))
    dataset.Rows, dataset.Columns = height, width
    if shrink.x == shrink.y == 1:
        return
    _positions(dataset, shrink)
    spaced = _spacings(dataset, shrink)
    if not spaced:
        _aspect(dataset, shrink)
    _regions(dataset, shrink)
    _edges(dataset, shrink)
    for tag in list(dataset.keys()):
        if tag.group & _GROUP_FAMILY in _PLANES:
            del dataset[tag]


def _groups(dataset: Any) -> tuple[list[Any], list[Any]]:
    return list(dataset.get("SharedFunctionalGroupsSequence") or ()), list(
        dataset.get("PerFrameFunctionalGroupsSequence") or ()
    )


def _item(group: Any, name: str) -> Any:
    items = group.get(name)
    return items[0] if items else None


def _spacings(dataset: Any, shrink: Shrink) -> bool:
    shared, per_frame = _groups(dataset)
    measures = [_item(group, "PixelMeasuresSequence") for group in (*shared, *per_frame)]
    found = False
    for holder in (dataset, *(measure for measure in measures if measure is not None)):
        for name in _SPACINGS:
            value = holder.get(name)
            if value:
                down, along = (float(one) for one in value)
                setattr(holder, name, [decimal(down * float(shrink.y)), decimal(along * float(shrink.x))])
                found = True
    return found


def _positions(dataset: Any, shrink: Shrink) -> None:
    """Shift the centre of the first pixel; call before the spacings change."""
    _move_position(dataset, dataset.get("ImageOrientationPatient"), dataset.get("PixelSpacing"), shrink)
    spacing = dataset.get("ImagePlanePixelSpacing")
    if dataset.get("RTImagePosition") and spacing:
        x, y = (float(one) for one in dataset.RTImagePosition)
        down, along = (float(one) for one in spacing)
        # The y axis of the image plane points up, rows count down.
        moved = x + along * float(shrink.x - 1) / 2, y - down * float(shrink.y - 1) / 2
        dataset.RTImagePosition = [decimal(one) for one in moved]
    shared, per_frame = _groups(dataset)
    common = shared[0] if shared else {}
    for group in (*shared, *per_frame):
        plane = _item(group, "PlanePositionSequence")
        if plane is not None:
            turned = _item(group, "PlaneOrientationSequence") or _item(common, "PlaneOrientationSequence")
            measure = _item(group, "PixelMeasuresSequence") or _item(common, "PixelMeasuresSequence")
            orientation = None if turned is None else turned.get("ImageOrientationPatient")
            _move_position(
                plane, orientation, None if measure is None else measure.get("PixelSpacing"), shrink
            )


def _move_position(holder: Any, orientation: Any, spacing: Any, shrink: Shrink) -> None:
    position = holder.get("ImagePositionPatient")
    if not position or not orientation or not spacing:
        return
    down, along = (float(one) for one in spacing)
    by_column, by_row = along * float(shrink.x - 1) / 2, down * float(shrink.y - 1) / 2
    cosines = [float(one) for one in orientation]
    holder.ImagePositionPatient = [
        decimal(float(one) + cosines[axis] * by_column + cosines[axis + 3] * by_row)
        for axis, one in enumerate(position)
    ]


def _aspect(dataset: Any, shrink: Shrink) -> None:
    old = [int(one) for one in dataset.get("PixelAspectRatio") or (1, 1)]
    if 0 in old:
        return
    ratio = (Fraction(old[0], old[1]) * shrink.y / shrink.x).limit_denominator(100_000)
    if ratio != 1 or "PixelAspectRatio" in dataset:
        dataset.PixelAspectRatio = [ratio.numerator, ratio.denominator]


def _regions(dataset: Any, shrink: Shrink) -> None:
    for region in dataset.get("SequenceOfUltrasoundRegions") or ():
        # Region corners count from 0 (C.8.5.5.1.2), the reference pixel from the region's own corner.
        for names, side, last in (
            (_REGION_X, shrink.x, dataset.Columns),
            (_REGION_Y, shrink.y, dataset.Rows),
        ):
            for name in names:
                if region.get(name) is not None:
                    setattr(region, name, min(_moved(int(region[name].value) + 1, side) - 1, last - 1))
        for axis, side in (("X", shrink.x), ("Y", shrink.y)):
            if region.get(f"ReferencePixel{axis}0") is not None:
                old = int(region[f"ReferencePixel{axis}0"].value)
                setattr(region, f"ReferencePixel{axis}0", _moved(old + 1, side) - 1)
            delta = f"PhysicalDelta{axis}"
            if region.get(delta) is not None:
                setattr(region, delta, float(region[delta].value) * float(side))


def _edges(dataset: Any, shrink: Shrink) -> None:
    for name in _COLUMNS:
        if dataset.get(name) is not None:
            setattr(dataset, name, shrink.column(int(dataset[name].value)))
    for name in _ROWS:
        if dataset.get(name) is not None:
            setattr(dataset, name, shrink.row(int(dataset[name].value)))
    for name in _PAIRS:
        if dataset.get(name):
            places = [int(one) for one in dataset[name].value]
            moved = [shrink.column(p) if at % 2 else shrink.row(p) for at, p in enumerate(places)]
            setattr(dataset, name, moved)
    for kind in _CIRCLES:
        _circle(dataset, kind, shrink)
    for mask in dataset.get("MaskSubtractionSequence") or ():
        if mask.get("MaskSubPixelShift"):
            down, along = (float(one) for one in mask.MaskSubPixelShift)
            mask.MaskSubPixelShift = [down / float(shrink.y), along / float(shrink.x)]


def _circle(dataset: Any, kind: str, shrink: Shrink) -> None:
    radius = f"RadiusOfCircular{kind}"
    if dataset.get(radius) is None:
        return
    if shrink.x == shrink.y:
        setattr(dataset, radius, max(1, round(int(dataset[radius].value) / shrink.x)))
        return
    shape = f"{kind}Shape"
    value = dataset.get(shape) or []
    left = [one for one in ([value] if isinstance(value, str) else value) if one != "CIRCULAR"]
    del dataset[radius]
    if f"CenterOfCircular{kind}" in dataset:
        delattr(dataset, f"CenterOfCircular{kind}")
    if left:
        setattr(dataset, shape, left)
    elif shape in dataset:
        delattr(dataset, shape)


def _moved(position: float, side: Fraction) -> int:
    return math.floor((Fraction(position) - Fraction(1, 2)) / side + 1)
