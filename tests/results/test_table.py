"""What the results table promises: types, round trips, other labs' tables, merging."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from bitdose.errors import UsageError
from bitdose.results.schema import COLUMNS, SCHEMA_VERSION
from bitdose.results.table import labels_of, merge_tables, read_table, rows_to_table, write_part

REQUIRED = [name for name, column in COLUMNS.items() if column.required]


def row(case: str, point: str = "jpeg:q30", **more: object) -> dict:
    """Write one row as a study does."""
    basic = {
        "case_id": case, "case_label": "a", "point": point, "codec_chain": point.split(":", maxsplit=1)[0],
        "codec_strength": 0.0 if point == "pristine" else 70.0, "bytes_file": 50, "bytes_pixels": 100,
        "bytes_coded": 10, "model": "m@1", "predicted": "a", "status": "ok",
    }  # fmt: skip
    return basic | more


def write_csv(path: Path, rows: list[dict]) -> Path:
    """Write rows as another lab would: by hand, with only the columns given."""
    lines = [",".join(rows[0]), *(",".join(str(value) for value in one.values()) for one in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def only_required(**changes: object) -> dict:
    """Return a row of another lab: the required columns and nothing else."""
    return {name: (row("007") | changes)[name] for name in REQUIRED}


def test_every_column_is_there_and_typed() -> None:
    """A table of sparse rows has each schema column in its type; what a row lacks is null."""
    table = rows_to_table([row("x", psnr_db=31), row("y", case_lossy=True)])
    kinds = {"string": pl.String, "bool": pl.Boolean, "int64": pl.Int64, "double": pl.Float64}
    assert {name: table.schema[name] for name in COLUMNS} == {n: kinds[c.dtype] for n, c in COLUMNS.items()}
    assert table["psnr_db"].to_list() == [31.0, None]
    assert table["case_lossy"].to_list() == [None, True]


def test_a_table_without_rows_has_the_columns_too() -> None:
    """No row: the same columns and types, so that readers need no special case."""
    assert rows_to_table([]).schema == rows_to_table([row("x")]).schema


def test_further_columns_keep_their_type() -> None:
    """The data's own columns come after the schema's, as numbers where all values are, else as text."""
    rows = [
        row("x", case_age=61, case_dose=0.5, case_smoker=True, case_site="north", case_code=7, p_a=1),
        row("y", case_age=None, case_dose=2, case_smoker=False, case_site=None, case_code="7b", p_a=0.25),
    ]
    extra = rows_to_table(rows).select(
        ["case_age", "case_dose", "case_smoker", "case_site", "case_code", "p_a"]
    )
    assert extra.dtypes == [pl.Int64, pl.Float64, pl.Boolean, pl.String, pl.String, pl.Float64]
    assert extra["case_code"].to_list() == ["7", "7b"]
    assert list(rows_to_table(rows).columns)[: len(COLUMNS)] == list(COLUMNS)


def test_parquet_round_trip(tmp_path: Path) -> None:
    """What is written is read back: infinity, null, text and further columns; no temporary file stays."""
    table = rows_to_table([
        row("x", "pristine", psnr_db=math.inf, p_a=0.75, case_patient="p1", case_site="north"),
        row("x", psnr_db=30.5, p_a=0.5, case_patient="p1", case_site="north"),
    ])  # fmt: skip
    write_part(table, tmp_path / "part.parquet")
    assert read_table(tmp_path / "part.parquet").equals(table)
    assert [path.name for path in tmp_path.iterdir()] == ["part.parquet"]


def test_the_schema_version_is_in_the_file(tmp_path: Path) -> None:
    """A part says which schema wrote it; a part without a version counts as the first."""
    write_part(rows_to_table([row("x")]), tmp_path / "part.parquet")
    metadata = pq.read_schema(tmp_path / "part.parquet").metadata
    assert metadata[b"bitdose_schema_version"] == str(SCHEMA_VERSION).encode()
    rows_to_table([row("x")]).write_parquet(tmp_path / "foreign.parquet")
    assert len(read_table(tmp_path / "foreign.parquet")) == 1


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A table by a later BitDose is not guessed at: the error names both versions."""
    newer = rows_to_table([row("x")]).to_arrow().replace_schema_metadata({"bitdose_schema_version": "99"})
    pq.write_table(newer, tmp_path / "new.parquet")
    with pytest.raises(UsageError, match=r"new\.parquet: schema version 99, .* up to 1; upgrade it"):
        read_table(tmp_path / "new.parquet")


