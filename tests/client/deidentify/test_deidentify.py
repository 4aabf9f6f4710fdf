"""No patient leaves the clinic; the same patient stays the same one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from PIL import PngImagePlugin
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bitdose.client.deidentify.burnt_in import burnt_in_signs
from bitdose.client.deidentify.dataset import Identity, deidentify, shifted
from bitdose.client.deidentify.deid_rules import Action, action_for, table
from bitdose.client.deidentify.pseudonyms import NAME, Patient, Pseudonyms
from bitdose.client.sending.prepare import open_exam, pristine_exam
from bitdose.data.read import read_bytes
from bitdose.errors import CaseError

WHO = Identity("f" * 16, -100, b"k" * 32)
SECRETS = ("Doe", "Jane", "4711", "19500102", "Hillside", "202403", "DOE-CLINIC")


def _read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def test_the_table_is_the_standards() -> None:
    """Rows of Table E.1-1 picked by hand stand as printed in PS3.15."""
    printed = {
        0x00080050: "Z", 0x00184000: "X", 0x00400555: "X/Z", 0x00080022: "X/Z", 0x0008002A: "X/Z/D",
        0x001811BB: "D", 0x00181000: "X/Z/D", 0x00181002: "U", 0x00100010: "Z", 0x00100040: "Z",
        0x0020000D: "U", 0x00080018: "U", 0x00081140: "X/Z/U*", 0x00700084: "Z/D", 0x00181400: "X/D",
        0x0040A730: "D", 0x00100030: "Z", 0x00880200: "X",
    }  # fmt: skip
    assert {tag: table()[tag] for tag in printed} == printed
    assert len(table()) > 600


@pytest.mark.parametrize(
    ("tag", "vr", "action"),
    [
        (0x00091001, "LO", Action.REMOVE),  # private
        (0x60003000, "OW", Action.REMOVE),  # overlay
        (0x60020010, "US", Action.REMOVE),
        (0x50000005, "US", Action.REMOVE),  # curve
        (0x00100030, "DA", Action.EMPTY),  # birth date: never shifted
        (0x00080020, "DA", Action.SHIFT),
        (0x00080016, "UI", Action.REMAP),  # whose values are registered, and stay
        (0x7FE00010, "OW", Action.KEEP),
        (0x00280010, "US", Action.KEEP),
        (0x00181020, "LO", Action.KEEP),
        (0x00289999, "LO", Action.EMPTY),  # no attribute of today
        (0x00289999, "UN", Action.REMOVE),
    ],
)
def test_each_attribute_has_an_action(tag: int, vr: str, action: Action) -> None:
    """Private, overlay, date, identifying, technical and unknown attributes each meet their rule."""
    assert action_for(tag, vr) is action


def _full_of_names(radiograph: Callable[..., bytes]) -> bytes:
    item = Dataset()
    item.PersonName, item.ReferencedSOPInstanceUID, item.Date = "Doe^Jane", "1.2.3", "20240301"
    item.TextValue, item.CodeMeaning = "Jane Doe, seen 2024-03-01", "Chest"
    dataset = _read(
        radiograph(
            InstitutionName="Hillside", ReferringPhysicianName="Doe^Jim", StationName="Hillside-1",
            StudyDescription="Doe chest", PatientComments="Jane", AcquisitionDateTime="20240301101112.5",
            OtherPatientIDs="4711", IssuerOfPatientID="Hillside", FrameOfReferenceUID="1.2.9",
            ReferencedImageSequence=Sequence([item]), OtherPatientNames="Doe^Jane",
            Manufacturer="Acme", WindowCenter="2048", WindowWidth="4096",
        )
    )  # fmt: skip
    block = dataset.private_block(0x0009, "HILLSIDE", create=True)
    block.add_new(0x01, "LO", "Jane Doe")
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60003000, "OW", b"Jane Doe")
    dataset.add_new(0x00289999, "LO", "Jane Doe")
    out = io.BytesIO()
    dataset.save_as(out)
    return b"Jane Doe".ljust(128, b"\0") + out.getvalue()[128:]


def test_no_byte_of_the_patient_is_left(radiograph: Callable[..., bytes]) -> None:
    """Name, id, dates, places, free text, private data, overlays, nested items, preamble: none is left."""
    made = deidentify(_full_of_names(radiograph), WHO)
    assert not [secret for secret in SECRETS if secret.encode() in made]
    dataset = _read(made)
    assert not [element for element in dataset.iterall() if element.tag.is_private]
    assert dataset.PatientName == dataset.PatientID == WHO.pseudonym
    assert dataset.Manufacturer == "Acme"


def test_the_object_says_that_it_was_deidentified(radiograph: Callable[..., bytes]) -> None:
    """PS3.3 C.12.1.1.3.1: identity removed, the method, its codes, and that dates were moved."""
    dataset = _read(deidentify(radiograph(), WHO))
    assert dataset.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"


def test_dates_move_together_and_uids_stay_apart(radiograph: Callable[..., bytes]) -> None:
    """Two objects of a study keep their days apart, the study UID in common, their own UIDs different."""
    first = _read(deidentify(radiograph(SOPInstanceUID="1.2.31"), WHO))
    second = _read(deidentify(radiograph(SOPInstanceUID="1.2.32", StudyDate="20240311"), WHO))
    assert (first.StudyDate, second.StudyDate) == ("20231122", "20231202")  # 100 days earlier, by calendar
    assert first.StudyInstanceUID == second.StudyInstanceUID != "1.2.4"
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert first.SOPClassUID == pydicom.uid.ComputedRadiographyImageStorage
    other = _read(deidentify(radiograph(SOPInstanceUID="1.2.31"), Identity("f" * 16, -100, b"x" * 32)))
    assert other.StudyInstanceUID != first.StudyInstanceUID


@pytest.mark.parametrize(
    ("text", "moved"), [("20240229", "20250228"), ("", ""), ("99999999", ""), ("2024", "")]
)
def test_what_is_no_date_becomes_empty(text: str, moved: str) -> None:
    """A leap day moves by days, not by years; text that is no day is not passed on."""
    assert shifted(text, 365) == moved


def test_pixels_stay_as_they_are(shared: Path) -> None:
    """On real objects of many makers and syntaxes the pixels read from the new file equal the old ones."""
    seen = 0
    for path in sorted((shared / "data" / "dicom").glob("*.dcm")):
        data = path.read_bytes()
        try:
            before = read_bytes(data)
        except CaseError:
            continue
        made = deidentify(data, WHO)
        assert read_bytes(made).image == before.image, path.name
        name = str(pydicom.dcmread(path, stop_before_pixels=True, force=True).get("PatientName") or "")
        assert len(name) < 4 or name.encode() not in made, path.name
        seen += 1
    assert seen > 15


def test_an_object_without_pixels_is_refused(radiograph: Callable[..., bytes]) -> None:
    """A report's content is about the patient: it is refused, and the message names nobody."""
    dataset = _read(radiograph())
    del dataset.PixelData
    out = io.BytesIO()
    dataset.save_as(out)
    with pytest.raises(CaseError, match="no-pixels") as caught:
        deidentify(out.getvalue(), WHO)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "n_signs"),
    [
        ({"Modality": "CR"}, 0),
        ({"Modality": "US"}, 1),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, 0),
        ({"Modality": "CR", "BurnedInAnnotation": "YES"}, 1),
        ({"Modality": "OT", "ConversionType": "SD"}, 2),
        ({"Modality": "CR", "RecognizableVisualFeatures": "YES"}, 1),
        ({"Modality": "CT", "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, 1),
    ],
)
def test_text_burnt_in_is_warned_of(attributes: dict[str, Any], n_signs: int) -> None:
    """Each sign of text in the pixels is one warning, and an object that says it has none is believed."""
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    assert len(burnt_in_signs(dataset)) == n_signs


