"""Studies of Python objects: the rows of the files that hold the same, on all cores, and only of these."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from bitdose.data.load import load_cases
from bitdose.data.objects import cases_from
from bitdose.errors import BitdoseError, CaseError, UsageError
from bitdose.models.load import ModelRef
from bitdose.models.objects import classifier_from
from bitdose.results.summarize import summarize
from bitdose.results.table import rows_to_table
from bitdose.study.engines.local import run_in_process
from bitdose.study.engines.pipeline import run_pipeline
from bitdose.study.plan import Plan, make_plan
from bitdose.study.recode import variants_of
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec
from bitdose.study.store import read_manifest, read_run

LABELS = ("smooth", "grainy", "rough")
POINTS = ("jpeg:q90,jpeg:q30,jpeg:q90@32",)
OF_FILES = ["case_format", "case_lossy", "case_digest", "bytes_file", "case_id", "case_patient", "model"]
TIMES = ["encode_ms", "decode_ms"]


class Textures(torch.utils.data.Dataset):  # type: ignore[misc]
    """The texture set as a torch data set that refuses to leave its process."""

    classes = tuple(sorted(LABELS))

    def __init__(self, folder: Path) -> None:
        self.cases = load_cases(folder).cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        case = self.cases[index]
        pixels = cv2.imread(str(case.path), cv2.IMREAD_GRAYSCALE)
        return torch.from_numpy(pixels)[None].float() / 255, self.classes.index(case.label)

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


def spec(**options: Any) -> StudySpec:
    """Give a study of three points."""
    return StudySpec(data="objects", model="object", points=POINTS, **options)


def reference(texture_model: Path) -> Any:
    """Give the ONNX classifier as a function of this process, with its labels."""
    loaded = ModelRef(str(texture_model)).load()

    def answer(batch: Any) -> Any:
        return loaded.predict(batch)

    return classifier_from(answer, labels=LABELS, input={"size": [96, 96]})


def table(finished: Any) -> pl.DataFrame:
    """Give an engine's rows, in the order of cases and points, without the clock."""
    rows = [row for _, rows in finished for row in rows]
    return rows_to_table(rows).drop(TIMES).sort("case_id", "point")


