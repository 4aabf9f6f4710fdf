"""What ``data check`` promises of tables and folders, with and without the paper's numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from bitdose.datasets.arrange import Arranged, write_arranged
from bitdose.datasets.check import Findings, check_set
from bitdose.datasets.text import check_lines
from bitdose.errors import UsageError

Row = tuple[str, str, str, str]
ROWS: list[Row] = [
    ("a.png", "normal", "p1", "train"),
    ("b.png", "pneumonia", "p2", "train"),
    ("c.jpg", "covid-19", "p3", "train"),
    ("d.png", "normal", "p4", "test"),
    ("e.png", "pneumonia", "p5", "test"),
    ("f.jpg", "covid-19", "p6", "test"),
]


def write_set(folder: Path, rows: list[Row] = ROWS, name: str = "covidx") -> Path:
    """Write a table with provenance and a distinct image per row."""
    folder.mkdir(parents=True, exist_ok=True)
    for value, (path, *_) in enumerate(rows):
        Image.fromarray(np.full((8, 8), 20 * value, np.uint8)).save(folder / path)
    lines = ["path,label,patient,split", *(",".join(row) for row in rows)]
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    (folder / "provenance.json").write_text(json.dumps({"set": name, "dropped": {"view is not PA": 3}}))
    return folder


def changed(**cells: Row) -> list[Row]:
    """Give the rows with some replaced, by the first letter of their file."""
    return [cells.get(row[0][0], row) for row in ROWS]


def problems(folder: Path) -> str:
    """Check a folder and give its problems in one text."""
    return "\n".join(check_set(folder).problems)


def test_a_sound_set_is_held_against_the_paper(tmp_path: Path) -> None:
    """Counts stand beside the paper's; what was left out is repeated; nothing is a problem."""
    found = check_set(write_set(tmp_path))
    assert (found.name, found.problems, found.statuses) == ("covidx", (), {"ok": 6})
    assert found.paper["stated"] == {"train": 13811, "test": 1761}
    text = "\n".join(check_lines(found))
    for line in ("test         all                3         3  1761", "3  view is not PA", "15572"):
        assert line in text
    assert "files: 6; no problem" in text
    assert "not a medical device" in text


def test_what_tells_the_class_is_said(tmp_path: Path) -> None:
    """All covid-19 files are JPEG and lossy, no other is: a warning, not a problem."""
    found = check_set(write_set(tmp_path))
    assert found.traits["format"]["covid-19"] == {"JPEG": 2}
    assert found.traits["lossy"]["normal"] == {"no": 2}
    assert any("file format tells the class" in text for text in found.warnings)
    assert any("yes only in covid-19 (2 of its 2 files)" in text for text in found.warnings)


def test_a_patient_in_two_splits(tmp_path: Path) -> None:
    """The leak is a problem; rows are named, the patient is not."""
    rows = changed(d=("d.png", "normal", "p1", "test"))
    text = problems(write_set(tmp_path, rows))
    assert text == "patients in several splits: 1 (first: data rows 1 and 4)"


def test_rows_without_a_patient(tmp_path: Path) -> None:
    """Where only some rows name a patient, a warning counts them, and a leak is still a problem."""
    rows = changed(b=("b.png", "pneumonia", "", "train"), d=("d.png", "normal", "p1", "test"))
    found = check_set(write_set(tmp_path, rows))
    assert found.problems == ("patients in several splits: 1 (first: data rows 1 and 4)",)
    assert "5 of 6 rows name a patient: each of the others counts as a patient of its own" in found.warnings
    assert not any("name a patient" in text for text in check_set(write_set(tmp_path)).warnings)


def test_images_and_volumes_in_one_set(tmp_path: Path) -> None:
    """A set of both kinds is a problem, for no model takes both; a NIfTI file of one slice is an image."""
    rng = np.random.default_rng(0)
    rows = [(f"{n}.nii", "normal", f"v{n}", "train") for n in range(2)]
    for (name, *_), depth in zip(rows, (4, 1), strict=True):
        volume = rng.integers(1, 99, (8, 8, depth)).astype(np.int16)
        nibabel.Nifti1Image(volume, np.eye(4)).to_filename(tmp_path / name)
    write_set(tmp_path)
    with (tmp_path / "cases.csv").open("a") as file:
        file.writelines(",".join(row) + "\n" for row in rows)
    found = check_set(tmp_path)
    assert len(found.problems) == 1
    assert "images and volumes in one set: 7 and 1 files (volumes: data rows 7);" in found.problems[0]


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("a.png", "d.png", "files in several splits under different ids: 1 (first: data rows 1 and 4)"),
        ("a.png", "b.png", "files with several labels under different ids: 1 (first: data rows 1 and 2)"),
    ],
)
def test_the_same_bytes_under_two_ids(tmp_path: Path, source: str, target: str, says: str) -> None:
    """A file that hides behind two names is found by its content."""
    write_set(tmp_path)
    shutil.copy(tmp_path / source, tmp_path / target)
    assert says in problems(tmp_path)


def test_the_same_bytes_inside_a_split_are_a_warning(tmp_path: Path) -> None:
    """Counted twice, but no leak: said without making the set unusable."""
    rows = [*ROWS, ("g.png", "normal", "p9", "train")]
    write_set(tmp_path, rows)
    shutil.copy(tmp_path / "a.png", tmp_path / "g.png")
    found = check_set(tmp_path)
    assert found.problems == ()
    assert any("counted twice" in text and "rows 1 and 7" in text for text in found.warnings)