def test_a_patient_keeps_a_random_pseudonym(tmp_path: Path) -> None:
    """The same patient gets the same identity in a new session; another clinic's folder gives another."""
    jane = Patient("Hillside", "4711", "Doe^Jane", "19500102")
    first = Pseudonyms(tmp_path).identity(jane)
    assert Pseudonyms(tmp_path).identity(jane) == first
    assert Pseudonyms(tmp_path).identity(Patient("Other", "4711")).pseudonym != first.pseudonym
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert Pseudonyms(elsewhere).identity(jane).pseudonym != first.pseudonym
    assert -3650 <= first.shift_days <= -30


def test_the_link_is_the_clinics_alone(tmp_path: Path) -> None:
    """The clinic finds the patient of a pseudonym; its file is closed to others; no repr shows a name."""
    jane = Patient("", "4711", "Doe^Jane", "19500102")
    identity = Pseudonyms(tmp_path).identity(jane)
    found = Pseudonyms(tmp_path).who(identity.pseudonym)
    assert found is not None
    assert (found.patient_id, found.name) == ("4711", "Doe^Jane")
    assert Pseudonyms(tmp_path).who("nobody-we-know") is None
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0
    assert "Doe" not in repr(jane)
    assert "k" * 8 not in repr(WHO)


def _jpeg_with_exif(orientation: int) -> bytes:
    pixels = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = orientation, "Jane Doe 4711"
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "JPEG", exif=exif, comment=b"Jane Doe", icc_profile=b"Jane Doe" * 20)
    return out.getvalue() + b"Jane Doe behind the end"


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_keeps_its_coded_image_and_loses_its_words(orientation: int) -> None:
    """EXIF, comment, ICC text and trailing bytes go; pixels, and the way up, stay."""
    data = _jpeg_with_exif(orientation)
    made = pristine_exam(open_exam(data), identity=WHO).payload
    assert b"Doe" not in made
    assert read_bytes(made).image == read_bytes(data).image
    assert len(made) < len(data)


