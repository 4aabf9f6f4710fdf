"""What is on the disk survives whatever happens to the process."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from bitdose.errors import BitdoseError, UsageError
from bitdose.results.table import read_table
from bitdose.study.store import JOURNAL, Store, read_manifest, read_run, write_text


def rows(case_id: str) -> list[dict[str, object]]:
    """Give two rows of a case, with what JSON finds hard."""
    base = {
        "case_id": case_id, "case_label": "a", "case_patient": case_id, "status": "ok", "predicted": "a",
        "codec_chain": "jpeg", "codec_strength": 1.0, "bytes_file": 9, "bytes_pixels": 9, "bytes_coded": 3,
        "psnr_db": float("inf"), "ssim": float("nan"), "p_a": 0.1 + 0.2,
    }  # fmt: skip
    return [base | {"point": point} for point in ("jpeg:q90", "jpeg:q10")]


def kill(store: Store) -> None:
    """Leave the folder as a kill would: nothing compacted, the lock gone with the process."""
    store._journal.close()
    store._lock.close()


def test_rows_survive_a_kill_exactly(tmp_path: Path) -> None:
    """After a kill the journal gives back every row, floats to the last bit, infinity and NaN."""
    store = Store(tmp_path)
    store.append("case é", rows("case é"))
    kill(store)
    table = read_run(tmp_path)
    assert table["p_a"].to_list() == [0.1 + 0.2] * 2
    assert table["psnr_db"].is_infinite().all()
    assert table["ssim"].is_nan().all()


@pytest.mark.parametrize("cut", [1, 7, 40, 200])
def test_a_torn_last_line_is_dropped_and_its_case_runs_again(tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a write costs that case alone, and the journal stays usable."""
    store = Store(tmp_path)
    for name in ("a", "b"):
        store.append(name, rows(name))
    kill(store)
    journal = tmp_path / "results" / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-cut])
    with Store(tmp_path) as again:
        assert set(again.done()) == {"a"}
        again.append("b", rows("b"))
    assert read_table(tmp_path)["case_id"].to_list() == ["a", "a", "b", "b"]


def test_a_kill_between_part_and_journal_counts_no_case_twice(tmp_path: Path) -> None:
    """A case that stands in a part and still in the journal is one case."""
    store = Store(tmp_path)
    store.append("a", rows("a"))
    journal = (tmp_path / "results" / JOURNAL).read_bytes()
    store.compact()
    kill(store)
    (tmp_path / "results" / JOURNAL).write_bytes(journal)
    with Store(tmp_path) as again:
        again.append("b", rows("b"))
    assert read_table(tmp_path)["case_id"].to_list() == ["a", "a", "b", "b"]


def test_leftovers_of_a_kill_during_a_part_are_removed(tmp_path: Path) -> None:
    """A half-written part is no part."""
    with Store(tmp_path) as store:
        store.append("a", rows("a"))
    (tmp_path / "results" / "part-00001.tmp").write_bytes(b"half")
    with Store(tmp_path) as store:
        assert set(store.done()) == {"a"}
    assert not list((tmp_path / "results").glob("*.tmp"))


def test_many_cases_are_compacted_on_the_way(tmp_path: Path) -> None:
    """The journal stays short: every few hundred cases become a Parquet part."""
    with Store(tmp_path) as store:
        for index in range(450):
            store.append(str(index), rows(str(index)))
        assert len(list((tmp_path / "results").glob("part-*.parquet"))) == 2
    assert read_table(tmp_path)["case_id"].n_unique() == 450


def test_a_new_part_costs_the_same_however_many_there_are(tmp_path: Path) -> None:
    """Compacting reads no earlier part: one that has gone bad meanwhile is not noticed."""
    with Store(tmp_path) as store:
        store.append("a", rows("a"))
        store.compact()
        first = tmp_path / "results" / "part-00000.parquet"
        whole = first.read_bytes()
        first.write_bytes(b"unreadable")
        store.append("b", rows("b"))
        store.compact()
        first.write_bytes(whole)
    assert [path.name for path in sorted((tmp_path / "results").glob("*.parquet"))] == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert read_table(tmp_path)["case_id"].unique(maintain_order=True).to_list() == ["a", "b"]


