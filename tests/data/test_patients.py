"""What is promised of patients: where their ids come from, and what is never written."""

import logging
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from bitdose.data.load import load_cases
from bitdose.data.objects import cases_from
from bitdose.data.patients import header_patient, patient_text
from bitdose.errors import UsageError

USUAL = ("patient", "PatientID", "patient_id", "PATIENT ID", "patientid", "Subject", "subject_id",
         "subject-id", "participant_id", "MRN")  # fmt: skip


def write_dicom(
    path: Path,
    patient: str | None,
    *,
    issuer: str = "",
    syntax: UID = ExplicitVRLittleEndian,
    bare: bool = False,
) -> Path:
    """Write a small DICOM image of a patient; None leaves the attribute out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName = "Doe^Jane"
    if patient is not None:
        dataset.PatientID = patient
    if issuer:
        dataset.IssuerOfPatientID = issuer
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows = dataset.Columns = 8
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.arange(64, dtype=np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if bare:
        del dataset.file_meta
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    else:
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def write_slices(folder: Path, *, patients: int = 4, slices: int = 3) -> Path:
    """Write DICOM slices of several patients in two class folders."""
    for number in range(patients * slices):
        who = number % patients
        write_dicom(folder / ("sick" if who % 2 else "well") / f"{number}.dcm", f"MRN-{who}", issuer="HOSP")
    return folder


def write_table(folder: Path, text: str) -> Path:
    """Write a CSV table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


