"""The guidelines are cited figures, shown for human readers and for nothing else."""

from __future__ import annotations

import re

import pytest

from bitdose.errors import UsageError
from bitdose.profile.guidelines import (
    GUIDELINES,
    MAMMOGRAPHY_NOTE,
    MODALITIES,
    SOURCES,
    check_modality,
    compared,
    guidelines_for,
    modality_code,
)


def test_the_table_has_the_published_figures() -> None:
    """CAR's and DRG's ratios for radiography, mammography, CT, MR and ultrasound, as published."""
    ratios = {(g.body, g.region): g.ratio for g in GUIDELINES}
    assert [ratios["CAR", r] for r in ("radiography", "mammography", "CT, body", "CT, brain")] == [
        30,
        25,
        15,
        12,
    ]
    assert [ratios["CAR", r] for r in ("MR", "ultrasound")] == [24, 12]
    assert [ratios["DRG", r] for r in ("radiography", "mammography", "CT, all but brain")] == [10, 15, 8]
    assert [ratios["DRG", r] for r in ("CT, brain", "MR", "fluoroscopy, angiography")] == [5, 7, 6]


def test_every_row_has_a_source_and_a_known_modality() -> None:
    """Whose figure it is can be looked up, and every modality is one a profile can name."""
    for row in GUIDELINES:
        assert row.body in SOURCES
        assert set(row.modalities) <= set(MODALITIES)
    assert re.search(r"doi:10\.\d{4,}/", SOURCES["DRG"])
    assert re.search(r"doi:10\.2214/AJR\.15\.15130", MAMMOGRAPHY_NOTE)


def test_a_modality_chooses_its_rows() -> None:
    """CT has a row for body and brain each; no modality means all rows; an uncovered one none."""
    assert [g.ratio for g in guidelines_for(["CT"])] == [15, 12, 8, 5]
    assert guidelines_for([]) == GUIDELINES
    assert guidelines_for(["SM"]) == ()


def test_the_line_says_that_it_is_guidance_for_human_readers() -> None:
    """A ratio beside the figures, one that is not known, and a modality without figures."""
    line = compared(46.24, ["DX"])
    assert line.startswith(
        "ratio 46.2 of the raw pixels; for human readers CAR: radiography 30, DRG: radiography 10"
    )
    assert "guidance, not of classifiers" in line
    assert compared(None, ["MR"]).startswith("ratio unknown; for human readers")
    assert (
        compared(3.0, ["SM"])
        == "ratio 3.0 of the raw pixels; no guideline for human readers is known here for SM"
    )


@pytest.mark.parametrize("word", ["mg", "MG", " Mammography ", "mammo", "FFDM", "dbt", "mammogram"])
def test_a_mammogram_is_known_by_any_of_its_names(word: str) -> None:
    """The warning must not hang on the spelling."""
    assert modality_code(word) == check_modality(word) == "MG"


def test_an_unknown_modality_is_refused_where_a_user_names_it() -> None:
    """A table's own word is kept as it is; a user's is checked."""
    assert modality_code("thermography") == "THERMOGRAPHY"
    with pytest.raises(UsageError, match="modality 'thermography': expected DICOM's code, one of: CR, CT"):
        check_modality("thermography")
