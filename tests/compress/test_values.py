"""Eight-bit streams of deeper samples: what the values mean is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing

from bitdose.compress.values import decimal

Make = Callable[..., Any]
DX = "1.2.840.10008.5.1.4.1.1.1.1"


def table(first: int, entries: list[int]) -> Dataset:
    """Return a look-up table item of 16-bit entries."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, 16])
    item.add_new("LUTData", "OW", np.array(entries, "<u2").tobytes())
    return item


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("rescale", [None, (2.5, -1000.0)])
def test_modality_values_are_kept(
    make_dicom: Make, compress: Make, texture: Make, signed: bool, rescale: tuple[float, float] | None
) -> None:
    """Rescale leads from the 8-bit samples to the old modality values, within mapping and codec error."""
    pixels = texture(64, 64, 12, signed=signed)
    given = {} if rescale is None else {"RescaleSlope": rescale[0], "RescaleIntercept": rescale[1]}
    made = compress(make_dicom(pixels, BitsStored=12, **given), "jpeg:q100")
    slope, intercept = rescale or (1.0, 0.0)
    old = pixels * slope + intercept
    new = apply_modality_lut(made.pixel_array, made)
    assert (made.BitsAllocated, made.BitsStored, made.PixelRepresentation) == (8, 8, 0)
    # One 8-bit step is 4095 / 255 = 16.06 stored values; quality 100 errs by at most two steps.
    assert np.abs(new - old).max() <= 2.5 * 4095 / 255 * slope
    assert abs((new - old).mean()) < 0.1 * 4095 / 255 * slope


def test_the_rescale_is_the_one_worked_by_hand(make_dicom: Make, compress: Make, texture: Make) -> None:
    """12 signed bits, slope 2, intercept -10: v = 4095/255 x - 2048, so slope 32.117…, intercept -4106."""
    data = make_dicom(texture(16, 16, 12, signed=True), BitsStored=12, RescaleSlope=2, RescaleIntercept=-10)
    made = compress(data, "jpeg:q90")
    assert float(made.RescaleSlope) == pytest.approx(2 * 4095 / 255, rel=1e-12)
    assert float(made.RescaleIntercept) == 2 * -2048 - 10


def test_windows_act_as_before(make_dicom: Make, compress: Make, texture: Make) -> None:
    """The window is in modality values and stays; what it shows is the same picture."""
    pixels = texture(64, 64, 12)
    data = make_dicom(pixels, BitsStored=12, WindowCenter="2000", WindowWidth="3000")
    made = compress(data, "jpeg:q100")
    assert (made.WindowCenter, made.WindowWidth) == (2000, 3000)
    shown = apply_windowing(apply_modality_lut(made.pixel_array, made), made)
    low, high = shown.min(), shown.max()
    wanted = np.clip((pixels - 1999.5) / 2999 + 0.5, 0, 1)
    assert np.abs((shown - low) / (high - low) - wanted).max() < 0.02


def test_digital_radiographs_keep_their_fixed_rescale(
    make_dicom: Make, compress: Make, texture: Make
) -> None:
    """DX allows only slope 1, intercept 0 (PS3.3 C.8.11.3): windows and VOI LUTs are mapped instead."""
    pixels = texture(64, 64, 12)
    given = {"SOPClassUID": DX, "RescaleSlope": "1", "RescaleIntercept": "0"}
    data = make_dicom(
        pixels, BitsStored=12, WindowCenter=["2047.5", "1000"], WindowWidth=["4095", "500"], **given
    )
    made = compress(data, "jpeg:q90")
    assert (made.RescaleSlope, made.RescaleIntercept) == (1, 0)
    assert [float(c) for c in made.WindowCenter] == pytest.approx([127.5, 1000 * 255 / 4095])
    assert [float(w) for w in made.WindowWidth] == pytest.approx([255, 500 * 255 / 4095])
    entries = [(3 * n) & 0xFFFF for n in range(4096)]
    made = compress(
        make_dicom(pixels, BitsStored=12, VOILUTSequence=[table(0, entries)], **given), "jpeg:q100"
    )
    shown = apply_voi_lut(made.pixel_array, made).astype(int)
    assert np.abs(shown - 3 * pixels.astype(int)).max() <= 3 * 2.5 * 4095 / 255