def test_a_progressive_jpeg_survives() -> None:
    """Many scans, with tables between them, are copied whole."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(out, "JPEG", progressive=True, quality=60, comment=b"Jane Doe")
    made = pristine_exam(open_exam(out.getvalue()), identity=WHO).payload
    assert read_bytes(made).image == read_bytes(out.getvalue()).image
    assert b"Doe" not in made


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_png_is_written_anew(mode: str) -> None:
    """Text chunks go; 8 and 16 bits and colour come back as they were."""
    rng = np.random.default_rng(1)
    shape = (40, 50, 3) if mode == "RGB" else (40, 50)
    pixels = rng.integers(0, 65535, shape, dtype=np.uint16)
    words = PngImagePlugin.PngInfo()
    words.add_text("Patient", "Jane Doe")
    out = io.BytesIO()
    Pillow.fromarray(pixels if mode == "I;16" else (pixels >> 8).astype(np.uint8)).save(
        out, "PNG", pnginfo=words
    )
    made = pristine_exam(open_exam(out.getvalue()), identity=WHO).payload
    assert b"Doe" not in made
    assert read_bytes(made).image == read_bytes(out.getvalue()).image


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_nifti_loses_its_texts(tmp_path: Path, suffix: str) -> None:
    """Description, file names, intent and extensions are zeroed; the samples stay."""
    import nibabel as nib

    image = nib.Nifti1Image(np.arange(4 * 20 * 20, dtype=np.int16).reshape(20, 20, 4), np.eye(4))
    image.header["descrip"], image.header["db_name"] = b"Jane Doe", b"Doe"
    image.header["intent_name"], image.header["aux_file"] = b"Doe", b"Doe.txt"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe was here"))
    path = tmp_path / f"jane.{suffix}"
    nib.save(image, path)
    made = pristine_exam(open_exam(path.read_bytes()), identity=WHO).payload
    import gzip

    raw = gzip.decompress(made) if suffix.endswith("gz") else made
    assert b"Doe" not in raw
    assert b"jane" not in made
    assert read_bytes(made).image == read_bytes(path.read_bytes()).image
