"""docs/results.md says what the kept tables say, and the tables hold nothing they should not."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from bitdose.results.table import read_table

ROOT = Path(__file__).resolve().parents[1]
TABLES = sorted((ROOT / "results").glob("*.parquet"))
CARDS = sorted((ROOT / "results" / "cards").glob("*.md"))


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_tables_say() -> None:
    """Every made part of the page is what `make results` would write, and each figure is there."""
    maker = _maker()
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert maker.made(text) == text
    assert maker.FIGURES
    assert {name for name in maker.FIGURES if not (ROOT / "docs" / "img" / name).is_file()} == set()


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_kept_table_holds_answers_and_bytes_and_no_person(path: Path) -> None:
    """A kept table has probabilities, bytes and a number per patient, but no name, age or sex."""
    table = read_table(path)
    assert table["bytes_coded"].null_count() == 0
    assert any(name.startswith("p_") for name in table.columns)
    for column in ("case_id", "case_patient"):
        assert all(re.fullmatch(r"\d{4}", name) for name in table[column].unique())
    assert not {"case_sex", "case_age", "case_radiologist", "case_original"} & set(table.columns)
    assert table["case_digest"].null_count() == len(table)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_kept_card_names_the_weights_and_no_place(path: Path) -> None:
    """A kept card has the weights' SHA-256, intervals and limits, and no path but file names."""
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(r"SHA-256 `[0-9a-f]{64}`", text)) == 2
    assert "## Limits" in text
    assert "Research use only" in text
    assert not re.search(r"(?<![\w.])/\w+/", text)
