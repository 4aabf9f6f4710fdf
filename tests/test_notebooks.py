"""The notebooks run from top to bottom, in a folder of their own."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

BOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
NOWHERE = Path("no-such-folder")


def execute(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, data: Path = NOWHERE) -> str:
    """Run a notebook in a folder, with nothing of the user's; return what its cells printed and showed."""
    monkeypatch.setenv("BITDOSE_DATA", str(data))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    book = nbformat.read(BOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    shown = [*(output.get("text", "") for output in outputs), *(output.get("data", {}) for output in outputs)]
    return "\n".join(map(str, shown))


@pytest.mark.parametrize("data", ["phantoms", "X-rays"])
def test_the_first_study_runs_with_and_without_the_shared_x_rays(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The five lines work on the real set where it is, and on phantoms that a stranger draws."""
    place = request.getfixturevalue("shared") if data == "X-rays" else NOWHERE
    shown = execute("first-study", tmp_path, monkeypatch, place)
    assert ("phantoms" in shown) == (data == "phantoms")
    assert (tmp_path / "first-run" / "report.html").is_file()
    assert "jpeg:q90@256" in shown


def test_a_pytorch_model_and_arrays_are_studied_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module and a function of a notebook are studied on arrays, and compared case by case."""
    shown = execute("own-pytorch-model", tmp_path, monkeypatch)
    assert "jpeg:q10" in shown
    assert (tmp_path / "own-model-run" / "manifest.json").is_file()


def test_a_curve_becomes_a_certified_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook ends with a signed profile and files coded at its point."""
    execute("curve-to-certified-point", tmp_path, monkeypatch)
    assert (tmp_path / "profile.json").is_file()
    assert len(os.listdir(tmp_path / "small")) == 20
