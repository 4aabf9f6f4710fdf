"""Three further architectures for the question whether the paper's picture holds elsewhere.

A small one (inverted residuals), a residual one (ResNet-18) and a transformer behind a few
convolutions. All take grey images of any size, so that each can be trained at several:

    bitdose train training.elsewhere.nets:mobile DATA --size 128

References
----------
Sandler et al. 2018, doi:10.1109/CVPR.2018.00474 (inverted residuals); He et al. 2016,
doi:10.1109/CVPR.2016.90 (ResNet-18); Xiao et al. 2021, arXiv:2106.14881 (convolutions before a
transformer); Chu et al. 2021, arXiv:2102.10882 (position from a depthwise convolution).
"""

from __future__ import annotations

import torch
from torch import nn

SPEC = {"input": {"channels": 1, "layout": "NCHW", "range": [0.0, 1.0], "mean": [0.5], "std": [0.25]}}


def mobile(n_classes: int) -> nn.Module:
    """Build a small network of inverted residuals, 0.2 million parameters."""
    plan = [(16, 24, 2), (24, 24, 1), (24, 40, 2), (40, 40, 1), (40, 80, 2), (80, 80, 1), (80, 112, 2)]
    stem = conv(1, 16, 3, 2)
    blocks = [Inverted(n_in, n_out, stride) for n_in, n_out, stride in plan]
    return finished(nn.Sequential(stem, *blocks, conv(112, 256, 1, 1)), 256, n_classes)


def resnet18(n_classes: int) -> nn.Module:
    """Build ResNet-18 for grey images, 11.2 million parameters."""
    plan = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    plan += [(128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
    stem = nn.Sequential(conv(1, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
    blocks = [Residual(n_in, n_out, stride) for n_in, n_out, stride in plan]
    return finished(nn.Sequential(stem, *blocks), 512, n_classes)


def transformer(n_classes: int) -> nn.Module:
    """Build four convolutions and six transformer layers on 16x16 patches, 3 million parameters."""
    width = 192
    convs = [conv(1, 24, 3, 2), conv(24, 48, 3, 2), conv(48, 96, 3, 2), conv(96, width, 3, 2)]
    return finished(nn.Sequential(*convs, Tokens(width, depth=6, heads=3)), width, n_classes)


class Inverted(nn.Module):
    """Widen, filter each channel, narrow; around a shortcut where the shape stays."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * n_in
        narrow = (nn.Conv2d(wide, n_out, 1, bias=False), nn.BatchNorm2d(n_out))
        self.body = nn.Sequential(conv(n_in, wide, 1, 1), conv(wide, wide, 3, stride, groups=wide), *narrow)
        self.keeps_shape = stride == 1 and n_in == n_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, n_in, H, W)`` to ``(N, n_out, H / stride, W / stride)``."""
        return x + self.body(x) if self.keeps_shape else self.body(x)


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        second = (nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out))
        self.body = nn.Sequential(conv(n_in, n_out, 3, stride), *second)
        nn.init.zeros_(second[1].weight)
        project = (nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.shortcut = nn.Sequential(*project) if stride != 1 or n_in != n_out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, n_in, H, W)`` to ``(N, n_out, H / stride, W / stride)``."""
        return nn.functional.relu(self.body(x) + self.shortcut(x))


class Tokens(nn.Module):
    """Transformer layers over the positions of a feature map; where they lie comes from a convolution."""

    def __init__(self, width: int, *, depth: int, heads: int) -> None:
        super().__init__()
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, width, H, W)`` to the same shape."""
        height, width = x.shape[-2:]
        tokens = (x + self.position(x)).flatten(2).transpose(1, 2)
        return self.layers(tokens).transpose(1, 2).unflatten(2, (height, width))


def conv(n_in: int, n_out: int, kernel: int, stride: int, *, groups: int = 1) -> nn.Sequential:
    """Return convolution, batch norm and ReLU."""
    filters = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(filters.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(filters, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


def finished(trunk: nn.Module, width: int, n_classes: int) -> nn.Module:
    """Add pooling and the linear layer, and say what the network wants to see."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(width, n_classes))
    net = nn.Sequential(trunk, *head)
    net.bitdose_spec = SPEC
    return net
