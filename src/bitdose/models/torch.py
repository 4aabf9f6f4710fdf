"""PyTorch classifiers (extra ``[torch]``): TorchScript files, or a factory with its weights."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bitdose.errors import MissingBackendError, UsageError, argument
from bitdose.hashing import file_digest
from bitdose.models.base import FP32, CallableClassifier, InputSpec, RawModel, identified
from bitdose.models.spec import Fields, fields_of, merge_spec, sidecar_fields
from bitdose.models.weights import load_weights


def load_torchscript(
    path: Path, *, flags: Fields | None = None, threads: int = 1, precision: str = FP32
) -> CallableClassifier:
    """Load a TorchScript file; its spec comes from its sidecar or flags.

    Raises
    ------
    MissingBackendError
        If torch is not installed.
    UsageError
        If the file is no TorchScript module or its spec is incomplete.
    """
    torch = import_torch(threads)
    try:
        with warnings.catch_warnings():
            # Recent torch advises against making TorchScript; reading what exists is the user's choice.
            warnings.filterwarnings("ignore", r".*torch\.jit\.load", DeprecationWarning)
            module = torch.jit.load(str(path), map_location=_device(torch))
        identity = file_digest(path)
    except (OSError, ValueError, RuntimeError) as error:
        message = (
            f"model {path.name}: not a TorchScript module: {str(error).splitlines()[0]}; "
            f"a state_dict goes to {argument('weights')}, beside the {argument('model')} that it belongs to"
        )
        raise UsageError(message) from error
    sources = {"sidecar": sidecar_fields(path), "flags": flags or {}}
    return _classifier(torch, module, (path.stem, identity), sources, precision)


def load_factory(
    target: str,
    *,
    weights: Path | None = None,
    flags: Fields | None = None,
    threads: int = 1,
    precision: str = FP32,
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
    torch = import_torch(threads)
    module = build_module(target)
    if weights is not None:
        load_weights(module, weights)
    identity = _identity(module)
    sources = {
        "metadata": fields_of(getattr(module, "bitdose_spec", {}), origin=f"{target}.bitdose_spec"),
        "sidecar": weights_sidecar(weights) if weights else {},
        "flags": flags or {},
    }
    return _classifier(torch, module, (target, identity), sources, precision)


def load_reference(
    name: str, *, weights: Path, flags: Fields | None = None, threads: int = 1, precision: str = FP32
) -> CallableClassifier:
    """Build one of the paper's networks by name and load its weights.

    Labels and size come from the sidecar beside the weights or from flags, else they are the
    paper's. A torchvision file of the trunk alone is refused: it has no last layer for these
    classes.

    Raises
    ------
    MissingBackendError
        If torch is not installed.
    UsageError
        If the weights do not fit, or sidecar or flags contradict the network.
    """
    torch = import_torch(threads)
    source = importlib.import_module(f"bitdose.models.{name.replace('-', '_')}")
    sidecar, given = weights_sidecar(weights), flags or {}
    labels = tuple(sidecar.get("labels") or given.get("labels") or source.LABELS)
    module = source.network(len(labels))
    load_weights(module, weights)
    own = fields_of(source.spec_of(labels), origin=name)
    if "size" in {**sidecar, **given}:
        del own["size"]
    sources = {"network": own, "sidecar": sidecar, "flags": given}
    return _classifier(torch, module, (name, _identity(module)), sources, precision)


def weights_sidecar(weights: Path) -> Fields:
    """Read ``model.pt.json``, or ``model.json``.

    The second may belong to the ONNX file made of the same weights: what that file puts out is
    not what the network does.
    """
    own = sidecar_fields(weights.with_name(f"{weights.name}.json"))
    if own or not weights.with_suffix(".onnx").is_file():
        return own or sidecar_fields(weights)
    return {key: value for key, value in sidecar_fields(weights).items() if key != "output"}


def _classifier(
    torch: Any, module: Any, known_as: tuple[str, str], sources: dict[str, Fields], precision: str
) -> CallableClassifier:
    """Make a classifier of a module; in bf16 the layers that bear it run in it, the others in fp32."""
    spec, device = merge_spec(sources), _device(torch)
    module = module.to(device).eval()

    def run(batch: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(batch).to(device)).float().cpu().numpy()

    return _in_precision(run, spec, known_as, device=device, precision=precision)


def _in_precision(
    run: RawModel, spec: InputSpec, known_as: tuple[str, str], *, device: str, precision: str
) -> CallableClassifier:
    torch = import_torch()
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # else convolutions are in TF32 under the name of fp32

    def run_in_bf16(batch: Any) -> Any:
        with torch.autocast(device, dtype=torch.bfloat16):
            return run(batch)

    plain = CallableClassifier(run, spec, identified(*known_as), device)
    if precision == FP32:
        return plain
    name = identified(*known_as, precision=precision)
    return CallableClassifier(run_in_bf16, spec, name, device, plain)


def module_classifier(module: Any, flags: Fields, *, precision: str = FP32) -> CallableClassifier:
    """Make a classifier of a module as it stands, on the device where it is.

    It runs in evaluation mode without gradients; each call leaves the module's mode as it was. Its
    identity is its ``state_dict``, its class and what it prints as; a ``bitdose_spec`` of it is read.

    Raises
    ------
    UsageError
        If its spec is incomplete.
    """
    torch = import_torch()
    kind = type(module)
    origin = f"{kind.__name__}.bitdose_spec"
    sources = {"bitdose_spec": fields_of(getattr(module, "bitdose_spec", {}), origin=origin), "input": flags}
    weights = next(iter(module.state_dict().values()), None)
    device = torch.device("cpu") if weights is None else weights.device

    def run(batch: Any) -> Any:
        with _evaluating(module), torch.inference_mode():
            return module(torch.from_numpy(batch).to(device)).float().cpu().numpy()

    state = _state_digest(module)
    state.update(f"{kind.__module__}.{kind.__qualname__}\n{module!r}".encode())
    known_as = (kind.__name__, state.hexdigest())
    spec = merge_spec(sources)
    return _in_precision(run, spec, known_as, device=device.type, precision=precision)


@contextlib.contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own after it."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _state_digest(module: Any) -> hashlib._Hash:
    """Digest a module's weights as they stand; the caller may add to it."""
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state


