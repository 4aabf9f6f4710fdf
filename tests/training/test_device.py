"""What device and teacher promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bitdose.errors import UsageError
from bitdose.models.base import InputSpec
from bitdose.training.device import Device
from bitdose.training.teacher import Teacher

from .conftest import LABELS, SIDE, Finished

SPEC = InputSpec(labels=LABELS, size=(SIDE, SIDE), output="logits")


def test_the_device_that_is_there_is_taken() -> None:
    """``auto`` takes CUDA where there is one; an unknown name is refused."""
    assert Device("auto").name == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="device: expected auto, cpu, cuda, got 'gpu'"):
        Device("gpu")


def test_weights_are_laid_out_channels_last_and_keep_their_values() -> None:
    """Placing a module changes the order in memory of its convolutions and nothing else."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(4, 2, 3), torch.nn.Linear(2, 2))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    placed = Device("cpu").place(module)
    assert placed[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert placed[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(before[key], value) for key, value in placed.state_dict().items())


@pytest.mark.parametrize(("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_precision_is_that_of_the_forward_pass(precision: str, kind: torch.dtype) -> None:
    """Inside ``autocast`` a convolution computes in the precision asked; its weights stay float32."""
    device, conv = Device("cpu", precision=precision), torch.nn.Conv2d(1, 1, 3)
    with device.autocast():
        assert conv(torch.zeros(1, 1, 4, 4)).dtype == kind
    assert conv.weight.dtype == torch.float32


def test_a_teacher_speaks_in_the_students_order(finished: Finished) -> None:
    """Its answers come as log probabilities in the order of the student's labels."""
    model = str(finished.folder / "model.onnx")
    batch = torch.rand(4, 1, SIDE, SIDE)
    usual = Teacher(model, SPEC).log_probabilities(batch)
    turned = Teacher(model, InputSpec(labels=LABELS[::-1], size=(SIDE, SIDE))).log_probabilities(batch)
    assert torch.equal(usual, turned.flip(1))
    torch.testing.assert_close(usual.exp().sum(dim=1), torch.ones(4))


def test_a_teacher_takes_the_students_view_at_its_own_size(finished: Finished) -> None:
    """Colour becomes luma, and other sizes are resized: a student may see more than its teacher."""
    teacher = Teacher(
        str(finished.folder / "model.onnx"), InputSpec(labels=LABELS, size=(48, 48), channels=3)
    )
    grey = torch.rand(2, 1, 48, 48)
    torch.testing.assert_close(
        teacher.log_probabilities(grey.expand(-1, 3, -1, -1)),
        teacher.log_probabilities(grey),
        atol=1e-5,
        rtol=0,
    )


def test_a_teacher_of_torch_does_not_take_the_students_threads(finished: Finished) -> None:
    """Loading a PyTorch classifier sets its threads to one; training keeps its own."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        Teacher("tiny_networks:labelled", SPEC)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (InputSpec(labels=("a", "b")), r"teacher: its labels are \['dark', 'grey', 'light'\], the data's"),
        (InputSpec(labels=LABELS, layout="NCDHW"), "teacher: one of teacher and student takes volumes"),
    ],
)
def test_a_teacher_of_other_things_is_refused(finished: Finished, spec: InputSpec, says: str) -> None:
    """Other labels, or volumes for images: a wrong call."""
    with pytest.raises(UsageError, match=says):
        Teacher(str(finished.folder / "model.onnx"), spec)


def test_a_teacher_that_does_not_know_says_nothing(finished: Finished, tmp_path: Path) -> None:
    """NaN from a teacher counts as no opinion: every class alike."""
    teacher = Teacher(str(finished.folder / "model.onnx"), SPEC)
    answers = teacher.log_probabilities(torch.full((1, 1, SIDE, SIDE), float("nan")))
    np.testing.assert_allclose(answers.exp().numpy(), 1 / 3, atol=1e-6)
