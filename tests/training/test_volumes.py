"""What training on volumes promises: any depth, any orientation, one batch, the size the user gives."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from bitdose.data.load import load_cases
from bitdose.data.read import read_source
from bitdose.models.base import InputSpec
from bitdose.models.onnx import load_onnx
from bitdose.models.prepare import prepare
from bitdose.training.device import Device
from bitdose.training.recipe import Recipe
from bitdose.training.samples import SampleReader, integer_input

from .conftest import Train, history

CLASSES = ("healthy", "sick")
SPEC = InputSpec(labels=CLASSES, size=(16, 16), layout="NCDHW")


def write_volume(path: Path, bright: float, slices: int, codes: str, rng: np.random.Generator) -> Path:
    """Write a noisy NIfTI volume with a bright right half, stored along the axes asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = rng.normal(100, 5, (20, 24, slices))  # right, anterior, superior
    array[10:] += bright
    canonical = nibabel.Nifti1Image(array.astype(np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
    there = nibabel.orientations.axcodes2ornt(codes)
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), there)
    nibabel.save(canonical.as_reoriented(turn), path)
    return path


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of two classes of volumes of 3 to 6 slices in several orientations."""
    folder, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(6)
    codes = ("RAS", "LPS", "PIR", "ASL")
    for label, bright in (("healthy", 0.0), ("sick", 60.0)):
        for index in range(6):
            write_volume(folder / label / f"{index}.nii.gz", bright, 3 + index % 4, codes[index % 4], rng)
    return folder


def test_orientations_become_one(tmp_path: Path) -> None:
    """However the axes are stored, slices run from inferior to superior and columns to the right."""
    seen = []
    for codes in ("RAS", "LPS", "PIR"):
        path = write_volume(tmp_path / f"{codes}.nii", 60.0, 5, codes, np.random.default_rng(1))
        seen.append(integer_input(read_source(path).image, SPEC))
    assert seen[0].shape == (1, 5, 16, 16)
    for other in seen[1:]:
        np.testing.assert_array_equal(other, seen[0])
    right, left = seen[0][..., 9:].astype(float), seen[0][..., :7].astype(float)
    assert right.mean() > left.mean() + 10_000


def test_depths_share_a_run_and_the_onnx_file_takes_any(
    volumes: Path, tmp_path: Path, train_tiny: Train
) -> None:
    """Volumes of 3 to 6 slices train in batches of four; the ONNX file takes 1, 6 or 11 slices."""
    out = tmp_path / "run"
    assert train_tiny(volumes, out, "--batch", "4", "--flips", "h", network="volumes") == 0
    assert history(out)[-1]["failed_cases"] == 0
    module = __import__("tiny_networks").volumes(2).eval()
    module.load_state_dict(torch.load(out / "model.pt", weights_only=True))
    classifier = load_onnx(out / "model.onnx")
    assert classifier.spec.takes_volumes
    for n, slices in ((1, 1), (3, 6), (1, 11)):
        batch = np.random.default_rng(slices).random((n, 1, slices, 16, 16), np.float32)
        with torch.inference_mode():
            wanted = module(torch.from_numpy(batch)).softmax(dim=1).numpy()
        np.testing.assert_allclose(classifier.predict(batch), wanted, atol=1e-4)


def test_groups_of_one_step_weigh_as_one_batch(volumes: Path, tmp_path: Path, train_tiny: Train) -> None:
    """A step over volumes of several depths is the step of them one by one, accumulated."""
    still = ("--flips", "", "--jitter", "0", "--class-weights", "healthy=1,sick=3", "--epochs", "2")
    for name, batch, accumulate in (("mixed", "4", "1"), ("single", "1", "4")):
        more = ("--batch", batch, "--accumulate", accumulate)
        assert train_tiny(volumes, tmp_path / name, *still, *more, network="volumes") == 0
    mixed, single = (
        torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("mixed", "single")
    )
    for key, value in mixed.items():
        torch.testing.assert_close(value, single[key], atol=1e-5, rtol=1e-4)


def test_a_volume_on_the_device_is_a_studys_input(volumes: Path) -> None:
    """16-bit slices stack on the device to what ``prepare`` makes of them, to the bit, and coded ones too."""
    case = load_cases(volumes).cases[0]
    reader = SampleReader(
        SPEC, Recipe("x", size=16, codec_augment=("jpeg2000:8x",), codec_share=1.0), cache_bytes=0
    )
    batch = Device("cpu").batch([reader.pristine(case)], 1)
    np.testing.assert_array_equal(batch[0].numpy(), prepare(read_source(case.path).image, SPEC))
    assert batch.is_contiguous(memory_format=torch.channels_last_3d)
    coded = reader.training(case, 1)
    assert coded.pixels.shape == reader.pristine(case).pixels.shape
    assert not np.array_equal(coded.pixels, reader.pristine(case).pixels)


def test_an_image_among_volumes_is_left_out(tmp_path: Path, train_tiny: Train) -> None:
    """A plain image in a set of volumes is a case that cannot be used, in training or validation."""
    rng = np.random.default_rng(2)
    for label, bright in (("healthy", 0.0), ("sick", 60.0)):
        for index in range(10):
            write_volume(tmp_path / "data" / label / f"{index}.nii", bright, 3, "RAS", rng)
    for index in (1, 4, 7):
        plane = nibabel.Nifti1Image(np.zeros((20, 24), np.float32), np.eye(4))
        nibabel.save(plane, tmp_path / "data" / "sick" / f"{index}.nii")
    assert train_tiny(tmp_path / "data", tmp_path / "run", "--validation", "0.5", network="volumes") == 0
    assert history(tmp_path / "run")[-1]["failed_cases"] == 3
