"""Studies on the real images in ../shared, where they are."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.results.summarize import summarize
from bitdose.study.plan import make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec
from bitdose.study.store import read_run


def test_x_rays_give_the_numbers_of_a_plain_loop(shared: Path, tmp_path: Path) -> None:
    """On 220 X-rays pristine accuracy, macro F1 and JPEG's ratio are those of the plain loop."""
    spec = StudySpec(
        data=str(shared / "data/cxr/cases.csv"),
        model=str(shared / "models/cxr_mobilenetv2.onnx"),
        points=("jpeg:q75",),
        split="test",
        color="grey",
        ssim=False,
    )
    run_study(make_plan(spec), tmp_path / "run")
    summary = summarize(read_run(tmp_path / "run"))
    pristine, coded = summary.points
    assert pristine.accuracy.value == pytest.approx(0.818, abs=5e-4)
    assert pristine.macro_f1.value == pytest.approx(0.816, abs=5e-4)
    assert (coded.ratio_file, coded.ratio_pixels) == pytest.approx((5.1, 15.6), abs=0.05)
    assert coded.flips.share.value == pytest.approx(0.018, abs=0.005)


def test_brain_volumes_run_through_a_study(shared: Path, tmp_path: Path) -> None:
    """Stacks of slices from NIfTI are coded, decoded and classified as volumes."""
    layout = InputSpec(labels=("no-tumour", "tumour"), size=(64, 64), layout="NDHWC")

    def brightest(batch: np.ndarray) -> np.ndarray:
        score = batch.max(axis=(1, 2, 3, 4))
        return np.stack([1 - score, score], axis=1)

    spec = StudySpec(
        data=str(shared / "data/brain/cases.csv"),
        model="",
        points=("jpeg:q30,jpeg2000:20x@128",),
        split="calibration",
        limit=4,
    )
    run_study(make_plan(spec, CallableClassifier(brightest, layout)), tmp_path / "run")
    table = read_run(tmp_path / "run")
    assert set(table["status"]) == {"ok"}
    assert set(table["case_slices"]) == {8}
    assert table.filter(pl.col("point") == "jpeg:q30")["psnr_db"].min() > 25


def test_every_dicom_object_is_a_row_and_none_stops_the_study(shared: Path, tmp_path: Path) -> None:
    """All 20 listed DICOM files, volumes among them: each image is coded, each failure has its reason."""
    folder = shared / "data/dicom"
    with (folder / "inventory.csv").open(newline="") as inventory:
        rows = list(csv.DictReader(inventory))
    table = tmp_path / "cases.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "label", "transfer_syntax"])
        for row in rows:
            syntax = row["transfer_syntax"]
            writer.writerow([row["file"], (folder / row["file"]).resolve(), row["modality"] or "OT", syntax])
    labels = tuple(sorted({row["modality"] or "OT" for row in rows}))
    spec = InputSpec(labels=labels, size=(32, 32), layout="NHWC")
    flat = CallableClassifier(lambda x: np.full((len(x), len(labels)), 1 / len(labels)), spec)
    study = StudySpec(data=str(table), model="", points=("jpeg:q50,jpeg2000:10x",), max_failures=1.0)
    run_study(make_plan(study, flat), tmp_path / "run")
    found = read_run(tmp_path / "run")
    assert found["case_id"].n_unique() == len(rows)
    failed = found.filter(pl.col("status") != "ok")
    assert failed["reason"].null_count() == 0
    assert set(failed["status"]) == {"model-input", "codec-limit"}  # volumes; JPEG 2000 of 16-bit colour
    coded = found.filter((pl.col("status") == "ok") & (pl.col("point") != "pristine"))
    assert coded["case_id"].n_unique() >= 14
    deep = coded.filter((pl.col("case_bits") > 8) & (pl.col("codec_name") == "jpeg"))
    assert deep["codec_mapping"].str.contains(">8>").all()