def test_a_modality_table_is_resampled(make_dicom: Make, compress: Make, texture: Make) -> None:
    """A Modality LUT gets one entry per 8-bit value: that of the value it stands for."""
    entries = [n * n >> 9 for n in range(4096)]
    item = table(0, entries)
    item.ModalityLUTType = "OD"
    made = compress(make_dicom(texture(16, 16, 12), BitsStored=12, ModalityLUTSequence=[item]), "jpeg:q90")
    new = made.ModalityLUTSequence[0]
    assert list(new.LUTDescriptor) == [256, 0, 16]
    assert new.ModalityLUTType == "OD"
    wanted = [entries[int(np.floor(x * 4095 / 255 + 0.5))] for x in range(256)]
    assert np.frombuffer(new.LUTData, "<u2").tolist() == wanted
    assert "RescaleSlope" not in made


@pytest.mark.parametrize(("signed", "old", "new"), [(False, 4095, 255), (True, -2048, 0), (True, 0, 128)])
def test_padding_is_mapped(
    make_dicom: Make, compress: Make, texture: Make, *, signed: bool, old: int, new: int
) -> None:
    """The padding value means the same stored level after the mapping, unsigned."""
    source = make_dicom(texture(16, 16, 12, signed=signed), BitsStored=12, PixelPaddingValue=old)
    made = compress(source, "jpeg:q90")
    assert (made.PixelPaddingValue, made["PixelPaddingValue"].VR) == (new, "US")
    assert compress(source, "jpeg2000:9x").PixelPaddingValue == old


def test_per_frame_rescale_is_mapped(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Enhanced objects: each frame's own rescale is mapped, and real-world maps with it."""
    groups = []
    for slope in (2, 3):
        transform, group, world = Dataset(), Dataset(), Dataset()
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = slope, 0, "US"
        world.RealWorldValueSlope, world.RealWorldValueIntercept = 10.0, 5.0
        world.add_new("RealWorldValueFirstValueMapped", "US", 0)
        world.add_new("RealWorldValueLastValueMapped", "US", 4095)
        group.PixelValueTransformationSequence, group.RealWorldValueMappingSequence = [transform], [world]
        groups.append(group)
    pixels = np.stack([texture(16, 16, 12)] * 2)
    data = make_dicom(
        pixels,
        BitsStored=12,
        PerFrameFunctionalGroupsSequence=groups,
        SharedFunctionalGroupsSequence=[Dataset()],
    )
    made = compress(data, "jpeg:q90")
    for group, slope in zip(made.PerFrameFunctionalGroupsSequence, (2, 3), strict=True):
        new = float(group.PixelValueTransformationSequence[0].RescaleSlope)
        assert new == pytest.approx(slope * 4095 / 255, rel=1e-12)
        world = group.RealWorldValueMappingSequence[0]
        assert world.RealWorldValueSlope == pytest.approx(10 * 4095 / 255)
        assert (world.RealWorldValueIntercept, world.RealWorldValueLastValueMapped) == (5.0, 255)
    assert "RescaleSlope" not in made


def test_enhanced_objects_without_rescale_get_a_shared_one(
    make_dicom: Make, compress: Make, texture: Make
) -> None:
    """The added rescale stands in the shared functional group, where readers of such objects look."""
    data = make_dicom(np.stack([texture(16, 16, 12)] * 2), BitsStored=12,
                      SharedFunctionalGroupsSequence=[Dataset()])  # fmt: skip
    made = compress(data, "jpeg:q90")
    added = made.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    assert float(added.RescaleSlope) == pytest.approx(4095 / 255)
    assert "DerivationImageSequence" in made.SharedFunctionalGroupsSequence[0]


def test_nothing_changes_where_the_stream_keeps_the_depth(
    make_dicom: Make, compress: Make, texture: Make
) -> None:
    """JPEG 2000 and unsigned 8-bit JPEG leave rescale, windows and padding alone, and add none."""
    for bits, point in ((12, "jpeg2000:9x"), (8, "jpeg:q50")):
        made = compress(
            make_dicom(texture(16, 16, bits), BitsStored=bits, WindowCenter="7", WindowWidth="3"), point
        )
        assert "RescaleSlope" not in made
        assert (made.WindowCenter, made.WindowWidth) == (7, 3)


@pytest.mark.parametrize("value", [0.1, 1 / 3, -1234567.891234567, 1e-9 / 3, 4.5e17, -2048.0])
def test_decimal_strings_fit(value: float) -> None:
    """At most 16 characters (PS3.5 6.2), as near as these allow."""
    assert len(decimal(value)) <= 16
    assert float(decimal(value)) == pytest.approx(value, rel=1e-9)
