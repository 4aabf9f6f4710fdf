"""What ``data make covidx`` promises, on small real downloads: a CSV and DICOM files of the right form."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from bitdose.data.load import load_cases
from bitdose.data.read import read_source
from bitdose.datasets.arrange import Arranged, write_arranged
from bitdose.datasets.covidx import make_covidx
from bitdose.datasets.split import held_out
from bitdose.errors import BitdoseError, UsageError

HEADER = "patientid,offset,sex,age,finding,view,modality,folder,filename,license,clinical_notes,"
COVID = "Pneumonia/Viral/COVID-19"


def covid_row(patient: str, finding: str, name: str, view: str = "PA", modality: str = "X-ray") -> str:
    """Write one row of the COVID set, with a note over two lines as the real one has."""
    return f'{patient},0,M,65,{finding},{view},{modality},images,{name},CC BY,"a man\nof 65, Doe^Jane",'


def write_dicom(path: Path, value: int) -> None:
    """Write a small X-ray as the challenge does: 8 bits, the id as patient's name."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{value + 1}"
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", path.stem, "CR"
    dataset.PatientSex, dataset.ViewPosition = "F", "PA"
    with warnings.catch_warnings(action="ignore"):
        dataset.PatientAge = "51"  # no valid age, but how the challenge's files have it
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.full((8, 8), value % 256, np.uint8).tobytes()
    with warnings.catch_warnings(action="ignore"):
        dataset.save_as(path, enforce_file_format=True)


