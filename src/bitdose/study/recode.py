"""Recoding of a finished study's images: a run folder stores no pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitdose.codecs.coding import code_points
from bitdose.codecs.grid import expand_points
from bitdose.codecs.point import Point
from bitdose.data.base import CaseSet
from bitdose.data.read import read_case
from bitdose.errors import CaseError
from bitdose.image import Image
from bitdose.study.plan import find_cases
from bitdose.study.spec import load_spec
from bitdose.study.store import STUDY_FILE, read_run

if TYPE_CHECKING:
    import polars as pl

Variants = Callable[[str, Sequence[str]], list[Image]]


def variants_of(folder: Path, table: pl.DataFrame | None = None, *, cases: CaseSet | None = None) -> Variants:
    """Return a function from a case id and points to the images that the classifier's input came from.

    Whole chains are encoded as in the study, so that layered streams are identical.

    Parameters
    ----------
    folder : pathlib.Path
        Run folder; its study file names the data.
    table : polars.DataFrame, optional
        Rows of the run, if already read.
    cases : CaseSet, optional
        The cases of a study that had them as Python objects.

    Raises
    ------
    UsageError
        If the study file or the data is not there any more, or the cases were Python objects and are not
        given. The function itself raises ``CaseError`` for a case that is gone, or whose file is no longer
        the one studied.
    """
    spec = load_spec(folder / STUDY_FILE)
    rows = read_run(folder) if table is None else table
    with_digest = rows.lazy().select("case_id", "case_digest").unique().drop_nulls().collect()
    digests = dict(with_digest.iter_rows())
    known = {case.id: case for case in find_cases(spec, cases).cases}
    grid = expand_points(spec.points)

    def load(case_id: str, points: Sequence[str]) -> list[Image]:
        if case_id not in known:
            raise CaseError("missing-file", "the case is no longer in the data")
        source = read_case(known[case_id], color=spec.color)
        if source.digest != digests.get(case_id, source.digest):
            raise CaseError("changed-file", "the file has changed since it was studied")
        asked = [Point.parse(text) for text in points]
        if not {point for point in asked if not point.is_pristine} <= set(grid):
            raise CaseError("changed-study", "the study file no longer holds this point")
        original = source.image
        images: dict[Point, Image] = {Point(): original}
        for point, coded in code_points(original, asked, exact=spec.exact, grid=grid):
            if isinstance(coded, CaseError):
                raise coded
            images[point] = coded.image
        return [images[point] for point in asked]

    return load
