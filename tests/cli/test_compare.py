"""``bitdose compare``: runs side by side, on the command line, in Python and in the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bitdose.api import open_run, study
from bitdose.cli.app import run
from bitdose.errors import UsageError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, texture_set: Path, texture_model: Path) -> list[Path]:
    """Study twelve images twice: as they are, and in grey with downsizing for inputs of another kernel."""
    folder = tmp_path_factory.mktemp("runs")
    for name, resize in (("one", "bilinear"), ("two", "lanczos3")):
        study(
            texture_set, texture_model, points=["jpeg:q90", "jpeg:q20", "jpeg:q20@48"], out=folder / name,
            input={"resize": resize}, workers=1, ssim=False,
        )  # fmt: skip
    return [folder / "one", folder / "two"]


def test_it_writes_a_page_a_table_and_a_figure(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence per point, every number in the table, one figure, and the research-use sentence."""
    assert run(["compare", *map(str, runs), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "paired: each of 12 cases is compared with itself" in said
    assert "JPEG of quality 20 after downsizing" in said
    page = (tmp_path / "compare.html").read_text()
    assert "Research use only, not a medical device." in page
    assert "data:image/svg+xml;base64," in page
    with (tmp_path / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["point"] for row in rows] == ["pristine", "jpeg:q90", "jpeg:q20", "jpeg:q20@48"]
    assert all(float(r["accuracy_difference_low"]) <= float(r["accuracy_difference"]) for r in rows)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "comparison_1.png",
        "comparison_1.svg",
    }


def test_python_and_json_give_the_same_numbers(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`Run.compare` is what the command prints."""
    assert run(["compare", *map(str, runs), "--out", str(tmp_path), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["points"]
    found = open_run(runs[0]).compare(open_run(runs[1]))
    assert [row["accuracy_difference"] for row in written] == [p.difference.value for p in found.points]


def test_the_report_shows_the_other_run(runs: list[Path], tmp_path: Path) -> None:
    """`report --compare` adds a section with its figure; the next report without it removes the figure."""
    first = ["report", str(runs[0]), "--no-images", "--out", str(tmp_path)]
    assert run([*first, "--compare", str(runs[1])]) == 0
    assert 'id="comparison"' in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figures" / "comparison_1.svg").is_file()
    (tmp_path / "figures" / "mine.svg").write_text("<svg/>")
    assert run(first) == 0
    assert 'id="comparison"' not in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "figures" / "comparison_1.svg").exists()
    assert (tmp_path / "figures" / "mine.svg").exists()


def test_a_run_beside_itself_keeps_two_names(runs: list[Path]) -> None:
    """The same folder twice is told apart, and nothing separates the two."""
    found = open_run(runs[0]).compare(open_run(runs[0]))
    assert found.first != found.second
    assert all(point.difference.value == 0 for point in found.points)


def test_runs_with_no_point_in_common_are_one_line(runs: list[Path], tmp_path: Path) -> None:
    """The message names both runs and what was expected."""
    table = open_run(runs[0]).table
    table.filter(table["point"] == "pristine").write_parquet(tmp_path / "bare.parquet")
    with pytest.raises(UsageError, match="expected pristine and a coded point in both runs"):
        open_run(runs[0]).compare(open_run(tmp_path / "bare.parquet"))
    assert run(["compare", str(runs[0]), str(tmp_path / "bare.parquet")]) == 2
