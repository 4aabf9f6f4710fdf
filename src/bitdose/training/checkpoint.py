"""Checkpoints, written atomically: to a temporary file, synced, then renamed.

``last.pt`` is the complete state for an exact resume, ``best.pt`` the
weights of the best validation F1 so far; ``best`` is always written first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitdose.errors import BitdoseError, UsageError

LAST = "last.pt"
BEST = "best.pt"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file, sync it and rename it; the old file stays until then."""
    beside = path.with_name(f".{path.name}.tmp")  # overwrites remains of a killed run
    try:
        write(beside)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise BitdoseError(f"{path.name}: cannot be written: {error.strerror or error}") from error
    except RuntimeError as error:  # torch's zip writer on a full disk
        raise BitdoseError(f"{path.name}: cannot be written: {str(error).splitlines()[0]}") from error
    finally:
        beside.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file like :func:`write_atomically`."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def save(path: Path, state: dict[str, Any]) -> None:
    """Save tensors and plain values.

    Raises
    ------
    BitdoseError
        If they cannot be written; an earlier file stays unchanged.
    """
    import torch

    write_atomically(path, lambda beside: torch.save(state, beside))


def load(path: Path) -> dict[str, Any]:
    """Load the output of :func:`save` without running code of the file.

    Raises
    ------
    UsageError
        If it is missing or damaged.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors alike
        raise UsageError(
            f"checkpoint {path.name}: missing or damaged ({type(error).__name__}); delete it to restart"
        ) from error
    if not isinstance(state, dict):
        raise UsageError(f"checkpoint {path.name}: expected a mapping, got {type(state).__name__}")
    return state