def test_a_data_set_and_a_function_give_the_rows_of_their_files(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """A torch data set stays in this process, its cases go to coders one by one: equal to the last bit."""
    classifier = reference(texture_model)
    plan = make_plan(spec(), classifier, cases=cases_from(Textures(texture_set)))
    assert run_study(plan, tmp_path / "run", workers=2).failed == 0
    files = make_plan(StudySpec(data=str(texture_set), model=str(texture_model), points=POINTS))
    in_order = {case.id: f"{n:02d}" for n, case in enumerate(files.cases.cases)}
    rows = table(run_in_process(files.cases.cases, files.job, files.classifier))
    wanted = rows.with_columns(pl.col("case_id").replace(in_order)).sort("case_id", "point").drop(OF_FILES)
    mine = read_run(tmp_path / "run").with_columns(pl.col("case_id").str.zfill(2)).sort("case_id", "point")
    columns = [name for name in wanted.columns if name not in ("case_mapping", "bytes_coded")]
    assert_frame_equal(mine.select(columns), wanted.select(columns), check_exact=True)
    assert set(mine["case_mapping"]) == {"floats 0..1 > 8 bits"}


def test_several_processes_give_the_rows_of_one(texture_set: Path, texture_model: Path) -> None:
    """Coders and a classifier in this process: the same rows as without any, a case that fails among them."""
    classifier = reference(texture_model)
    plan = make_plan(spec(), classifier, cases=cases_from(Textures(texture_set)))

    def asked(batch: Any) -> Any:
        if batch.std(axis=(1, 2, 3)).max() > 0.2142:
            raise ValueError("patient Jane Doe")
        return classifier.predict(batch)

    broken = replace(classifier, function=asked)
    cases = plan.cases.cases
    several = table(run_pipeline(cases, plan.job, broken, workers=2))
    assert_frame_equal(several, table(run_in_process(cases, plan.job, broken)), check_exact=True)
    assert set(several["status"]) == {"ok", "crashed"}
    assert set(several["reason"].drop_nulls()) == {"ValueError while the case was worked on"}


def test_the_function_runs_in_this_process_and_the_coding_in_others(
    texture_set: Path, texture_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is handed over as an object is never sent away; this process encodes nothing."""
    seen: set[int] = set()

    def answer(batch: Any) -> Any:
        seen.add(os.getpid())
        return np.full((len(batch), 3), 1 / 3)

    monkeypatch.setattr("bitdose.study.worker.code_points", None)
    plan = make_plan(spec(), classifier_from(answer, labels=LABELS), cases=cases_from(texture_set))
    assert run_study(plan, tmp_path / "run", workers=2).failed == 0
    assert seen == {os.getpid()}


def test_a_wrong_answer_of_a_function_stops_the_study(texture_set: Path, tmp_path: Path) -> None:
    """Another number of columns than labels is one line, raised here, and no process stays."""
    calls: list[int] = []

    def answer(batch: Any) -> Any:
        calls.append(1)
        return np.ones((len(batch), 3 if len(calls) == 1 else 2)) / 3

    plan = make_plan(spec(), classifier_from(answer, labels=LABELS), cases=cases_from(texture_set))
    with pytest.raises(UsageError, match=r"expected outputs of shape \(\d+, 3\) for labels"):
        run_study(plan, tmp_path / "run", workers=2)


def test_a_function_sees_images_at_their_own_size(tmp_path: Path) -> None:
    """Images of two shapes, and a point that stays downsized: each batch is of one shape."""
    shapes: set[tuple[int, ...]] = set()

    def answer(batch: Any) -> Any:
        shapes.add(batch.shape[1:])
        return np.full((len(batch), 2), 0.5)

    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (40 + 8 * (n % 2), 40), np.uint8) for n in range(4)]
    plan = make_plan(
        replace(spec(), points=("jpeg:q90,jpeg:q90@24:area:none,jpeg:q30",)),
        classifier_from(answer, labels=("0", "1")), cases=cases_from((pixels, [0, 1, 0, 1])),
    )  # fmt: skip
    assert run_study(plan, tmp_path / "run", workers=2).failed == 0
    assert {(1, 40, 40), (1, 48, 40), (1, 24, 24)} <= shapes


def test_resuming_asks_for_the_same_pixels(texture_set: Path, texture_model: Path, tmp_path: Path) -> None:
    """The same arrays go on; one other sample makes it another study."""
    classifier = reference(texture_model)
    images = np.stack([pixels[0].numpy() for pixels, _ in map(Textures(texture_set).__getitem__, range(12))])
    labels = [case.label for case in load_cases(texture_set).cases]

    def plan(pixels: Any) -> Plan:
        return make_plan(spec(), classifier, cases=cases_from((pixels, labels)))

    def stop(tally: object) -> None:
        raise KeyboardInterrupt

    assert run_study(plan(images), tmp_path / "run", workers=1, watch=stop).done == 1
    other = images.copy()
    other[5, 3, 3] = 1 - other[5, 3, 3]
    with pytest.raises(UsageError, match="it holds another study"):
        run_study(plan(other), tmp_path / "run", workers=1, resume=True)
    assert run_study(plan(images.copy()), tmp_path / "run", workers=1, resume=True).done == 12


def test_the_manifest_says_what_a_functions_identity_is(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """That of a file is the whole file, and there is nothing to say."""
    plan = make_plan(spec(), reference(texture_model), cases=cases_from(texture_set))
    run_study(plan, tmp_path / "run", workers=1)
    said = read_manifest(tmp_path / "run")["model_known_by"]
    assert said.startswith("the function's qualified name and source")
    files = make_plan(StudySpec(data=str(texture_set), model=str(texture_model), points=POINTS))
    assert "model_known_by" not in files.manifest


def test_ratios_of_arrays_are_of_their_pixels(texture_model: Path, texture_set: Path) -> None:
    """There is no source file: its ratio is undefined, and pristine counts as the raw pixels."""
    plan = make_plan(spec(), reference(texture_model), cases=cases_from(Textures(texture_set)))
    found = table(run_in_process(plan.cases.cases, plan.job, plan.classifier))
    assert found["bytes_file"].null_count() == len(found)
    points = summarize(found.with_columns(encode_ms=0.0, decode_ms=0.0)).points
    assert all(math.isnan(point.ratio_file) for point in points)
    assert points[0].ratio_pixels == 1
    assert points[1].ratio_pixels > 1


def test_images_are_made_again_from_the_objects(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """A run folder holds no pixels: with the cases its variants come back, other pixels are refused."""
    cases = cases_from(Textures(texture_set))
    plan = make_plan(spec(), reference(texture_model), cases=cases)
    run_study(plan, tmp_path / "run", workers=1)
    pristine, coded = variants_of(tmp_path / "run", cases=cases)("3", ["pristine", "jpeg:q30"])
    assert pristine.pixels.shape == coded.pixels.shape == (96, 96)
    other = cases_from((np.zeros((12, 9, 9), np.uint8), [case.label for case in cases.cases]))
    with pytest.raises(CaseError, match="changed"):
        variants_of(tmp_path / "run", cases=other)("3", ["pristine"])
    with pytest.raises(BitdoseError):
        variants_of(tmp_path / "run")
