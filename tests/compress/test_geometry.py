"""A downsized object still says where its pixels lie."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

Make = Callable[..., Any]


def plane(position: list[float]) -> Dataset:
    """Return a functional group with a plane position."""
    group, item = Dataset(), Dataset()
    item.ImagePositionPatient = position
    group.PlanePositionSequence = [item]
    return group


def corner(dataset: Dataset, row: float, column: float) -> np.ndarray:
    """Return where a place of the pixel grid (edges at -1/2) lies in the patient (PS3.3 C.7.6.2.1.1)."""
    cosines = np.array(dataset.ImageOrientationPatient, float)
    down, along = map(float, dataset.PixelSpacing)
    return (
        np.array(dataset.ImagePositionPatient, float)
        + cosines[:3] * along * column
        + cosines[3:] * down * row
    )


def test_every_corner_stays_where_it_was(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Oblique plane, unlike spacings, 60x40 to 15x32: the four corners keep their place in space."""
    row, down = np.array([0.8, 0.6, 0.0]), np.array([-0.36, 0.48, 0.8])
    data = make_dicom(
        texture(60, 40, 12),
        BitsStored=12,
        PixelSpacing=["0.5", "0.75"],
        ImagePositionPatient=["-100.5", "20", "33.25"],
        ImageOrientationPatient=[f"{v:.6g}" for v in (*row, *down)],
    )
    full, small = compress(data, "jpeg2000:5x"), compress(data, "jpeg2000:5x@32x15")
    assert (small.Rows, small.Columns) == (15, 32)
    for at_row, at_column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        before = corner(full, at_row * full.Rows - 0.5, at_column * full.Columns - 0.5)
        after = corner(small, at_row * small.Rows - 0.5, at_column * small.Columns - 0.5)
        np.testing.assert_allclose(after, before, atol=1e-9)


def test_spacings_are_scaled_per_axis(make_dicom: Make, compress: Make, texture: Make) -> None:
    """64x96 to 32x32: rows twice, columns three times as far apart, for every kind of spacing."""
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    data = make_dicom(texture(64, 96, 8), **{name: ["0.1", "0.2"] for name in names})
    made = compress(data, "jpeg:q80@32")
    for name in names:
        assert [float(v) for v in made[name].value] == pytest.approx([0.2, 0.6])
    assert "PixelAspectRatio" not in made


def test_without_spacing_the_aspect_ratio_says_it(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Pixels three halves as wide as high are 2:3; where the shape is kept there is nothing to say."""
    made = compress(make_dicom(texture(64, 96, 8)), "jpeg:q80@32")
    assert list(made.PixelAspectRatio) == [2, 3]
    assert "PixelAspectRatio" not in compress(make_dicom(texture(64, 96, 8)), "jpeg:q80@48x32")


def test_frames_of_enhanced_objects_move_too(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Shared spacing and orientation, a position per frame: halves of a pixel are added to each."""
    shared, measure, turned = Dataset(), Dataset(), Dataset()
    measure.PixelSpacing, turned.ImageOrientationPatient = ["1", "2"], [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measure], [turned]
    data = make_dicom(
        np.stack([texture(64, 64, 8)] * 2),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[plane([0.0, 0.0, 5.0 * n]) for n in range(2)],
    )
    made = compress(data, "jpeg:q80@32x16")
    spacing = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert [float(v) for v in spacing] == [4.0, 4.0]
    for n, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        position = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        assert position == [1.0, 1.5, 5.0 * n]  # (4 - 2) / 2 along the row, (4 - 1) / 2 down


def test_ultrasound_regions_follow(make_dicom: Make, compress: Make, texture: Make) -> None:
    """A region's corners are mapped into the small image, its physical deltas grow with the pixels."""
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 10, 20
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 99, 59
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.01, 0.02
    made = compress(
        make_dicom(texture(60, 100, 8), SequenceOfUltrasoundRegions=[region]), "jpeg:q80@50x20"
    ).SequenceOfUltrasoundRegions[0]
    assert (made.RegionLocationMinX0, made.RegionLocationMaxX1) == (5, 49)
    assert (made.RegionLocationMinY0, made.RegionLocationMaxY1) == (6, 19)
    assert (made.PhysicalDeltaX, made.PhysicalDeltaY) == pytest.approx((0.02, 0.06))


def test_shutters_follow(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Edges and vertices are mapped; a circle stays one only where both axes shrink alike."""
    given = {
        "ShutterShape": ["RECTANGULAR", "CIRCULAR"],
        "ShutterLeftVerticalEdge": 11,
        "ShutterLowerHorizontalEdge": 60,
        "CenterOfCircularShutter": [32, 50],
        "RadiusOfCircularShutter": 30,
        "VerticesOfThePolygonalShutter": [1, 1, 1, 100, 64, 100],
    }
    data = make_dicom(texture(64, 100, 8), **given)
    alike = compress(data, "jpeg:q80@50x32")
    assert (alike.ShutterLeftVerticalEdge, alike.ShutterLowerHorizontalEdge) == (6, 30)
    assert (alike.RadiusOfCircularShutter, list(alike.CenterOfCircularShutter)) == (15, [16, 25])
    assert list(alike.VerticesOfThePolygonalShutter) == [1, 1, 1, 50, 32, 50]
    unlike = compress(data, "jpeg:q80@50x16")
    assert unlike.ShutterShape == "RECTANGULAR"
    assert "RadiusOfCircularShutter" not in unlike
    assert "CenterOfCircularShutter" not in unlike


def test_overlays_of_the_old_size_go(make_dicom: Make, compress: Make, texture: Make) -> None:
    """An overlay's plane has the old rows and columns: dropped when downsized, kept at full size."""
    source = pydicom.dcmread(io.BytesIO(make_dicom(texture(16, 16, 8))))
    source.add_new((0x6000, 0x0010), "US", 16)
    source.add_new((0x6000, 0x3000), "OW", bytes(32))
    file = io.BytesIO()
    source.save_as(file)
    assert (0x6000, 0x3000) in compress(file.getvalue(), "jpeg:q80")
    small = compress(file.getvalue(), "jpeg:q80@8")
    assert not [element for element in small if element.tag.group == 0x6000]


def test_a_point_of_the_same_size_moves_nothing(make_dicom: Make, compress: Make, texture: Make) -> None:
    """@32 of a 32x32 image is no downsizing: spacing and position keep their text."""
    data = make_dicom(texture(32, 32, 8), PixelSpacing=["0.10", "0.10"])
    made = compress(data, "jpeg:q80@32")
    assert [str(v) for v in made.PixelSpacing] == ["0.10", "0.10"]
    assert len(made.DerivationCodeSequence) == 1


def test_radiotherapy_images_move_down_the_plane(make_dicom: Make, compress: Make, texture: Make) -> None:
    """RT Image Position: x grows, y (which points up) falls by half the spacings' difference."""
    data = make_dicom(texture(32, 32, 8), RTImagePosition=[-10, 10], ImagePlanePixelSpacing=[1, 1])
    made = compress(data, "jpeg:q80@16")
    assert [float(v) for v in made.RTImagePosition] == [-9.5, 9.5]
    assert [float(v) for v in made.ImagePlanePixelSpacing] == [2.0, 2.0]