def test_missing_empty_and_broken_files(tmp_path: Path) -> None:
    """Each kind is a problem with its number and rows; the other files are still read."""
    write_set(tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "e.png").unlink()
    (tmp_path / "e.png").mkdir()
    found = check_set(tmp_path)
    assert found.statuses["ok"] == 2
    text = "\n".join(found.problems)
    for line in ("files that are missing-file: 2 (data rows 1, 5)", "empty-file: 1 (data rows 2)"):
        assert line in text
    assert "(data rows 4)" in text


def test_ids_in_several_rows(tmp_path: Path) -> None:
    """An id twice is a problem; the messages hold no cell."""
    write_set(tmp_path, [*ROWS, ("a.png", "normal", "Doe", "train")])
    found = check_set(tmp_path)
    assert "ids in several rows: 1 (first: data rows 1 and 7)" in found.problems
    assert "Doe" not in "\n".join(check_lines(found)) + json.dumps(found.to_dict())


def test_a_class_of_the_paper_without_a_case(tmp_path: Path) -> None:
    """A set that lacks one of the paper's classes cannot answer for it."""
    assert problems(write_set(tmp_path, ROWS[:2])) == "no case of class covid-19"


def test_quick_reads_no_file(tmp_path: Path) -> None:
    """--quick finds what is missing or empty and no more."""
    write_set(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "b.png").unlink()
    (tmp_path / "d.png").write_bytes(b"")
    found = check_set(tmp_path, quick=True)
    assert found.statuses == {"ok": 4, "missing-file": 1, "empty-file": 1}
    assert found.traits == {}


def test_a_table_changed_by_hand_is_noticed(tmp_path: Path) -> None:
    """The digest in provenance.json tells whether the table is still the one that was made."""
    from bitdose.data.load import load_cases

    write_set(tmp_path)
    made = Arranged("covidx", load_cases(tmp_path, split="all").cases)
    write_arranged(made, tmp_path, force=True)
    assert not any("was changed" in text for text in check_set(tmp_path).warnings)
    table = tmp_path / "cases.csv"
    table.write_text(table.read_text().replace("p6", "p7"))
    assert any("was changed" in text for text in check_set(tmp_path).warnings)


def test_any_folder_or_table_without_the_papers_numbers(tmp_path: Path) -> None:
    """A plain folder of classes and a foreign table are checked as they are; --as adds the numbers."""
    for split in ("train", "test"):
        for label in ("x", "y"):
            (tmp_path / "plain" / split / label).mkdir(parents=True)
            name = tmp_path / "plain" / split / label / "1.png"
            Image.fromarray(np.full((4, 4), len(split) * 10 + ord(label), np.uint8)).save(name)
    plain = check_set(tmp_path / "plain")
    assert (plain.name, plain.paper, plain.problems) == ("", {}, ())
    write_set(tmp_path / "t", name="theirs")
    (tmp_path / "t/provenance.json").write_text("broken")
    assert check_set(tmp_path / "t/cases.csv").paper == {}
    assert check_set(tmp_path / "t", name="covidx").paper["stated"]["test"] == 1761
    with pytest.raises(UsageError, match="the paper had 'covidx', 'brain'"):
        check_set(tmp_path / "t", name="brian")


@pytest.mark.parametrize("spoiled", ["[]", '"text"', "\x00", '{"set": 7, "table": 1, "dropped": []}'])
def test_a_provenance_that_is_none_changes_nothing(tmp_path: Path, spoiled: str) -> None:
    """A broken provenance.json is as good as none."""
    write_set(tmp_path)
    (tmp_path / "provenance.json").write_text(spoiled)
    assert check_set(tmp_path).problems == ()


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    """Nothing there, a file that is no table, a table that is none: a usage error."""
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    for name, says in (
        ("none", "got nothing there"),
        ("a.png", "expected a folder or a"),
        ("bad.csv", "not UTF-8"),
    ):
        with pytest.raises(UsageError, match=says):
            check_set(tmp_path / name)


def test_volumes_show_orientation_shape_and_skull(tmp_path: Path) -> None:
    """NIfTI volumes are looked at themselves, whatever the table says of them."""
    ball = np.zeros((16, 16, 12), np.int16)
    ball[5:11, 5:11, 4:8] = 90
    noisy = np.random.default_rng(0).integers(1, 99, (16, 16, 12)).astype(np.int16)
    rows = []
    for index, (label, array) in enumerate((("healthy", noisy), ("LGG", ball), ("HGG", ball * 2))):
        nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1])).to_filename(tmp_path / f"{index}.nii.gz")
        rows.append(f"{index}.nii.gz,{label},p{index},test,true")
    (tmp_path / "cases.csv").write_text("\n".join(["path,label,patient,split,skull_stripped", *rows]))
    found = check_set(tmp_path, name="brain")
    assert found.traits["skull_stripped"] == {
        "HGG": {"true": 1},
        "LGG": {"true": 1},
        "healthy": {"false": 1},
    }
    assert found.traits["orientation"]["LGG"] == {"LPS": 1}
    assert found.traits["shape"]["healthy"] == {"16x16x12": 1}
    assert any("skull stripping is confounded with the class" in text for text in found.warnings)
    assert "259 (inferred)" in "\n".join(check_lines(found))


def test_the_shared_x_rays_are_sound(shared: Path) -> None:
    """The real X-rays of results.md: patients in one split each, all files there."""
    found: Findings = check_set(shared / "data" / "cxr", name="covidx", quick=True)
    assert found.problems == ()
    assert found.counts["test"]["normal"]["cases"] == 70