def test_a_table_of_another_lab_needs_only_the_required_columns(tmp_path: Path) -> None:
    """A hand-written CSV of the required columns is read; the case stands in for the patient."""
    table = read_table(write_csv(tmp_path / "lab.csv", [only_required()]))
    assert set(COLUMNS) <= set(table.columns)
    assert table["case_id"].to_list() == ["007"]
    assert table["case_patient"].to_list() == ["007"]
    assert table["psnr_db"].to_list() == [None]


def test_names_in_a_csv_stay_text(tmp_path: Path) -> None:
    """Ids and labels that look like numbers keep their zeros: 007 is not 7, label 1 is "1"."""
    rows = [only_required(case_id=case, case_label=1, predicted="01") for case in ("007", "7")]
    table = read_table(write_csv(tmp_path / "lab.csv", rows))
    assert sorted(table["case_id"].to_list()) == ["007", "7"]
    assert set(table["case_label"].to_list()) == {"1"}
    assert set(table["predicted"].to_list()) == {"01"}


def test_numbers_and_truth_in_a_csv_are_typed(tmp_path: Path) -> None:
    """An infinite PSNR, a truth value and a probability come as such."""
    rows = [only_required() | {"psnr_db": "inf", "case_lossy": "true", "p_a": 1}]
    table = read_table(write_csv(tmp_path / "lab.csv", rows))
    assert table["psnr_db"].to_list() == [math.inf]
    assert table["case_lossy"].to_list() == [True]
    assert labels_of(table) == ("a",)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    """Without a required column the error names the file and the column."""
    lacking = {key: value for key, value in only_required().items() if key != name}
    with pytest.raises(UsageError, match=rf"lab\.csv: required columns are missing: {name}$"):
        read_table(write_csv(tmp_path / "lab.csv", [lacking]))


@pytest.mark.parametrize(
    ("name", "content"), [("t.parquet", b"no table"), ("t.csv", b"\xff\xfe\xff"), ("t.csv", b"")]
)
def test_an_unreadable_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    """A broken file is an error of one line that names it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=f"results {name}: ") as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_column_of_another_kind_is_an_error(tmp_path: Path) -> None:
    """A truth column that holds words is refused with the file's name, not with a library's traceback."""
    rows_to_table([row("x")]).with_columns(case_lossy=pl.lit("maybe")).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"t\.parquet: not readable"):
        read_table(tmp_path / "t.parquet")


def test_nothing_there_says_so(tmp_path: Path) -> None:
    """A path that is not there, and a folder without a part, are told apart."""
    with pytest.raises(UsageError, match="no such run folder or results table"):
        read_table(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no results"):
        read_table(tmp_path)


def test_a_run_folder_is_read_part_by_part(tmp_path: Path) -> None:
    """A run folder's parts come as one table, in the order of cases whatever the order of parts."""
    (tmp_path / "results").mkdir()
    for number, case in enumerate(["c", "a", "b"]):
        write_part(rows_to_table([row(case)]), tmp_path / "results" / f"part-{number}.parquet")
    assert read_table(tmp_path)["case_id"].to_list() == ["a", "b", "c"]


def test_the_first_of_two_tables_wins() -> None:
    """A case that stands in two tables counts once, as in the first; whole, not point by point."""
    first = rows_to_table([row("x", bytes_coded=1)])
    second = rows_to_table([row("x", bytes_coded=2), row("x", "jpeg:q10"), row("y", bytes_coded=3)])
    merged = merge_tables([first, second])
    assert merged.select("case_id", "bytes_coded").rows() == [("x", 1), ("y", 3)]


def test_another_model_or_none_is_another_case() -> None:
    """The same case by two models is kept twice; without a model's name it still counts once."""
    one, other = rows_to_table([row("x")]), rows_to_table([row("x", model="m@2")])
    assert len(merge_tables([one, other])) == 2
    nameless = rows_to_table([row("x", model=None)])
    assert len(merge_tables([nameless, nameless])) == 1