def _identity(module: Any) -> str:
    """Digest of a module's weights as they stand and of the source file that defines it."""
    state = _state_digest(module)
    with contextlib.suppress(OSError, TypeError):  # built in a session: there is no file
        state.update(Path(inspect.getfile(type(module))).read_bytes())
    return state.hexdigest()


def import_torch(threads: int | None = None) -> Any:
    """Return torch; raises MissingBackendError with the install command where it is absent."""
    try:
        import torch
    except ImportError as error:
        message = f"PyTorch classifiers need torch: pip install 'bitdose[torch]' ({error})"
        raise MissingBackendError(message) from error
    if threads is not None:
        torch.set_num_threads(threads)
    return torch


def _device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def build_module(target: str, **arguments: Any) -> Any:
    """Call ``module:factory`` and return its ``torch.nn.Module``.

    Raises
    ------
    UsageError
        If there is no such factory, it fails, or returns something else.
    """
    torch = import_torch()
    module_name, _, attribute = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a factory beside the user's data, as `python -m` would find it
    try:
        module = getattr(importlib.import_module(module_name), attribute)(**arguments)
    except (Exception, SystemExit) as error:  # the user's code: what it raises is not ours to know
        message = f"model {target!r}: expected module:factory {_called(arguments)}, got {_said(error)}"
        raise UsageError(message) from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"model {target!r}: expected a torch.nn.Module, got {type(module).__name__}")
    return module


def _called(arguments: Mapping[str, Any]) -> str:
    return f"taking {', '.join(arguments)}" if arguments else "without arguments"


def _said(error: BaseException) -> str:
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
