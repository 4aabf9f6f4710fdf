"""DICOM objects made for a test, and the call that compresses one."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from bitdose.codecs.point import Point
from bitdose.compress.dicom import Uids, compress_dicom
from bitdose.testing.images import textured_image

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
GdcmPixels = Callable[[Path], bytes]
MakeDicom = Callable[..., bytes]
Compress = Callable[..., Dataset]
GDCM = """
import sys, gdcm
reader = gdcm.ImageReader()
reader.SetFileName(sys.argv[1])
if not reader.Read():
    sys.exit(3)
buffer = reader.GetImage().GetBuffer()
with open(sys.argv[2], "wb") as file:
    file.write(buffer if isinstance(buffer, bytes) else buffer.encode("utf-8", "surrogateescape"))
"""


@pytest.fixture(scope="session")
def texture() -> Callable[..., NDArray[Any]]:
    """Draw texture that fills the range of its bits, signed if asked for."""

    def draw(height: int, width: int, bits: int, *, signed: bool = False, colour: bool = False) -> Any:
        rng = np.random.default_rng([height, width, bits])
        pixels = textured_image(height, width, rng=rng, bits=bits, colour=colour).pixels
        return (pixels.astype(np.int32) - (1 << (bits - 1))).astype(np.int16) if signed else pixels

    return draw


@pytest.fixture(scope="session")
def make_dicom() -> MakeDicom:
    """Return the file of a data set of pixels: ``(H, W)``, ``(L, H, W)`` or ``(…, 3)``."""

    def make(pixels: NDArray[Any], **attributes: Any) -> bytes:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = UID(SECONDARY_CAPTURE), UID("1.2.3")
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID("1.2.4"), UID("1.2.5")
        dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "4711", "OT"
        colour = pixels.shape[-1] == 3
        grid = pixels.shape[:-1] if colour else pixels.shape
        dataset.Rows, dataset.Columns = grid[-2:]
        if len(grid) == 3:
            dataset.NumberOfFrames = grid[0]
        dataset.SamplesPerPixel = 3 if colour else 1
        if colour:
            dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset.HighBit = dataset.BitsStored - 1
        dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        file = io.BytesIO()
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def compress() -> Compress:
    """Compress a DICOM file and read what came of it."""

    def call(data: bytes, point: str, **options: Any) -> Dataset:
        options = {"uids": Uids(), "now": NOW} | options
        return pydicom.dcmread(io.BytesIO(compress_dicom(data, Point.parse(point), **options).data))

    return call


@pytest.fixture
def gdcm_pixels(tmp_path: Path) -> GdcmPixels:
    """Give ``gdcm_pixels(path)``: the samples that GDCM decodes, in a process of its own."""
    pytest.importorskip("gdcm")

    def read(path: Path) -> bytes:
        raw = tmp_path / "pixels-by-gdcm"
        subprocess.run([sys.executable, "-c", GDCM, str(path), str(raw)], check=True)
        return raw.read_bytes()

    return read