def test_rows_come_by_case_then_chain_then_strength() -> None:
    """Chains stand in the order in which they were first named, points from mild to strong."""
    rows = [
        row("y", "pristine"), row("y", "jpeg:q30"), row("y", "jpeg:q90", codec_strength=10.0),
        row("y", "avif:q50"), row("x", "avif:q50"), row("x", "pristine"),
    ]  # fmt: skip
    found = merge_tables([rows_to_table(rows)]).select("case_id", "point").rows()
    assert found == [
        ("x", "pristine"), ("x", "avif:q50"),
        ("y", "pristine"), ("y", "jpeg:q90"), ("y", "jpeg:q30"), ("y", "avif:q50"),
    ]  # fmt: skip


def test_labels_follow_the_probability_columns() -> None:
    """Labels keep the model's order; without probabilities they are the classes seen, by alphabet."""
    assert labels_of(rows_to_table([row("x", p_zebra=0.1, p_a=0.9)])) == ("zebra", "a")
    assert labels_of(rows_to_table([row("x", predicted="b"), row("y", predicted=None)])) == ("a", "b")


def test_a_row_given_twice_is_refused(tmp_path: Path) -> None:
    """A table in which a case stands twice at a point would count it twice: it is an error."""
    row = {"case_id": "x", "case_label": "a", "point": "pristine", "codec_chain": "pristine"}
    row |= {"codec_strength": 0.0, "predicted": "a", "status": "ok"}
    row |= {"bytes_file": 1, "bytes_pixels": 1, "bytes_coded": 1}
    pl.DataFrame([row, row]).write_parquet(tmp_path / "twice.parquet")
    with pytest.raises(UsageError, match="2 rows share case, point and model"):
        read_table(tmp_path / "twice.parquet")


def test_a_column_empty_in_one_part_takes_its_type_from_another(tmp_path: Path) -> None:
    """A sparse column that the first part leaves empty stays a number in the whole."""
    base = {
        "case_label": "a",
        "point": "pristine",
        "codec_chain": "pristine",
        "codec_strength": 0.0,
        "status": "ok",
    }
    base |= {"bytes_file": 1, "bytes_pixels": 1, "bytes_coded": 1, "predicted": "a", "model": "m"}
    for index, age in enumerate([None, 63]):
        part = rows_to_table([base | {"case_id": str(index), "case_age": age}])
        write_part(part, tmp_path / f"part-{index:05d}.parquet")
    assert read_table(tmp_path)["case_age"].to_list() == [None, 63]


def test_parts_in_any_order_give_the_same_table(tmp_path: Path) -> None:
    """Workers finish in any order: the table is the same, whether its parts come sorted or not."""
    cases = [f"{index:02d}" for index in range(12)]
    for folder, order in (("sorted", cases), ("mixed", cases[1::2] + cases[::2])):
        (tmp_path / folder / "results").mkdir(parents=True)
        for number in range(4):
            rows = [row(case, at) for case in order[number::4] for at in ("pristine", "jpeg:q30")]
            write_part(rows_to_table(rows), tmp_path / folder / "results" / f"part-{number:05d}.parquet")
    mixed = read_table(tmp_path / "mixed")
    assert mixed.equals(read_table(tmp_path / "sorted"))
    assert mixed["case_id"].unique(maintain_order=True).to_list() == cases


def test_reading_grows_with_the_parts_and_not_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No join of each part with all before it: the joins made do not grow with the number of parts."""
    joined: list[int] = []
    join = pl.DataFrame.join

    def noted(self: pl.DataFrame, *others: object, **options: object) -> pl.DataFrame:
        joined.append(len(self))
        return join(self, *others, **options)

    monkeypatch.setattr(pl.DataFrame, "join", noted)
    for number in range(30):
        write_part(rows_to_table([row(f"case-{number}")]), tmp_path / f"part-{number:05d}.parquet")
    assert len(read_table(tmp_path)) == 30
    assert not joined
    write_part(rows_to_table([row("case-7", bytes_coded=1)]), tmp_path / "part-00030.parquet")
    assert len(read_table(tmp_path)) == 30
    assert joined == [1]
