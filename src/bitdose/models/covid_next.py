"""COVID-Next: a ResNeXt-50 32x4d trunk with a final block, for chest X-rays (extra ``[torch]``).

Built here with the key names of the public checkpoint (``block0`` to ``block4``,
``backbone_end``, ``logits``), so that its ``state_dict`` loads as it is; torchvision's
ResNeXt-50 file starts the trunk. Nothing is downloaded.

Choices where the paper and the public code differ, or where the code errs:

- cardinality 32 and width 4; the paper's "34x4d" is a slip: the counts below settle it;
- the pooled features are flattened, not squeezed, so a batch of one works;
- three channels in [0, 1] without mean and std, 256x256 by Pillow's bilinear kernel.

37,665,603 parameters: trunk 22,979,904, final block 14,684,160, linear layer 1,539.

References
----------
github.com/velebit-ai/COVID-Next-Pytorch (MIT licence);
Xie et al. 2017, doi:10.1109/CVPR.2017.634 (ResNeXt).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bitdose.models.weights import Trunk

LABELS = ("normal", "pneumonia", "covid-19")
SIDE = 256
PARAMETERS = 37_665_603
CLASS_WEIGHTS = {"normal": 0.05, "pneumonia": 0.05, "covid-19": 1.0}

_GROUPS = 32
_SLOPE = 0.1
_TRUNK_STEM = {"conv1": "block0.module.0", "bn1": "block0.module.1"}
_TRUNK_STAGES = {f"layer{index}": f"block{index}.module" for index in (1, 2, 3, 4)}


class Bottleneck(nn.Module):
    """1x1, grouped 3x3, 1x1 convolutions around a shortcut.

    Parameters
    ----------
    n_in, width, n_out : int
        Channels before, inside and after.
    stride : int
        Of the grouped convolution.
    project : bool
        Whether the shortcut is a 1x1 convolution rather than the input itself.
    """

    def __init__(self, n_in: int, width: int, n_out: int, *, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=_GROUPS, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.downsample = shortcut if project else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, n_in, H, W)`` to ``(N, n_out, H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + shortcut)


class Wrapped(nn.Module):
    """One module under the name ``module``, as the public checkpoint's keys have it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module."""
        return self.module(x)


class CovidNext(nn.Module):
    """COVID-Next without weights: ``(N, 3, H, W)`` in [0, 1] to logits ``(N, n_classes)``.

    Parameters
    ----------
    n_classes : int
        Number of logits; the public net has 3.

    Examples
    --------
    >>> net = CovidNext()
    >>> sum(weights.numel() for weights in net.parameters())
    37665603
    """

    def __init__(self, n_classes: int = len(LABELS)) -> None:
        super().__init__()
        stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        self.block0 = Wrapped(nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1)))
        self.block1 = Wrapped(_stage(64, 128, 256, n_blocks=3, stride=1))
        self.block2 = Wrapped(_stage(256, 256, 512, n_blocks=4, stride=2))
        self.block3 = Wrapped(_stage(512, 512, 1024, n_blocks=6, stride=2))
        self.block4 = Wrapped(_stage(1024, 1024, 2048, n_blocks=3, stride=2))
        final = (_conv_block(2048, 512, 3), _conv_block(512, 1024, 1), _conv_block(1024, 512, 3))
        self.backbone_end = Wrapped(nn.Sequential(*final))
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.logits = Wrapped(nn.Linear(512, n_classes))
        _initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch of any size, one included."""
        for block in (self.block0, self.block1, self.block2, self.block3, self.block4):
            x = block(x)
        return self.logits(self.avg_pool(self.backbone_end(x)).flatten(1))


def network(n_classes: int) -> CovidNext:
    """Build the network with fresh weights for so many classes."""
    return CovidNext(n_classes)


def spec_of(labels: tuple[str, ...], *, side: int = SIDE) -> dict[str, Any]:
    """Return the input spec in the sidecar's form."""
    inputs = {"size": [side, side], "channels": 3, "layout": "NCHW", "range": [0.0, 1.0]}
    constants = {"mean": [0.0], "std": [1.0], "resize": "bilinear"}
    return {"input": inputs | constants, "output": "logits", "labels": list(labels)}


def is_trunk(state: Mapping[str, Any]) -> bool:
    """Whether a ``state_dict`` has torchvision's key names of a ResNet or ResNeXt."""
    return "conv1.weight" in state and "layer1.0.conv1.weight" in state


def from_trunk(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename torchvision's ResNeXt-50 keys to ours; its last linear layer is left out.

    Examples
    --------
    >>> list(from_trunk({"conv1.weight": 0, "layer2.0.bn1.bias": 1, "fc.bias": 2}))
    ['block0.module.0.weight', 'block2.module.0.bn1.bias']
    """
    names = _TRUNK_STEM | _TRUNK_STAGES
    parts = {key: key.partition(".") for key in state}
    return {f"{names[head]}.{rest}": state[key] for key, (head, _, rest) in parts.items() if head in names}


TRUNK = Trunk(is_trunk, from_trunk, head=("backbone_end.", "logits."))


def _stage(n_in: int, width: int, n_out: int, *, n_blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(n_in, width, n_out, stride=stride, project=True)
    rest = (Bottleneck(n_out, width, n_out, stride=1, project=False) for _ in range(n_blocks - 1))
    return nn.Sequential(first, *rest)


def _conv_block(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.LeakyReLU(_SLOPE, inplace=True))


def _initialise(net: nn.Module) -> None:
    """Draw convolutions as He et al. 2015 do (fan out), and let each block begin as its shortcut.

    Zero weights in the last batch norm of a block (Goyal et al. 2017, arXiv:1706.02677) make
    training from scratch on a few hundred images start at all.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
