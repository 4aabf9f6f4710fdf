"""One case through all points."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.grid import expand_points
from bitdose.data.base import Case
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.results.schema import COLUMNS
from bitdose.study.plan import StudyJob
from bitdose.study.worker import coded_chunks, run_case

SPEC = InputSpec(labels=("dark", "bright"), size=(8, 8), layout="NHWC")
BRIGHTNESS = CallableClassifier(lambda x: [[1 - v.mean(), v.mean()] for v in x], SPEC, "brightness")


def job(points: str, **changes: object) -> StudyJob:
    """Give a job in this process."""
    settings: dict[str, object] = {"color": "keep", "exact": False, "ssim": True, "model": None} | changes
    return StudyJob(expand_points(points), **settings)  # type: ignore[arg-type]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Give a case of 40x30 pixels."""
    pixels = np.random.default_rng(0).integers(150, 250, (30, 40), dtype=np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "a.png")
    return Case("a", "bright", tmp_path / "a.png", "p1", columns={"site": "north", "format": "mine"})


def test_a_row_holds_every_column_of_the_schema_and_the_tables_own(case: Case) -> None:
    """A finished row has all schema columns, the table's further columns and the probabilities."""
    row = run_case(case, job("jpeg:q50@16"), BRIGHTNESS)[1]
    assert set(COLUMNS) - set(row) <= {"reason", "fp32_predicted", "fp32_gap"}
    assert row["case_site"] == "north"
    assert row["p_bright"] == pytest.approx(1 - row["p_dark"])
    assert row["codec_size"] == "16x16"
    assert row["codec_kernels"] == "opencv:lanczos4 > opencv:lanczos4"


def test_what_we_measure_wins_over_a_table_column_of_that_name(case: Case) -> None:
    """A table's column called format cannot pose as the format that was found."""
    assert run_case(case, job("jpeg:q50"), BRIGHTNESS)[0]["case_format"] == "PNG"


def test_pristine_counts_the_source_file(case: Case) -> None:
    """The pristine row's bytes are those of the source file, its PSNR infinite, its SSIM one."""
    row = run_case(case, job("jpeg:q50"), BRIGHTNESS)[0]
    assert row["bytes_coded"] == row["bytes_file"] == case.path.stat().st_size
    assert row["bytes_pixels"] == 40 * 30
    assert row["psnr_db"] == math.inf
    assert row["ssim"] == pytest.approx(1)


def test_rows_come_in_the_order_of_the_points(case: Case) -> None:
    """One row per point, in the job's order, whatever order the coding takes."""
    points = "jpeg:q50,jpeg2000:4x@16,jpeg:q10,jpeg2000:8x@16"
    rows = run_case(case, job(points), BRIGHTNESS)
    assert [row["point"] for row in rows] == [str(point) for point in expand_points(points)]


def test_an_image_handed_on_small_has_no_fidelity(case: Case) -> None:
    """Without interpolation there is nothing of the original's size to compare: NaN, not zero."""
    row = run_case(case, job("jpeg:q50@16:area:none"), BRIGHTNESS)[1]
    assert math.isnan(row["psnr_db"])
    assert row["status"] == "ok"


def test_an_unreadable_case_gives_a_failed_row_per_point(case: Case) -> None:
    """A missing file becomes one failed row per point with its reason, and no exception."""
    rows = run_case(Case("b", "dark", case.path.with_name("b.png"), "p2"), job("jpeg:q50"), BRIGHTNESS)
    assert [row["status"] for row in rows] == ["missing-file", "missing-file"]
    assert all(row["reason"] and "predicted" not in row for row in rows)


def test_a_point_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """An image too wide for JPEG fails at the JPEG point only."""
    PillowImage.fromarray(np.full((1, 65_600), 200, np.uint8)).save(tmp_path / "wide.png")
    case = Case("wide", "bright", tmp_path / "wide.png", "p")
    rows = run_case(case, job("jpeg:q50,jpeg2000:4x@32"), BRIGHTNESS)
    assert [row["status"] for row in rows] == ["ok", "codec-limit", "ok"]


def test_a_nan_answer_is_a_failed_row_and_not_a_class(case: Case) -> None:
    """A model that returns NaN fails those rows with a reason; it is never given a class."""
    broken = CallableClassifier(lambda x: np.full((len(x), 2), np.nan), SPEC)
    rows = run_case(case, job("jpeg:q50"), broken)
    assert {row["status"] for row in rows} == {"model-output"}
    assert all("NaN" in row["reason"] for row in rows)


