"""What ``load_cases`` promises of folders and tables."""

import json
import os
import pickle
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from bitdose.data.load import load_cases
from bitdose.data.read import read_source
from bitdose.errors import CaseError, UsageError
from bitdose.hashing import digest

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def write_files(folder: Path, *names: str) -> Path:
    """Write small files that stand for images; listing cases reads none of them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def write_table(folder: Path, text: str) -> Path:
    """Write a CSV table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def test_folder_of_classes(tmp_path: Path) -> None:
    """Each sub-folder is a class; nested files count, hidden and describing files do not."""
    write_files(
        tmp_path,
        "b/2.png",
        "b/1.png",
        "a/deep/er/3",
        "a/.hidden.png",
        "a/notes.txt",
        ".git/x/y.png",
        "README.md",
    )
    found = load_cases(tmp_path)
    assert [case.id for case in found.cases] == ["a/deep/er/3", "b/1.png", "b/2.png"]
    assert found.labels == ("a", "b")
    assert (found.name, found.split, found.has_patients) == (tmp_path.name, "", False)
    assert found.cases[0].patient == found.cases[0].id
    assert found.cases[0].path == tmp_path / "a/deep/er/3"


def test_folder_of_splits_needs_a_choice(tmp_path: Path) -> None:
    """Split folders above class folders are splits; several and none named is refused with counts."""
    write_files(tmp_path, "train/normal/1", "train/normal/2", "train/sick/3", "test/normal/4", "test/sick/5")
    with pytest.raises(UsageError, match=r"test \(2 cases\), train \(3 cases\), or 'all'"):
        load_cases(tmp_path)
    assert [case.label for case in load_cases(tmp_path, split="test").cases] == ["normal", "sick"]
    assert len(load_cases(tmp_path, split="all").cases) == 5


def test_splits_of_unusual_names_are_seen_by_their_like_classes(tmp_path: Path) -> None:
    """Two folders that hold the same class folders and no files are splits, whatever their names."""
    write_files(tmp_path, "one/normal/1", "one/sick/2", "two/normal/3", "two/sick/4")
    assert load_cases(tmp_path, split="one").labels == ("normal", "sick")


def test_patient_folders_are_no_splits(tmp_path: Path) -> None:
    """Class folders with one folder per patient stay classes."""
    write_files(tmp_path, "normal/p1/1", "normal/p2/2", "sick/p3/3")
    assert load_cases(tmp_path).labels == ("normal", "sick")


def test_unknown_split(tmp_path: Path) -> None:
    """A split that the data lack is refused, naming those they have, or that they have none."""
    write_files(tmp_path, "train/a/1", "test/a/2")
    with pytest.raises(UsageError, match=r"no 'tset'; choose one of test \(1 cases\), train"):
        load_cases(tmp_path, split="tset")
    plain = write_files(tmp_path / "plain", "a/1", "b/2")
    with pytest.raises(UsageError, match="no splits"):
        load_cases(plain, split="test")


