"""Downsizing before coding and interpolation after decoding: what stands behind the ``@`` of a point."""

from __future__ import annotations

from dataclasses import dataclass

from bitdose.resample.kernels import KERNELS

DEFAULT_KERNEL = "lanczos4"
NO_KERNEL = "none"


@dataclass(frozen=True)
class Resize:
    """Downsizing before coding and what follows decoding.

    Parameters
    ----------
    width, height : int
        Samples after downsizing; the aspect ratio is not kept (the paper's scheme).
    down, up : str
        Kernels of ``resample.py``; ``up`` may be ``none``: no interpolation back.
    """

    width: int
    height: int
    down: str = DEFAULT_KERNEL
    up: str = DEFAULT_KERNEL

    def __str__(self) -> str:
        """Write it as a point does, without the ``@``."""
        size = f"{self.width}" if self.width == self.height else f"{self.width}x{self.height}"
        if self.up != DEFAULT_KERNEL:
            return f"{size}:{self.down}:{self.up}"
        return size if self.down == DEFAULT_KERNEL else f"{size}:{self.down}"


def kernel_names(resize: Resize | None) -> str:
    """Name library and kernel of both ways; empty at full size."""
    if resize is None:
        return ""
    names = [k if k == NO_KERNEL else f"{KERNELS[k].library}:{k}" for k in (resize.down, resize.up)]
    return " > ".join(names)