def test_a_volume_needs_a_classifier_of_volumes(tmp_path: Path) -> None:
    """A volume given to a classifier of images is a row that says so."""
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.zeros((16, 16, 3), np.uint8), np.eye(4)), tmp_path / "v.nii.gz")
    rows = run_case(Case("v", "dark", tmp_path / "v.nii.gz", "p"), job("jpeg:q50"), BRIGHTNESS)
    assert {row["status"] for row in rows} == {"model-input"}


def test_volumes_are_coded_slice_by_slice(tmp_path: Path) -> None:
    """A volume's bytes are the sum over its slices, and its classifier sees the whole stack."""
    import nibabel as nib

    from bitdose.codecs.jpeg import Jpeg
    from bitdose.data.read import read_source

    volume = np.random.default_rng(1).integers(0, 255, (24, 20, 4)).astype(np.uint8)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "v.nii.gz")
    spec = InputSpec(labels=("dark", "bright"), layout="NDHWC")
    shapes: list[tuple[int, ...]] = []

    def look(batch: np.ndarray) -> np.ndarray:
        shapes.append(batch.shape)
        return np.tile([0.5, 0.5], (len(batch), 1))

    row = run_case(
        Case("v", "dark", tmp_path / "v.nii.gz", "p"), job("jpeg:q50"), CallableClassifier(look, spec)
    )[1]
    slices = read_source(tmp_path / "v.nii.gz").image.slices()
    assert row["bytes_coded"] == sum(len(Jpeg(50).encode(plane)) for plane in slices)
    assert row["case_slices"] == 4
    assert shapes == [(2, 4, *slices[0].pixels.shape, 1)]


def test_an_input_seen_before_is_not_classified_again(case: Case) -> None:
    """Optimised tables change no pixel: the classifier sees it once, both rows have its answer."""
    seen: list[np.ndarray] = []

    def look(batch: np.ndarray) -> np.ndarray:
        seen.extend(batch)
        return np.array([[1 - v.mean(), v.mean()] for v in batch])

    points = "jpeg:q30,jpeg:q30+optimize,jpeg:q10"
    rows = {row["point"]: row for row in run_case(case, job(points), CallableClassifier(look, SPEC))}
    plain, optimised = rows["jpeg:q30"], rows["jpeg:q30+optimize"]
    assert len(seen) == 3
    assert len({entry.tobytes() for entry in seen}) == 3
    assert plain["bytes_coded"] != optimised["bytes_coded"]
    assert {k: v for k, v in plain.items() if k.startswith("p")} == {
        k: v for k, v in optimised.items() if k.startswith("p")
    } | {"point": "jpeg:q30"}
    assert set(plain) == set(optimised)
    assert rows["jpeg:q10"]["p_bright"] != plain["p_bright"]


def test_a_row_that_shares_a_failed_answer_fails_too(case: Case) -> None:
    """What the model could not answer once is a failed row wherever the same input stands."""
    broken = CallableClassifier(lambda x: np.full((len(x), 2), np.nan), SPEC)
    rows = run_case(case, job("jpeg:q30,jpeg:q30+optimize"), broken)
    assert [row["status"] for row in rows] == ["model-output"] * 3


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_chunks_hold_every_row_once_whatever_their_size(case: Case, device: str) -> None:
    """Chunks of a large input are small, and all of them together are the case."""
    spec = InputSpec(labels=("dark", "bright"), size=(400, 400), layout="NHWC")
    chunks = list(coded_chunks(case, job("jpeg:q10..90/10"), "m", spec, device=device))
    points = [row["point"] for chunk in chunks for row in chunk.waiting + chunk.settled]
    assert points == [str(point) for point in expand_points("jpeg:q10..90/10")]
    assert [len(chunk.inputs) for chunk in chunks] == ([4, 4, 2] if device == "cpu" else [10])


def test_in_another_precision_the_pristine_row_alone_holds_fp32s_answer(tmp_path: Path) -> None:
    """A flat image's coded input is the pristine one: it shares the answer, but is no pristine row."""
    PillowImage.fromarray(np.full((16, 16), 200, np.uint8)).save(tmp_path / "flat.png")
    rough = replace(BRIGHTNESS, function=lambda x: [[0.6, 0.4] for _ in x], in_fp32=BRIGHTNESS)
    flat = Case("a", "bright", tmp_path / "flat.png", "p1")
    pristine, coded = run_case(flat, job("jpeg:q90"), rough)
    assert (pristine["predicted"], pristine["fp32_predicted"]) == ("dark", "bright")
    assert pristine["fp32_gap"] == pytest.approx(200 / 255 - 0.4)
    assert (coded["predicted"], coded["p_dark"]) == ("dark", 0.6)
    assert not {"fp32_predicted", "fp32_gap"} & set(coded)
