"""A small labelled set with patients, networks of a few hundred weights, and one finished run of them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bitdose.cli.app import run

LABELS = ("dark", "grey", "light")
SIDE = 16

NETWORKS = '''
import torch
from torch import nn


def described(net, channels=1, layout="NCHW"):
    net.bitdose_spec = {"input": {"channels": channels, "layout": layout}}
    return net


def net(n_classes=3):
    """Batch norm and dropout: what resume must not forget."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(6, n_classes))
    return described(nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), *head))


def plain(n_classes=3):
    """No batch norm, no dropout."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, n_classes))
    return described(nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.ReLU(), *head))


def volumes(n_classes=3):
    """Takes any number of slices."""
    head = (nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, n_classes))
    return described(nn.Sequential(nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), *head), layout="NCDHW")


class Breaking(nn.Module):
    """A sound network until it has been trained for some batches."""

    def __init__(self, n_classes, what, after=8):
        super().__init__()
        self.inner, self.what, self.after, self.seen = plain(n_classes), what, after, 0
        described(self)

    def forward(self, x):
        y = self.inner(x)
        self.seen += self.training
        if self.seen > self.after:
            if self.what == "loss":
                return y * float("nan")
            if self.what == "gradient":
                y.register_hook(lambda gradient: gradient * float("inf"))
        if self.what == "validation" and not self.training and self.seen >= self.after // 2:
            return y * float("nan")
        return y


def nan_loss(n_classes=3):
    return Breaking(n_classes, "loss")


def inf_gradient(n_classes=3):
    return Breaking(n_classes, "gradient")


def nan_validation(n_classes=3):
    return Breaking(n_classes, "validation")


def no_onnx(n_classes=3):
    """Pools to a size that does not divide the input's, which ONNX does not know."""
    return described(nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9, n_classes)))


def labelled(n_classes=3):
    net = plain(n_classes)
    net.bitdose_spec |= {"labels": ["dark", "grey", "light"], "output": "logits"}
    return net


def flat_norm(n_classes=3):
    """Batch norm over vectors: a batch of one leaves it no spread."""
    flat = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(1), nn.Linear(1, n_classes))
    return described(nn.Sequential(*flat))


def says_probabilities(n_classes=3):
    net = plain(n_classes)
    net.bitdose_spec |= {"output": "probabilities"}
    return net


SEEN = []


class Recording(nn.Module):
    """Keeps what it was shown, and whether it was being trained."""

    def __init__(self, n_classes):
        super().__init__()
        self.inner = plain(n_classes)
        described(self)

    def forward(self, x):
        if not torch.jit.is_tracing():
            SEEN.append((self.training, x.numpy().copy()))
        return self.inner(x)


def recording(n_classes=3):
    return Recording(n_classes)


def one_output(n_classes=3):
    return plain(1)


def sized(n_classes=3):
    net = plain(n_classes)
    net.bitdose_spec = {"input": {"size": [24, 24]}}
    return net
'''

Train = Callable[..., int]


@dataclass(frozen=True)
class Finished:
    """A run that went through, and what it said on the way."""

    folder: Path
    records: list[dict[str, Any]]


def write_image(path: Path, label: str, rng: np.random.Generator, side: int = 32) -> Path:
    """Write a noisy PNG whose mean grey tells its label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mean = 50 + 70 * LABELS.index(label)
    cv2.imwrite(str(path), np.clip(rng.normal(mean, 25, (side, side)), 0, 255).astype(np.uint8))
    return path


def write_table(folder: Path, *, patients: int = 6, images: int = 2, test: int = 3) -> Path:
    """Write images and their table: so many training patients per class, and test patients of one image."""
    rng = np.random.default_rng(3)
    rows = []
    for label in LABELS:
        for split, n, each in (("train", patients, images), ("test", test, 1)):
            for patient in range(n):
                for index in range(each):
                    name = f"images/{split}-{label}-{patient}-{index}.png"
                    write_image(folder / name, label, rng)
                    rows.append((name, label, f"Doe-{split}-{label}-{patient}", split))
    table = folder / "cases.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "patient", "split"), *rows])
    return table


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a table of 36 training images of 18 patients in three classes, and nine test images."""
    return write_table(tmp_path_factory.mktemp("greys"))


@pytest.fixture
def own_table(tmp_path: Path) -> Path:
    """Give a table of one's own, whose files a test may damage."""
    return write_table(tmp_path / "greys")


@pytest.fixture(scope="session", autouse=True)
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the networks to a folder that Python imports from."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "tiny_networks.py").write_text(NETWORKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    sys.modules.pop("tiny_networks", None)


def arguments(data: Path, out: Path, *more: str, network: str = "net") -> list[str]:
    """Give the command line of a short run on one thread."""
    base = ["train", f"tiny_networks:{network}", str(data), "--out", str(out), "--size", str(SIDE)]
    recipe = ["--epochs", "3", "--batch", "8", "--rate", "0.02", "--validation", "0.3", "--threads", "1"]
    return [*base, *recipe, *more]


@pytest.fixture(scope="session")
def train_tiny() -> Train:
    """Give a function that trains through the command line and returns the exit code."""

    def train(data: Path, out: Path, *more: str, network: str = "net") -> int:
        return run(arguments(data, out, *more, network=network))

    return train


@pytest.fixture(scope="session")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Give one finished run with all that resume must not forget; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert run(arguments(table, folder, *FULL)) == 0
    return Finished(folder, history(folder))


FULL = (
    "--ema", "0.5", "--codec-augment", "jpeg:q5", "--codec-augment", "jpeg:q50", "--affine",
    "--accumulate", "2", "--recalibrate", "9",
)  # fmt: skip
CLOCKED = ("validation_s", "cases_per_s", "loader_wait_share")


def history(folder: Path) -> list[dict[str, Any]]:
    """Read a run's epochs, without what the clock says."""
    records = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in CLOCKED} for record in records]
