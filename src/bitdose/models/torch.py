"""PyTorch classifiers (extra ``[torch]``): TorchScript files, or a factory with its weights."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitdose.errors import MissingBackendError, UsageError
from bitdose.hashing import file_digest
from bitdose.models.base import CallableClassifier
from bitdose.models.spec import Fields, fields_of, merge_spec, sidecar_fields


def load_torchscript(path: Path, *, flags: Fields | None = None, threads: int = 1) -> CallableClassifier:
    """Load a TorchScript file; its spec comes from its sidecar or flags.

    Raises
    ------
    MissingBackendError
        If torch is not installed.
    UsageError
        If the file is no TorchScript module or its spec is incomplete.
    """
    torch = _torch(threads)
    try:
        with warnings.catch_warnings():
            # Recent torch advises against making TorchScript; reading what exists is the user's choice.
            warnings.filterwarnings("ignore", r".*torch\.jit\.load", DeprecationWarning)
            module = torch.jit.load(str(path), map_location=_device(torch))
        name = f"{path.stem}@{file_digest(path)[:12]}"
    except (OSError, ValueError, RuntimeError) as error:
        message = f"model {path.name}: not a TorchScript module: {str(error).splitlines()[0]}"
        raise UsageError(message) from error
    sources = {"sidecar": sidecar_fields(path), "flags": flags or {}}
    return _classifier(torch, module, name, sources)


def load_factory(
    target: str, *, weights: Path | None = None, flags: Fields | None = None, threads: int = 1
) -> CallableClassifier:
    """Build ``module:factory`` and load its weights.

    The factory takes no argument and returns a ``torch.nn.Module``; an attribute
    ``bitdose_spec`` of that module, in the sidecar's form, is its metadata. Weights are a
    ``state_dict`` saved by ``torch.save``, read without unpickling code.

    Raises
    ------
    MissingBackendError
        If torch is not installed.
    UsageError
        If the factory or the weights do not load, or the spec is incomplete.
    """
    torch = _torch(threads)
    module = _build(torch, target)
    if weights is not None:
        _load_weights(torch, module, weights)
    identity = _identity(module)
    sources = {
        "metadata": fields_of(getattr(module, "bitdose_spec", {}), origin=f"{target}.bitdose_spec"),
        "sidecar": sidecar_fields(weights) if weights else {},
        "flags": flags or {},
    }
    return _classifier(torch, module, f"{target}@{identity[:12]}", sources)


def _classifier(torch: Any, module: Any, name: str, sources: dict[str, Fields]) -> CallableClassifier:
    spec, device = merge_spec(sources), _device(torch)
    module = module.to(device).eval()

    def run(batch: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(batch).to(device)).float().cpu().numpy()

    return CallableClassifier(run, spec, name, device)


def _identity(module: Any) -> str:
    """Digest of a module's weights as they stand and of the source file that defines it."""
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    with contextlib.suppress(OSError, TypeError):  # built in a session: there is no file
        state.update(Path(inspect.getfile(type(module))).read_bytes())
    return state.hexdigest()


def _torch(threads: int) -> Any:
    try:
        import torch
    except ImportError as error:
        message = f"PyTorch classifiers need torch: pip install 'bitdose[torch]' ({error})"
        raise MissingBackendError(message) from error
    torch.set_num_threads(threads)
    return torch


def _device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _build(torch: Any, target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a factory beside the user's data, as `python -m` would find it
    try:
        module = getattr(importlib.import_module(module_name), attribute)()
    except (Exception, SystemExit) as error:  # the user's code: what it raises is not ours to know
        message = f"model {target!r}: expected module:factory without arguments, got {_said(error)}"
        raise UsageError(message) from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"model {target!r}: expected a torch.nn.Module, got {type(module).__name__}")
    return module


def _said(error: BaseException) -> str:
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _load_weights(torch: Any, module: Any, weights: Path) -> None:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"weights {weights}: {error.strerror}") from error
    except Exception as error:  # torch raises pickle, zip and runtime errors alike
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"weights {weights.name}: not a state_dict saved by torch: {first_line}") from error
    if not isinstance(state, Mapping):
        raise UsageError(f"weights {weights.name}: expected a state_dict, got {type(state).__name__}")
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        mismatch = _mismatch(state, module.state_dict()) or str(error).splitlines()[0]
        raise UsageError(f"weights {weights.name}: do not fit the model: {mismatch}") from error


def _mismatch(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the first key in which weights and model differ; empty where they do not."""
    for key, tensor in wanted.items():
        if key not in state:
            return f"{key!r} is missing; the file begins with {next(iter(state), None)!r}"
        came, expected = getattr(state[key], "shape", None), getattr(tensor, "shape", None)
        if came != expected:
            return f"{key!r}: expected shape {_shape(expected)}, got {_shape(came)}"
    extra = next((key for key in state if key not in wanted), None)
    return f"the model has no {extra!r}" if extra is not None else ""


def _shape(shape: Any) -> Any:
    return None if shape is None else tuple(shape)
