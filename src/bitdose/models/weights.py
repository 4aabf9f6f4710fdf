"""Weights from files: a ``state_dict`` saved by torch, read without running any code of it.

A file may hold the ``state_dict`` itself or a checkpoint with it under ``state_dict``, and may
carry the ``module.`` prefix of ``DataParallel``. Keys and shapes must then be the network's; the
first one that is not is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitdose.errors import UsageError

State = Mapping[str, Any]

_PARALLEL = "module."
_CHECKPOINT_KEY = "state_dict"


@dataclass(frozen=True)
class Trunk:
    """Another network whose weights can start one of ours.

    Parameters
    ----------
    recognises : callable
        Whether a ``state_dict`` is that network's.
    renamed : callable
        Its ``state_dict`` with our key names, without what has no place in ours.
    head : tuple of str
        How the keys begin that only ours has: they keep their fresh weights.
    """

    recognises: Callable[[State], bool]
    renamed: Callable[[State], dict[str, Any]]
    head: tuple[str, ...]


def read_state(path: Path) -> dict[str, Any]:
    """Read a ``state_dict`` file.

    Raises
    ------
    UsageError
        If the file is not there or holds something else.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"weights {path}: {error.strerror}") from error
    except Exception as error:  # torch raises pickle, zip and runtime errors alike
        kind = type(error).__name__
        raise UsageError(f"weights {path.name}: not a state_dict saved by torch.save ({kind})") from error
    if isinstance(state, Mapping) and isinstance(state.get(_CHECKPOINT_KEY), Mapping):
        state = state[_CHECKPOINT_KEY]
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise UsageError(f"weights {path.name}: expected a state_dict, got {type(state).__name__}")
    return dict(state)


def load_weights(module: Any, path: Path) -> None:
    """Load a whole network's weights.

    Raises
    ------
    UsageError
        If a key is missing, has another shape, or is not the network's: the first is named.
    """
    state = without_prefix(read_state(path), module.state_dict())
    _load(module, state, path)


def load_start(module: Any, path: Path, trunk: Trunk | None) -> None:
    """Load weights to start training from: the network's own, or those of its trunk.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    path : pathlib.Path
        A ``state_dict`` file.
    trunk : Trunk or None
        The other network that may be in it.

    Raises
    ------
    UsageError
        If the file does not fit; the first mismatching key is named.
    """
    own = module.state_dict()
    state = without_prefix(read_state(path), own)
    if trunk is not None and trunk.recognises(state):
        fresh = {key: value for key, value in own.items() if key.startswith(trunk.head)}
        state = fresh | trunk.renamed(state)
    _load(module, state, path)


def without_prefix(state: State, wanted: State) -> dict[str, Any]:
    """Strip ``DataParallel``'s prefix if every key has it and the network's do not."""
    parallel = bool(state) and all(key.startswith(_PARALLEL) for key in state)
    if parallel and not all(key.startswith(_PARALLEL) for key in wanted):
        return {key.removeprefix(_PARALLEL): value for key, value in state.items()}
    return dict(state)


def shape_of(state: State, key: str) -> tuple[int, ...]:
    """Return the shape of one tensor of a ``state_dict``; empty where there is none."""
    return tuple(getattr(state.get(key), "shape", ()))


def mismatch(state: State, wanted: State) -> str:
    """Name the first key in which weights and network differ; empty where they do not."""
    for key, tensor in wanted.items():
        if key not in state:
            return f"{key!r} is missing; the file begins with {next(iter(state), None)!r}"
        came, expected = getattr(state[key], "shape", None), getattr(tensor, "shape", None)
        if came != expected:
            return f"{key!r}: expected shape {_shape(expected)}, got {_shape(came)}"
    extra = next((key for key in state if key not in wanted), None)
    return f"the model has no {extra!r}" if extra is not None else ""


def _load(module: Any, state: State, path: Path) -> None:
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        difference = mismatch(state, module.state_dict()) or str(error).splitlines()[0]
        raise UsageError(f"weights {path.name}: do not fit the model: {difference}") from error


def _shape(shape: Any) -> Any:
    return None if shape is None else tuple(shape)
