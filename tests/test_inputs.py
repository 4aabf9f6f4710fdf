"""``bd.study`` and ``bd.search`` of what a Python program holds: five lines, and the answer is the files'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import bitdose as bd
from bitdose.data.load import load_cases
from bitdose.data.read import read_case
from bitdose.models.load import ModelRef

LABELS = ("smooth", "grainy", "rough")
ANSWERS = ["case_label", "point", "predicted", "p_smooth", "p_grainy", "p_rough", "psnr_db"]


@pytest.fixture(scope="module")
def arrays(many_textures: Path) -> tuple[Any, list[str]]:
    """Give 60 images as an array, and their labels."""
    cases = load_cases(many_textures).cases
    return np.stack([read_case(case).image.pixels for case in cases]), [case.label for case in cases]


def answers(run: bd.Run) -> pl.DataFrame:
    """Give what the classifier said, in an order that does not depend on the cases' names."""
    return run.table.select(ANSWERS).sort(ANSWERS)


def test_arrays_and_an_onnx_model_give_the_answers_of_their_files(
    arrays: tuple[Any, list[str]], many_textures: Path, texture_model: Path, tmp_path: Path
) -> None:
    """Also with a function that answers the same; a rule registered with them certifies."""
    common: dict[str, Any] = {"points": "jpeg:q90,jpeg:q80", "margins": {"accuracy": 0.3}, "progress": False}
    proto, loaded = onnx.load(str(texture_model)), ModelRef(str(texture_model)).load()
    files = bd.study(many_textures, texture_model, out=tmp_path / "files", **common)
    model = bd.study(arrays, proto, labels=LABELS, out=tmp_path / "model", **common)
    function = bd.study(
        arrays, loaded.predict, labels=LABELS, input={"size": [96, 96]}, out=tmp_path / "f", **common
    )
    assert answers(model).equals(answers(files))
    assert answers(function).equals(answers(files))
    certified = function.decide().certified
    assert certified is not None
    assert certified.point == files.decide().certified.point  # type: ignore[union-attr]
    assert "qualified name and source" in function.manifest["model_known_by"]


def test_whole_numbers_are_named_by_the_classifiers_labels(
    arrays: tuple[Any, list[str]], tmp_path: Path
) -> None:
    """A scikit-learn classifier of flattened images, with labels as it was fitted to them."""
    images, labels = arrays
    small = np.ascontiguousarray(images[:, :16, :16])
    numbers = [LABELS.index(label) for label in labels]
    model = LogisticRegression(max_iter=50).fit(small.reshape(60, -1) / 255, numbers)
    run = bd.study((small, numbers), model, labels=LABELS, points="jpeg:q90", out=tmp_path / "run", workers=1)
    assert set(run.table["case_label"]) == set(LABELS)
    assert run.summary().points[0].accuracy.value == model.score(small.reshape(60, -1) / 255, numbers)


def test_progress_may_be_a_function(
    arrays: tuple[Any, list[str]], texture_model: Path, tmp_path: Path
) -> None:
    """It is called after each case with what is known so far; patients given beside arrays are the units."""
    seen: list[int] = []
    run = bd.study(
        arrays, texture_model, patients=[n // 2 for n in range(60)], limit=6, points="jpeg:q90", workers=1,
        out=tmp_path / "run", progress=lambda tally: seen.append(tally.cases),
    )  # fmt: skip
    assert seen == [1, 2, 3, 4, 5, 6]
    assert run.table["case_patient"].n_unique() <= 6
    with pytest.raises(bd.UsageError, match="patients: they go with arrays and data sets"):
        bd.study(tmp_path, texture_model, patients=[1])


def test_a_search_takes_objects_too(
    arrays: tuple[Any, list[str]], many_textures: Path, texture_model: Path, tmp_path: Path
) -> None:
    """The point that it certifies is that of the files."""
    common: dict[str, Any] = {
        "points": "jpeg:q90,jpeg:q80", "margins": {"accuracy": 0.3}, "workers": 1, "progress": False
    }  # fmt: skip
    loaded = ModelRef(str(texture_model)).load()
    objects = bd.search(arrays, loaded, out=tmp_path / "objects", **common).decide().certified
    files = bd.search(many_textures, texture_model, out=tmp_path / "files", **common).decide().certified
    assert objects is not None
    assert files is not None
    assert objects.point == files.point


def test_a_report_of_arrays_speaks_of_raw_pixels(
    arrays: tuple[Any, list[str]], texture_model: Path, tmp_path: Path
) -> None:
    """There are no source files: no figure is drawn against their ratio, and a sentence says why."""
    points = ("jpeg:q90", "jpeg:q30", "jpeg:q30@48", "jpeg:q90@48")
    run = bd.study(arrays, texture_model, points=points, out=tmp_path / "run", progress=False)
    paths = run.report(images=False)
    names = {path.name for path in paths.figures}
    assert "accuracy_pixels.png" in names
    assert not [name for name in names if "_file" in name]
    page = paths.html.read_text()
    assert "60 of 60 cases came as arrays: ratios are of the raw pixels." in page
    assert ":1 of the source files" not in page
    assert ":1 of the raw pixels" in page