@pytest.mark.parametrize("names", [(), ("1.png",), ("a/notes.txt",)])
def test_folder_without_images(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A folder without class folders, or with none but empty ones, is refused with the expected form."""
    with pytest.raises(UsageError, match="expected <class>/<image>"):
        load_cases(write_files(tmp_path, *names))


def test_no_such_data(tmp_path: Path) -> None:
    """A missing path, or a file that is no table, is a wrong call."""
    with pytest.raises(UsageError, match="no such folder or table"):
        load_cases(tmp_path / "absent")
    write_files(tmp_path, "image.png")
    with pytest.raises(UsageError, match=r"expected a folder or a \.csv or \.parquet"):
        load_cases(tmp_path / "image.png")


def test_table_columns(tmp_path: Path) -> None:
    """Ids, patients and splits come from the table; further columns are kept with their types."""
    table = write_table(
        tmp_path,
        "path,label,id,patient,split,age,dose,view,flag,site\n"
        "x/1.png,01,first,p1,test,60,1.5,pa,true,007\n2.png,02,second,,test,,2,,false,010\n",
    )
    found = load_cases(table)
    one, two = found.cases
    assert (one.id, one.patient, one.split, one.label) == ("first", "p1", "test", "01")
    assert one.path == tmp_path / "x/1.png"
    assert one.columns == {"age": 60, "dose": 1.5, "view": "pa", "flag": True, "site": "007"}
    assert two.columns == {"age": None, "dose": 2.0, "view": None, "flag": False, "site": "010"}
    assert two.patient == "second"
    assert (found.split, found.has_patients, found.name) == ("test", False, "t")
    assert pickle.loads(pickle.dumps(found)) == found


def test_parquet_and_cases_file_in_folder(tmp_path: Path) -> None:
    """A cases.parquet in a folder is its table, and Parquet's own types are kept."""
    frame = pl.DataFrame({"file": ["1.png", "2.png"], "truth": ["a", "b"], "n": [1, None]})
    frame.write_parquet(tmp_path / "cases.parquet")
    found = load_cases(tmp_path, path_column="file", label_column="truth")
    assert [case.label for case in found.cases] == ["a", "b"]
    assert [case.columns["n"] for case in found.cases] == [1, None]
    assert found.name == tmp_path.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as one"),
        ("path,label\n", "no rows"),
        ("path,class\n1,a\n", "expected a column 'label', got path, class; rename yours"),
        ("file,label\n1,a\n", r"column 'path', .*rename yours, or name it with path_column in a study"),
        ("path,label\n1,a\n2,\n3,\n", "got 2 empty cells, first in data row 2"),
        ("path,label\n1,a\n ,b\n", "path: expected a value in every row"),
        ("path,label\n1,a\n2,b,c,d\n", "cannot be read as one"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    """A table that is empty, lacks a column or has empty cells is refused, saying which and where."""
    with pytest.raises(UsageError, match=message):
        load_cases(write_table(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_table_in_utf_16_is_named_as_such(tmp_path: Path, encoding: str) -> None:
    """A CSV in UTF-16, as spreadsheets save it, is refused for its encoding and not for its columns."""
    (tmp_path / "t.csv").write_bytes("path,label\n1,a\n".encode(encoding))
    with pytest.raises(UsageError, match=r"'t\.csv': the file is not UTF-8"):
        load_cases(tmp_path / "t.csv")


@pytest.mark.parametrize("labels", [[["a"], ["b"]], [b"a", b"\xff"], [{"x": 1}, {"x": 2}]])
def test_labels_of_a_kind_without_text(tmp_path: Path, labels: list[object]) -> None:
    """Lists, bytes and records in a Parquet table's label column are refused, naming column and kind."""
    pl.DataFrame({"path": ["1", "2"], "label": labels}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"column 'label' of t\.parquet: expected text or numbers, got "):
        load_cases(tmp_path / "t.parquet")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no Unicode")
def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    """Such files and classes get ids and labels that JSON and Parquet can hold, each id its own."""
    folder = os.fsencode(tmp_path)
    os.mkdir(folder + b"/caf\xe9")
    os.mkdir(folder + b"/plain")
    for name in (b"caf\xe9/1.png", b"plain/\xff.png", b"plain/\xfe.png", rb"plain/\xff.png", b"plain/z.png"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"x")
    found = load_cases(tmp_path)
    ids = [case.id for case in found.cases]
    assert found.labels == (r"caf\xe9", "plain")
    assert len(set(ids)) == 5
    assert {"plain/z.png", r"plain/\xff.png"} < set(ids)
    assert all(case.path.is_file() for case in found.cases)
    assert json.loads(json.dumps(ids, ensure_ascii=False).encode()) == ids
    pl.DataFrame({"id": ids}).write_parquet(tmp_path / "ids.parquet")
    assert load_cases(tmp_path) == found
    assert len(load_cases(tmp_path, limit=2).cases) == 2
    assert digest("\udcff") != digest("\udcfe")


def test_data_that_cannot_be_looked_up(tmp_path: Path) -> None:
    """A path longer than the system allows is a wrong call, in words."""
    with pytest.raises(UsageError, match="cannot be read: File name too long"):
        load_cases(tmp_path / ("x" * 300))


def test_binary_file_named_csv(tmp_path: Path) -> None:
    """Bytes that are no table are refused without repeating them."""
    (tmp_path / "t.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(UsageError):
        load_cases(tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 Doe^Jane")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load_cases(tmp_path / "t.parquet")
    assert "Doe" not in str(caught.value)


def test_duplicate_ids(tmp_path: Path) -> None:
    """Two rows of one id are refused by their numbers."""
    with pytest.raises(UsageError, match="data rows 1 and 3"):
        load_cases(write_table(tmp_path, "path,label\n1,a\n2,b\n1,a\n"))


def test_patient_in_two_splits(tmp_path: Path) -> None:
    """A patient in two splits is refused with a count and rows, and never named."""
    text = (
        "path,label,patient,split\n1,a,Ann,train\n2,a,Doe,train\n3,b,Doe,test\n4,b,Roe,test\n5,b,Ann,test\n"
    )
    with pytest.raises(UsageError, match="got 2 in several; first in data rows 2 and 3") as caught:
        load_cases(write_table(tmp_path, text), split="test")
    assert not any(name in str(caught.value) for name in ("Ann", "Doe", "Roe"))


@pytest.mark.parametrize(
    ("patients", "named"),
    [(("p1", "p2"), True), (("p1", ""), False), (("", ""), False), (("p1", " "), False)],
)
def test_patients_are_named_by_every_row_or_not(
    tmp_path: Path, patients: tuple[str, str], named: bool
) -> None:
    """A table has patients only if every row names one; a row without one is a patient of its own."""
    first, second = patients
    table = write_table(tmp_path, f"path,label,patient\n1,a,{first}\n2,b,{second}\n")
    found = load_cases(table)
    assert found.has_patients is named
    assert [case.patient for case in found.cases] == [first or "1", second.strip() or "2"]


def test_a_patient_of_some_rows_is_still_held_to_one_split(tmp_path: Path) -> None:
    """Rows without a patient do not hide that another row's patient is in two splits."""
    text = "path,label,patient,split\n1,a,Doe,train\n2,a,,train\n3,b,,test\n4,b,Doe,test\n"
    with pytest.raises(UsageError, match="got 1 in several; first in data rows 1 and 4;") as caught:
        load_cases(write_table(tmp_path, text), split="test")
    assert "Doe" not in str(caught.value)


def test_classes_rename_merge_and_drop(tmp_path: Path) -> None:
    """Data labels become model labels, several may merge, and an empty one drops its cases."""
    table = write_table(tmp_path, "path,label\n1,virus\n2,bacteria\n3,ok\n4,junk\n")
    found = load_cases(table, classes={"virus": "sick", "bacteria": "sick", "junk": ""})
    assert [case.label for case in found.cases] == ["sick", "sick", "ok"]
    assert found.labels == ("ok", "sick")
    with pytest.raises(UsageError, match="no label 'vrus': did you mean 'virus'"):
        load_cases(table, classes={"vrus": "sick"})
    with pytest.raises(UsageError, match="every label is dropped"):
        load_cases(table, classes=dict.fromkeys(("virus", "bacteria", "ok", "junk"), ""))


def test_limit_is_even_seeded_and_ordered(tmp_path: Path) -> None:
    """A limit takes equally of each label, repeatably, not the first ones, in the data's order."""
    rows = "".join(f"{i:02},{'abc'[i % 3]}\n" for i in range(60))
    table = write_table(tmp_path, "path,label\n" + rows)
    kept = [case.id for case in load_cases(table, limit=12).cases]
    labels = Counter(case.label for case in load_cases(table, limit=12).cases)
    assert labels == {"a": 4, "b": 4, "c": 4}
    assert kept == sorted(kept)
    assert kept != [f"{i:02}" for i in range(12)]
    assert kept == [case.id for case in load_cases(table, limit=12).cases]
    assert kept != [case.id for case in load_cases(table, limit=12, seed=1).cases]
    assert set(kept) < {case.id for case in load_cases(table, limit=15).cases}
    assert load_cases(table, limit=1).labels == ("a", "b", "c")
    with pytest.raises(UsageError, match="limit 0"):
        load_cases(table, limit=0)


def test_limit_takes_all_of_a_rare_label(tmp_path: Path) -> None:
    """Where a label has few cases, the others fill the limit."""
    table = write_table(tmp_path, "path,label\n1,rare\n" + "".join(f"{i},common\n" for i in range(2, 12)))
    assert Counter(case.label for case in load_cases(table, limit=5).cases) == {"rare": 1, "common": 4}


def test_a_missing_file_fails_at_reading(tmp_path: Path) -> None:
    """Listing does not look at files; reading a missing one is that case's failure."""
    found = load_cases(write_table(tmp_path, "path,label\ngone.png,a\n"))
    with pytest.raises(CaseError) as caught:
        read_source(found.cases[0].path)
    assert caught.value.status == "missing-file"


@pytest.mark.parametrize(("name", "n_test"), [("cxr", 220), ("brain", 43)])
def test_shared_sets(name: str, n_test: int) -> None:
    """The public sets list as their notes say, by patient, and their files are there."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"shared/data/{name} is not on this machine")
    found = load_cases(SHARED / name, split="test")
    assert len(found.cases) == n_test
    assert found.has_patients
    assert all(case.path.is_file() for case in found.cases)