def write_covid(folder: Path, rows: list[str], *, names: list[str]) -> Path:
    """Write a clone of the COVID set."""
    (folder / "images").mkdir(parents=True)
    (folder / "metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    for value, name in enumerate(names):
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(folder / "images" / name)
    return folder


def write_rsna(folder: Path, normal: list[str], opacity: list[str], other: list[str]) -> Path:
    """Write an unzipped challenge: two boxes for every image with an opacity."""
    images = folder / "stage_2_train_images"
    images.mkdir(parents=True)
    classes = [f"{name},Normal" for name in normal] + [f"{name},Lung Opacity" for name in opacity * 2]
    classes += [f"{name},No Lung Opacity / Not Normal" for name in other]
    boxes = [f"{name},,,,,0" for name in normal + other] + [f"{name},1,2,3,4,1" for name in opacity * 2]
    (folder / "stage_2_detailed_class_info.csv").write_text("\n".join(["patientId,class", *classes]))
    (folder / "stage_2_train_labels.csv").write_text("\n".join(["patientId,x,y,width,height,Target", *boxes]))
    for value, name in enumerate([*normal, *opacity, *other]):
        write_dicom(images / f"{name}.dcm", value)
    return folder


@pytest.fixture
def downloads(tmp_path: Path) -> tuple[Path, Path]:
    """Give both downloads: 20 COVID patients with an image or two, 30 + 20 + 5 RSNA images."""
    rows, names = [], []
    for number in range(20):
        for visit in range(1 + number % 2):
            names.append(f"c{number}-{visit}.png")
            rows.append(covid_row(str(number), COVID, names[-1]))
    rows += [covid_row("50", "Pneumonia/Viral/SARS", "sars.png"), covid_row("51", "Tuberculosis", "tb.png")]
    rows += [covid_row("0", COVID, "lateral.png", view="L"), covid_row("52", COVID, "away.png")]
    covid = write_covid(tmp_path / "covid", rows, names=[*names, "sars.png", "tb.png", "lateral.png"])
    normal, opacity = [f"n{i}" for i in range(30)], [f"o{i}" for i in range(20)]
    rsna = write_rsna(tmp_path / "rsna", normal, opacity, [f"x{i}" for i in range(5)])
    return covid, rsna


def splits(made: Arranged) -> dict[str, dict[str, int]]:
    """Give numbers of cases by split and label."""
    return {
        split: {label: n["cases"] for label, n in labels.items()} for split, labels in made.counts().items()
    }


def test_the_papers_mapping(downloads: tuple[Path, Path]) -> None:
    """PA rows by the last part of their finding; RSNA's normals and opacities, a case per image."""
    made = make_covidx(*downloads)
    assert splits(made)["test"] | {"covid-19": 0} == {"normal": 3, "pneumonia": 2, "covid-19": 0}
    assert sum(labels["pneumonia"] for labels in splits(made).values()) == 21  # SARS is one
    assert sum(labels["covid-19"] for labels in splits(made).values()) == 30
    assert made.dropped == {
        "RSNA: image is neither normal nor with an opacity": 5,
        "COVID set: finding is of none of the classes": 1,
        "COVID set: view is not PA": 1,
        "COVID set: image file is missing": 1,
    }


def test_a_tenth_of_each_classs_patients_is_held_out_whole(downloads: tuple[Path, Path]) -> None:
    """Two of 20 COVID patients, with all their images; nobody is in two splits."""
    made = make_covidx(*downloads)
    assert made.counts()["test"]["covid-19"]["patients"] == 2
    places: dict[str, set[str]] = {}
    for case in made.cases:
        places.setdefault(case.patient, set()).add(case.split)
    assert all(len(found) == 1 for found in places.values())


def test_the_choice_follows_from_names_and_seed_alone(downloads: tuple[Path, Path]) -> None:
    """The same downloads give the same set; another seed holds out others; order does not matter."""
    first, again, other = make_covidx(*downloads), make_covidx(*downloads), make_covidx(*downloads, seed=1)
    assert first == again
    assert [case.split for case in first.cases] != [case.split for case in other.cases]
    people = {f"p{number}": ["a"] for number in range(50)}
    turned = dict(reversed(people.items()))
    chosen = held_out(people, 0.1, seed=0, name="n")
    assert chosen == held_out(turned, 0.1, seed=0, name="n")
    assert len(chosen) == 5


def test_a_study_reads_what_is_written(downloads: tuple[Path, Path], tmp_path: Path) -> None:
    """cases.csv has relative paths that lead to readable images, and all columns the page promises."""
    table = write_arranged(make_covidx(*downloads), tmp_path / "set")
    found = load_cases(table, split="test")
    assert found.labels == ("covid-19", "normal", "pneumonia")
    assert found.has_patients
    assert {read_source(case.path).format for case in found.cases} == {"PNG", "DICOM"}
    columns = {"source", "sex", "age", "view", "original", "finding", "licence"}
    assert all(set(case.columns) == columns for case in found.cases)
    assert "../rsna/stage_2_train_images/" in table.read_text()
    assert {case.columns["age"] for case in found.cases} == {51, 65}


def test_provenance_says_what_was_read_chosen_and_left_out(
    downloads: tuple[Path, Path], tmp_path: Path
) -> None:
    """Counts, options, reasons and digests are kept; no name, note or folder of the user's is."""
    write_arranged(make_covidx(*downloads), tmp_path / "set")
    text = (tmp_path / "set/provenance.json").read_text()
    known = json.loads(text)
    assert known["set"] == "covidx"
    assert known["options"] == {"seed": 0, "test_share": 0.1, "rsna_map": False}
    assert known["dropped"]["COVID set: image file is missing"] == 1
    assert len(known["inputs"]["covid"]["metadata.csv"]) == len(known["table"]["sha256"]) == 64
    assert "Doe" not in text + (tmp_path / "set/cases.csv").read_text()
    assert str(tmp_path) not in text


def test_a_table_that_differs_is_never_replaced_unasked(downloads: tuple[Path, Path], tmp_path: Path) -> None:
    """The same set may be written again; another one only with --force; nothing half-written stays."""
    out = tmp_path / "set"
    before = write_arranged(make_covidx(*downloads), out).read_bytes()
    write_arranged(make_covidx(*downloads), out)
    other = make_covidx(*downloads, seed=1)
    with pytest.raises(UsageError, match="holds another cases.csv"):
        write_arranged(other, out)
    assert (out / "cases.csv").read_bytes() == before
    write_arranged(other, out, force=True)
    assert (out / "cases.csv").read_bytes() != before
    assert sorted(path.name for path in out.iterdir()) == ["cases.csv", "provenance.json"]


def test_the_two_sources_cannot_collide(tmp_path: Path) -> None:
    """The same name in both sets is two cases of two patients."""
    covid = write_covid(tmp_path / "c", [covid_row("1", COVID, "1")], names=[])
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(covid / "images" / "1", format="PNG")
    made = make_covidx(covid, write_rsna(tmp_path / "r", ["1"], [], []))
    assert [case.id for case in made.cases] == ["covid-chestxray/1", "rsna/1"]
    assert len({case.patient for case in made.cases}) == 2


def test_rsnas_mappings_keep_a_person_in_one_split(downloads: tuple[Path, Path], tmp_path: Path) -> None:
    """With the mappings, images of one NIH patient are one patient; without them a warning says so."""
    covid, rsna = downloads
    rows = [{"subset_img_id": f"n{i}", "img_id": f"{i // 3:08d}_{i % 3:03d}.png"} for i in range(30)]
    rows += [{"subset_img_id": f"o{i}", "img_id": f"{20 * i:08d}_007.png"} for i in range(20)]
    (tmp_path / "map.json").write_text(json.dumps(rows))
    made = make_covidx(covid, rsna, rsna_map=tmp_path / "map.json")
    people: dict[str, set[str]] = {}
    for case in made.cases:
        people.setdefault(case.patient, set()).add(case.split)
    assert sum(name.startswith("nih:") for name in people) == 29
    assert all(len(found) == 1 for found in people.values())
    assert not any("mappings" in text for text in made.warnings)
    assert any("mappings" in text for text in make_covidx(covid, rsna).warnings)


def test_images_that_the_mappings_do_not_know_are_counted(
    downloads: tuple[Path, Path], tmp_path: Path
) -> None:
    """Mappings of some images leave the warning on, with the number of the others; of none are refused."""
    covid, rsna = downloads
    known = [{"subset_img_id": f"n{i}", "img_id": f"{i:08d}_000.png"} for i in range(12)]
    (tmp_path / "map.json").write_text(json.dumps(known))
    made = make_covidx(covid, rsna, rsna_map=tmp_path / "map.json")
    said = [text for text in made.warnings if "may be in both splits" in text]
    assert len(said) == 1
    assert "the RSNA mappings tell no person for 38 of 50 RSNA images" in said[0]
    for rows in ([], [known[0] | {"subset_img_id": "other"}], [known[0] | {"img_id": "?"}]):
        (tmp_path / "map.json").write_text(json.dumps(rows))
        with pytest.raises(UsageError, match="rsna_map 'map.json': expected the persons of the 50 images"):
            make_covidx(covid, rsna, rsna_map=tmp_path / "map.json")


def test_bad_rows_and_files_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Names that lead elsewhere, no patient, doubles, empty, missing, broken files: each with its reason."""
    rows = [
        covid_row("1", COVID, "good.png"),
        covid_row("1", COVID, "good.png"),
        covid_row("2", COVID, "../../secret.png"),
        covid_row("", COVID, "nobody.png"),
        covid_row("3", COVID, ""),
        covid_row("4", COVID, "empty.png"),
        covid_row("5", COVID, "ct.png", modality="CT"),
        "6,short row",
        "",
    ]
    covid = write_covid(tmp_path / "c", rows, names=["good.png", "nobody.png", "ct.png"])
    (covid / "images/empty.png").write_bytes(b"")
    rsna = write_rsna(tmp_path / "r", ["n1", "n2", "both"], ["o1", "both", "../up"], [])
    (rsna / "stage_2_train_images/n2.dcm").write_bytes(b"no DICOM at all")
    (rsna / "stage_2_train_images/o1.dcm").unlink()
    made = make_covidx(covid, rsna)
    assert [case.id for case in made.cases] == ["covid-chestxray/good.png", "rsna/n1"]
    assert dict(made.dropped) == {
        "COVID set: image is listed twice": 1,
        "COVID set: file name is none, or leads elsewhere": 2,
        "COVID set: no patient is named": 1,
        "COVID set: image file is empty": 1,
        "COVID set: not an X-ray": 1,
        "COVID set: view is not PA": 1,
        "RSNA: normal and with an opacity at once": 1,
        "RSNA: image id is none, or leads elsewhere": 1,
        "RSNA: image file is no readable DICOM": 1,
        "RSNA: image file is missing": 1,
    }
    assert any("no case of class pneumonia" in text for text in made.warnings)


def _no_metadata(covid: Path, rsna: Path) -> None:
    (covid / "metadata.csv").unlink()


def _no_column(covid: Path, rsna: Path) -> None:
    (covid / "metadata.csv").write_text("patientid,view,filename\n1,PA,a.png\n")


def _binary(covid: Path, rsna: Path) -> None:
    (covid / "metadata.csv").write_bytes(b"\x89PNG\r\n\xff\xfe" * 9)


def _empty(covid: Path, rsna: Path) -> None:
    (covid / "metadata.csv").write_bytes(b"")


def _no_boxes(covid: Path, rsna: Path) -> None:
    (rsna / "stage_2_train_labels.csv").unlink()


def _folder_for_file(covid: Path, rsna: Path) -> None:
    (covid / "metadata.csv").unlink()
    (covid / "metadata.csv").mkdir()


def _huge_cell(covid: Path, rsna: Path) -> None:
    (covid / "metadata.csv").write_text('a,"' + "x" * (1 << 21))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_metadata, r"covid: expected metadata.csv in it, found none"),
        (_no_column, r"covid: metadata.csv lacks the column finding"),
        (_binary, r"covid: metadata.csv is no CSV table in UTF-8"),
        (_empty, r"covid: metadata.csv lacks the column patientid"),
        (_no_boxes, r"rsna: expected stage_2_train_labels.csv"),
        (_folder_for_file, r"covid: metadata.csv cannot be read"),
        (_huge_cell, r"covid: metadata.csv is no CSV table"),
    ],
)
def test_a_download_that_is_none_is_one_line(downloads: tuple[Path, Path], spoil: Any, says: str) -> None:
    """Missing, foreign or broken metadata: a usage error that names option and file."""
    spoil(*downloads)
    with pytest.raises(UsageError, match=says):
        make_covidx(*downloads)


def test_folders_and_mappings_that_are_none(downloads: tuple[Path, Path], tmp_path: Path) -> None:
    """A wrong folder or mappings file is named with its option."""
    covid, rsna = downloads
    with pytest.raises(UsageError, match="covid .*expected a clone of .*got nothing there"):
        make_covidx(tmp_path / "none", rsna)
    with pytest.raises(UsageError, match="rsna .*got a file"):
        make_covidx(covid, covid / "metadata.csv")
    for text in ("[", "{}", '[{"a": 1}]', "7"):
        (tmp_path / "map.json").write_text(text)
        with pytest.raises(UsageError, match="rsna_map 'map.json': expected RSNA's JSON list"):
            make_covidx(covid, rsna, rsna_map=tmp_path / "map.json")
    with pytest.raises(UsageError, match="cannot be read"):
        make_covidx(covid, rsna, rsna_map=tmp_path / "none.json")


def test_nothing_left_to_write_is_an_error(tmp_path: Path) -> None:
    """Where every case is left out, the reasons are the message and no table is written."""
    covid = write_covid(tmp_path / "c", [covid_row("1", COVID, "a.png", view="L")], names=[])
    made = make_covidx(covid, write_rsna(tmp_path / "r", [], [], ["x"]))
    with pytest.raises(BitdoseError, match="no case is left to write .*1 COVID set: view is not PA"):
        write_arranged(made, tmp_path / "set")
    assert not (tmp_path / "set").exists()
