"""The brain-tumour net: ResNet mixed convolution on one-channel volumes (extra ``[torch]``).

torchvision's ``mc3_18`` with its key names: a stem over three slices, a first stage of 3x3x3
convolutions and three stages of 1x3x3, so that the number of slices L never shrinks before
the pooling and may be any. Nothing is downloaded.

Choices where the papers and the public code differ, or where the code errs:

- the stem takes one channel; a three-channel stem of torchvision's file is summed over its
  channels, which gives grey frames the response they had;
- Dropout 0.5 before the linear layer, off in evaluation mode;
- every slice is resized to one size, L stays; intensities go to [0, 1] with the volume's
  own bit depth, as for all classifiers here.

11,472,963 parameters with one channel and three classes.

References
----------
Chatterjee et al. 2022, doi:10.1038/s41598-022-05572-6; Tran et al. 2018,
doi:10.1109/CVPR.2018.00675 (mixed convolution).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bitdose.models.weights import Trunk, shape_of

LABELS = ("healthy", "LGG", "HGG")
SIDE = 256
PARAMETERS = 11_472_963
CLASS_WEIGHTS = {"healthy": 1.0, "LGG": 3.54, "HGG": 1.0}

_DROPOUT = 0.5
_STEM_WEIGHT = "stem.0.weight"


class MixedBlock(nn.Module):
    """Two 3D convolutions around a shortcut; ``depth`` 3 sees neighbouring slices, 1 does not."""

    def __init__(self, n_in: int, n_out: int, *, depth: int, stride: int) -> None:
        super().__init__()
        first = (_conv(n_in, n_out, depth, stride), nn.BatchNorm3d(n_out), nn.ReLU(inplace=True))
        self.conv1 = nn.Sequential(*first)
        self.conv2 = nn.Sequential(_conv(n_out, n_out, depth, 1), nn.BatchNorm3d(n_out))
        self.relu = nn.ReLU(inplace=True)
        steps = (1, stride, stride)
        shortcut = nn.Sequential(nn.Conv3d(n_in, n_out, 1, steps, bias=False), nn.BatchNorm3d(n_out))
        self.downsample = shortcut if stride != 1 or n_in != n_out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, n_in, L, H, W)`` to ``(N, n_out, L, H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + shortcut)


class MixedConvNet(nn.Module):
    """``mc3_18`` without weights: ``(N, channels, L, H, W)`` to logits ``(N, n_classes)``.

    Parameters
    ----------
    n_classes : int
        Number of logits.
    channels : int
        1, or 3 for torchvision's own.

    Examples
    --------
    >>> sum(weights.numel() for weights in MixedConvNet().parameters())
    11472963
    """

    def __init__(self, n_classes: int = len(LABELS), *, channels: int = 1) -> None:
        super().__init__()
        conv = nn.Conv3d(channels, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm3d(64), nn.ReLU(inplace=True))
        self.layer1 = _stage(64, 64, depth=3, stride=1)
        self.layer2 = _stage(64, 128, depth=1, stride=2)
        self.layer3 = _stage(128, 256, depth=1, stride=2)
        self.layer4 = _stage(256, 512, depth=1, stride=2)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(_DROPOUT)
        self.fc = nn.Linear(512, n_classes)
        _initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch of any size and any number of slices."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))


def network(n_classes: int) -> MixedConvNet:
    """Build the network with fresh weights for so many classes."""
    return MixedConvNet(n_classes)


def spec_of(labels: tuple[str, ...], *, side: int = SIDE) -> dict[str, Any]:
    """Return the input spec in the sidecar's form."""
    inputs = {"size": [side, side], "channels": 1, "layout": "NCDHW", "range": [0.0, 1.0]}
    constants = {"mean": [0.0], "std": [1.0], "resize": "bilinear"}
    return {"input": inputs | constants, "output": "logits", "labels": list(labels)}


def is_trunk(state: Mapping[str, Any]) -> bool:
    """Whether a ``state_dict`` has a video net's three-channel stem, or a last layer of 400 actions."""
    colour = shape_of(state, _STEM_WEIGHT)[1:2] == (3,)
    return colour or shape_of(state, "fc.weight")[:1] == (400,)


def from_trunk(state: Mapping[str, Any]) -> dict[str, Any]:
    """Take a video net's weights over: its stem summed over the channels, its last layer left out."""
    kept = {key: value for key, value in state.items() if not key.startswith("fc.")}
    if shape_of(kept, _STEM_WEIGHT)[1:2] == (3,):
        kept[_STEM_WEIGHT] = kept[_STEM_WEIGHT].sum(dim=1, keepdim=True)
    return kept


TRUNK = Trunk(is_trunk, from_trunk, head=("fc.",))


def _stage(n_in: int, n_out: int, *, depth: int, stride: int) -> nn.Sequential:
    first = MixedBlock(n_in, n_out, depth=depth, stride=stride)
    return nn.Sequential(first, MixedBlock(n_out, n_out, depth=depth, stride=1))


def _conv(n_in: int, n_out: int, depth: int, stride: int) -> nn.Conv3d:
    kernel, padding = (depth, 3, 3), (depth // 2, 1, 1)
    return nn.Conv3d(n_in, n_out, kernel, (1, stride, stride), padding, bias=False)


def _initialise(net: nn.Module) -> None:
    """Draw the weights as torchvision's video nets do."""
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