def test_going_on_reads_each_part_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a folder and asking what is done reads every part one time, and columns of three only."""
    with Store(tmp_path) as store:
        for name in "abcdef":
            store.append(name, rows(name))
            store.compact()
    asked: list[tuple[str, object]] = []
    read = pl.read_parquet

    def noted(source: Path, **options: object) -> pl.DataFrame:
        asked.append((Path(source).name, options.get("columns")))
        return read(source, **options)

    monkeypatch.setattr(pl, "read_parquet", noted)
    with Store(tmp_path) as store:
        assert set(store.done()) == set("abcdef")
    assert asked == [(f"part-{n:05d}.parquet", ["case_id", "status", "case_digest"]) for n in range(6)]


def test_a_case_given_twice_counts_once(tmp_path: Path) -> None:
    """An engine that repeats a case after a loss does no harm: the first rows stay."""
    with Store(tmp_path) as store:
        store.append("a", rows("a"))
        store.append("a", rows("a"))
        store.compact()
        store.append("a", rows("a"))
        store.append("b", rows("b"))
    assert read_table(tmp_path)["case_id"].to_list() == ["a", "a", "b", "b"]


def test_two_studies_cannot_write_to_one_folder(tmp_path: Path) -> None:
    """The second writer is refused in one line, and the first goes on."""
    with Store(tmp_path) as store:
        with pytest.raises(UsageError, match="another study is writing"):
            Store(tmp_path)
        store.append("a", rows("a"))
    assert len(read_table(tmp_path)) == 2


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """When the disk is full the error says so and what to do; finished cases stay."""
    with pytest.raises(BitdoseError, match="disk is full.*resume=True"), Store(tmp_path) as store:
        store.append("a", rows("a"))
        store.compact()
        store._journal.close()
        store._journal = Path("/dev/full").open("a")  # noqa: SIM115 - the store closes it
        store.append("b", rows("b"))
    assert read_table(tmp_path)["case_id"].unique().to_list() == ["a"]


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    """Reading a folder without results, or with a damaged manifest, is a line and no traceback."""
    with pytest.raises(UsageError, match="no results"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match="no run folder"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        read_manifest(tmp_path)


def test_small_files_are_whole_or_not_there(tmp_path: Path) -> None:
    """A file is replaced in one step, so that a reader never sees half of it."""
    write_text(tmp_path / "a.json", "old")
    write_text(tmp_path / "a.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "new"


def test_reading_a_run_changes_nothing_and_needs_no_lock(tmp_path: Path) -> None:
    """A report can be made while a study writes: it sees every finished case and touches no file."""
    with Store(tmp_path) as store:
        store.append("a", rows("a"))
        store.compact()
        store.append("b", rows("b"))
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert read_run(tmp_path)["case_id"].unique(maintain_order=True).to_list() == ["a", "b"]
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_damaged_part_is_set_aside_and_its_cases_run_again(tmp_path: Path) -> None:
    """A part that cannot be read is renamed, never deleted, and the rest stays."""
    with Store(tmp_path) as store:
        store.append("a", rows("a"))
        store.compact()
        store.append("b", rows("b"))
    (tmp_path / "results" / "part-00000.parquet").write_bytes(b"damaged")
    with Store(tmp_path) as store:
        assert store.set_aside == ["part-00000.parquet"]
        assert set(store.done()) == {"b"}
        store.append("a", rows("a"))
    assert read_table(tmp_path)["case_id"].n_unique() == 2
    assert (tmp_path / "results" / "part-00000.parquet.damaged").read_bytes() == b"damaged"


def test_only_a_full_disk_is_told_to_make_room(tmp_path: Path) -> None:
    """Where a folder cannot be made for another reason, the advice is not to make room."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BitdoseError, match="Not a directory|File exists") as caught:
        Store(tmp_path / "file" / "run")
    assert "make room" not in str(caught.value)