@pytest.mark.parametrize("name", USUAL)
def test_any_usual_column_names_the_patients(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The patients' column is found under its usual names, and the log says which it was."""
    table = write_table(tmp_path, f"path,label,{name}\n1,a,p1\n2,b,p1\n3,b,p2\n")
    with caplog.at_level(logging.INFO, logger="bitdose"):
        found = load_cases(table)
    assert [case.patient for case in found.cases] == ["p1", "p1", "p2"]
    assert found.has_patients
    assert found.patients_from == f"column {name}"
    assert all(case.columns == {} for case in found.cases)
    assert [record.getMessage() for record in caplog.records] == (
        [] if name == "patient" else [f"t.csv: patients are named by the column {name!r}"]
    )
    frame = pl.read_csv(table).with_columns(pl.col("path").cast(pl.String))
    assert cases_from(frame).patients_from == f"column {name}"


def test_the_column_of_patients_can_be_named(tmp_path: Path) -> None:
    """A named column is taken over the usual ones; one that is missing is refused with those there are."""
    table = write_table(tmp_path, "path,label,patient,person\n1,a,p1,x\n2,b,p2,x\n")
    found = load_cases(table, patient_column="person")
    assert [case.patient for case in found.cases] == ["x", "x"]
    assert found.cases[0].columns == {"patient": "p1"}
    with pytest.raises(
        UsageError, match="patient_column='who': expected a column of t.csv, got patient, person"
    ):
        load_cases(table, patient_column="who")


def test_a_patient_that_is_no_number_is_nobody(tmp_path: Path) -> None:
    """NaN and empty cells make no common patient of strangers; a float-written id is the whole number."""
    table = write_table(tmp_path, "path,label,patient\n1,a,nan\n2,b,NaN\n3,b,12.0\n4,a,12\n5,a,\n")
    found = load_cases(table)
    assert [case.patient for case in found.cases] == ["1", "2", "12", "12", "5"]
    assert not found.has_patients
    frame = pl.DataFrame(
        {"path": ["1", "2", "3"], "label": ["a", "b", "a"], "patient": [12.0, float("nan"), 12]}
    )
    frame.write_parquet(tmp_path / "t.parquet")
    assert [case.patient for case in load_cases(tmp_path / "t.parquet").cases] == ["12", "2", "12"]
    assert [patient_text(text) for text in ("7.5", "0012", "1e5", "<NA>", None)] == [
        "7.5",
        "0012",
        "1e5",
        "",
        "",
    ]


def test_dicom_headers_name_the_patients(tmp_path: Path) -> None:
    """Slices of four patients are four patients, under pseudonyms that hold nothing of their ids."""
    found = load_cases(write_slices(tmp_path))
    assert found.patients_from == "DICOM header"
    assert len({case.patient for case in found.cases}) == 4
    assert all(len(case.patient) == 16 and int(case.patient, 16) for case in found.cases)
    assert "MRN" not in repr(found)
    assert "HOSP" not in repr(found)


def test_a_column_goes_before_the_headers(tmp_path: Path) -> None:
    """Headers are read where a table has no column of patients, or an empty one."""
    write_slices(tmp_path, patients=1, slices=2)
    text = "path,label{}\nwell/0.dcm,a{}\nwell/1.dcm,b{}\n"
    bare, empty, full = (
        text.format(*c) for c in (("",) * 3, (",patient", ",", ","), (",patient", ",x", ",y"))
    )
    assert load_cases(write_table(tmp_path, bare)).patients_from == "DICOM header"
    found = load_cases(write_table(tmp_path, empty))
    assert found.patients_from == "DICOM header"
    assert len({case.patient for case in found.cases}) == 1
    assert [case.patient for case in load_cases(write_table(tmp_path, full)).cases] == ["x", "y"]


@pytest.mark.parametrize(
    "options",
    [
        {"syntax": ImplicitVRLittleEndian}, {"syntax": DeflatedExplicitVRLittleEndian}, {"bare": True},
    ],
)  # fmt: skip
def test_every_encoding_of_a_header(options: dict[str, object], tmp_path: Path) -> None:
    """A patient is the same whatever the encoding of the file; another issuer's is another patient."""
    plain = header_patient(write_dicom(tmp_path / "a", "7"))
    assert plain == header_patient(write_dicom(tmp_path / "b", " 7 ", **options))  # type: ignore[arg-type]
    assert plain != header_patient(write_dicom(tmp_path / "c", "7", issuer="X", **options))  # type: ignore[arg-type]


def test_files_of_others_have_the_patient_that_pydicom_reads() -> None:
    """Equal ids give equal pseudonyms, other ids others, over files of several makers."""
    folder = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
    pairs = set()
    for path in sorted(folder.glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, force=True)
        named = [str(dataset.get(name) or "").strip() for name in ("PatientID", "IssuerOfPatientID")]
        pairs.add((tuple(named), header_patient(path) or ""))
    assert len(pairs) == len({who for who, _ in pairs}) == len({found for _, found in pairs}) > 10
    assert {found for (who, _), found in pairs if not who} == {""}


def test_an_image_without_an_id_makes_patients_unknown(tmp_path: Path) -> None:
    """One file that names no patient is its own, and the set's patients count as unknown."""
    write_slices(tmp_path)
    for name, who in (("none", None), ("empty", ""), ("anonymous", "ANONYMOUS")):
        write_dicom(tmp_path / "well" / name, who)
    (tmp_path / "well" / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = load_cases(tmp_path)
    own = {case.id for case in found.cases if case.patient == case.id}
    assert own == {"well/none", "well/empty", "well/anonymous", "well/image.png"}
    assert not found.has_patients


def test_a_file_that_cannot_be_read_names_nobody(tmp_path: Path) -> None:
    """Missing and damaged files fail as cases later; they do not make the others' patients unknown."""
    write_slices(tmp_path)
    (tmp_path / "well" / "empty.dcm").write_bytes(b"")
    (tmp_path / "well" / "cut.dcm").write_bytes((tmp_path / "well" / "0.dcm").read_bytes()[:200])
    assert load_cases(tmp_path).patients_from == "DICOM header"
    assert header_patient(tmp_path / "absent") is None


def test_a_patient_of_headers_stays_in_one_split(tmp_path: Path) -> None:
    """One patient's images in two splits are refused, and the message names nobody."""
    for split in ("train", "test"):
        write_dicom(tmp_path / split / "well" / "1", "Doe-1")
    with pytest.raises(UsageError, match="got 1 in several") as caught:
        load_cases(tmp_path, split="test")
    assert "Doe" not in str(caught.value)
