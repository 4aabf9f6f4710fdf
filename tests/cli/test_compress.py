"""``bitdose compress`` as a person or a program meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from bitdose.cli.app import run


def test_a_folder_of_images(texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes every image, says how many and how much smaller, and what it is not."""
    assert run(["compress", str(texture_set), str(tmp_path / "out"), "--point", "jpeg:q30"]) == 0
    said = capsys.readouterr().out
    assert "12 files at jpeg:q30" in said
    assert ":1 of the raw pixels" in said
    assert "Research use only, not a medical device." in said
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 12


def test_a_program_reads_the_counts(
    texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` prints one document: counts, bytes, both ratios, and the failures by name."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes((texture_set / "smooth" / "0.png").read_bytes())
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    out = str(tmp_path / "out")
    assert run(["compress", str(tmp_path / "in"), out, "--point", "jpeg2000:10x", "--json"]) == 1
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert (answer["point"], answer["files"], answer["written"], answer["failed"]) == (
        "jpeg2000:10x",
        2,
        1,
        1,
    )
    assert answer["bytes_pixels"] == 96 * 96
    assert answer["ratio_pixels"] == pytest.approx(96 * 96 / answer["bytes_coded"])
    assert answer["ratio_file"] == pytest.approx(answer["bytes_file"] / answer["bytes_coded"])
    assert answer["failures"][0]["file"] == "bad.png"
    assert shown.err.startswith("bitdose: bad.png: unreadable: ")
    assert shown.err.count("\n") == 1


def test_a_dicom_file_becomes_a_dicom_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One slice in, one derived slice out; no word about the patient is printed."""
    source = str(get_testdata_file("CT_small.dcm", download=False))
    target = tmp_path / "small.dcm"
    assert run(["compress", source, str(target), "--point", "jpeg2000:8x"]) == 0
    made = pydicom.dcmread(target)
    assert made.ImageType[0] == "DERIVED"
    shown = capsys.readouterr()
    assert str(made.PatientID) not in shown.out + shown.err
    assert str(made.PatientName) not in shown.out + shown.err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ([], "--point, --profile: expected one of them"),
        (["--point", "jpeg:q30", "--profile", "p.json"], "expected one of them"),
        (["--point", "jpeg:q30", "--overwrite", "--resume"], "--overwrite, --resume"),
        (["--point", "pristine"], "a point that compresses"),
        (["--point", "jpeg:q300"], "q1 to q100"),
    ],
)
def test_wrong_calls_are_one_line(
    texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], word: str
) -> None:
    """Exit code 2, one line on stderr, nothing written."""
    assert run(["compress", str(texture_set), str(tmp_path / "out"), *options]) == 2
    shown = capsys.readouterr()
    assert word in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_second_call_asks_what_to_do(
    texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word the second call refuses; --resume keeps all; --overwrite writes all."""
    call = ["compress", str(texture_set), str(tmp_path / "out"), "--point", "jpeg:q30"]
    assert run(call) == 0
    assert run(call) == 2
    assert "12 of 12 files are already there" in capsys.readouterr().err
    assert run([*call, "--resume"]) == 0
    assert "0 files at jpeg:q30" in capsys.readouterr().out
    assert run([*call, "--overwrite"]) == 0
    assert "12 files at jpeg:q30" in capsys.readouterr().out
