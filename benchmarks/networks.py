"""The networks of the speed benchmark that are made here: a ResNet-18 and COVID-Next, with drawn weights.

    python benchmarks/networks.py resnet18 --table cases.csv --out networks/

Their speed is that of trained networks, and their answers are compared bit by bit but mean
nothing: weights come from a fixed seed, the statistics of the batch norms and the last layer from a
few images, so that signals neither die nor burst and every class is answered.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bitdose.image import Image
from bitdose.models.prepare import prepare
from bitdose.models.spec import fields_of, merge_spec
from bitdose.training.export import ONNX, WEIGHTS, write_model

LABELS = ("normal", "pneumonia", "covid-19")
FACTORIES = {"resnet18": "networks:resnet18", "covid-next": "bitdose.models.covid_next:CovidNext"}
_SEED = 6
_SPREAD = 0.2  # of the logits: wide enough for every class, small beside what runtimes round off


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, doi:10.1109/CVPR.2016.90)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.downsample = shortcut if stride != 1 or n_in != n_out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, n_in, H, W)`` to ``(N, n_out, H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class ResNet18(nn.Module):
    """ResNet-18 with three classes: 11,178,051 parameters."""

    def __init__(self, n_classes: int = len(LABELS)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, 3, H, W)`` to logits ``(N, n_classes)``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(x.mean((2, 3)))


def resnet18() -> ResNet18:
    """Build the ResNet-18."""
    return ResNet18()


def make(name: str, table: Path, folder: Path) -> Path:
    """Draw a network's weights and write it as ONNX and as a state dict, each with its sidecar.

    Returns
    -------
    pathlib.Path
        The ONNX file; the state dict ``model.pt`` lies beside it.
    """
    from bitdose.models.covid_next import CovidNext, spec_of

    torch.manual_seed(_SEED)
    spec = merge_spec({"network": fields_of(spec_of(LABELS), origin=name)})
    network = CovidNext() if name == "covid-next" else ResNet18()
    images = _images(table, 12)
    _settle(network, torch.from_numpy(np.stack([prepare(image, spec) for image in images])))
    folder.mkdir(parents=True, exist_ok=True)
    write_model(network, spec, folder, images=images[:2])
    return folder / ONNX


def _images(table: Path, n: int) -> list[Image]:
    from bitdose.data.read import read_source

    with table.open(newline="") as file:
        paths = [table.parent / row["path"] for row in csv.DictReader(file)]
    return [read_source(path, color="grey").image for path in paths[:n]]


def _settle(network: Any, batch: torch.Tensor) -> None:
    """Give the batch norms the statistics of a batch, and the last layer small logits of mean 0."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    for norm in norms:
        norm.weight.data.uniform_(0.5, 1.0)  # zero in a fresh network's last norms: blocks would do nothing
        norm.momentum = None  # statistics become the batch's
        norm.reset_running_stats()
    with torch.inference_mode():
        network.train()(batch)
        logits = network.eval()(batch)
        scale = _SPREAD / logits.std(0)
        last.weight *= scale[:, None]
        last.bias.copy_((last.bias - logits.mean(0)) * scale)


def main() -> None:
    """Read the command line and make one network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=list(FACTORIES))
    parser.add_argument("--table", type=Path, required=True, help="CSV of the images for the statistics")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    print(make(args.name, args.table, args.out), WEIGHTS)


if __name__ == "__main__":
    main()
