"""Export of trained weights: ``state_dict``, ONNX file with a check, sidecar."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import BitdoseError
from bitdose.image import Image
from bitdose.models.base import InputSpec
from bitdose.models.onnx import load_onnx
from bitdose.models.prepare import prepare
from bitdose.training import checkpoint

OPSET = 17
TOLERANCE = 1e-4
WEIGHTS, ONNX, CARD = "model.pt", "model.onnx", "model.md"
SIDECARS = {"model.json": "probabilities", "model.pt.json": "logits"}  # file names of ONNX and weights

_EXAMPLE_SLICES = 4
_CHECKED = ((1, 3), (2, 8))


def write_model(module: Any, spec: InputSpec, folder: Path, *, images: Sequence[Image]) -> float:
    """Write weights, ONNX file and sidecar, and compare the ONNX file with the module.

    Parameters
    ----------
    module : torch.nn.Module
        Maps a batch to logits.
    spec : InputSpec
        Input specification; the ONNX file returns probabilities.
    folder : pathlib.Path
        Output folder of ``model.onnx`` with ``model.json``, and ``model.pt`` with ``model.pt.json``.
    images : sequence of Image
        Real cases for the comparison, in addition to noise.

    Returns
    -------
    float
        Largest absolute difference of a probability.

    Raises
    ------
    BitdoseError
        If it is above 1e-4, torch cannot export the module, or a file cannot be written.
    """
    module = module.to("cpu").eval()
    checkpoint.save(folder / WEIGHTS, module.state_dict())
    for name, output in SIDECARS.items():
        checkpoint.write_text_atomically(folder / name, json.dumps(_sidecar(spec, output), indent=2) + "\n")
    checkpoint.write_atomically(folder / ONNX, lambda beside: _export(module, spec, beside))
    difference = largest_difference(module, spec, folder / ONNX, images=images)
    if not difference <= TOLERANCE:
        (folder / ONNX).unlink()  # a file with different outputs must not replace the network
        raise BitdoseError(
            f"{ONNX}: its probabilities differ from PyTorch's by {difference:.1e}, more than {TOLERANCE:g}; "
            f"use {WEIGHTS} instead, and report this"
        )
    return difference


def largest_difference(module: Any, spec: InputSpec, path: Path, *, images: Sequence[Image]) -> float:
    """Return the largest difference of a probability between a module and its ONNX file."""
    import torch

    classifier = load_onnx(path, threads=torch.get_num_threads())
    differences = []
    for batch in _batches(spec, images):
        with torch.inference_mode():
            ours = module(torch.from_numpy(batch)).softmax(dim=1).numpy()
        differences.append(np.abs(ours - classifier.predict(batch)).max())
    return float(np.max(differences))


def _batches(spec: InputSpec, images: Sequence[Image]) -> list[NDArray[np.float32]]:
    """Return real inputs one by one, and noise in batches of other sizes and depths."""
    rng = np.random.default_rng(0)
    side = spec.size or (64, 64)
    real = [prepare(image, spec)[None] for image in images]
    for n, slices in _CHECKED:
        depth = (spec.slices or slices,) if spec.takes_volumes else ()
        real.append(rng.random((n, spec.channels, *depth, *side), np.float32))
    return real


def _export(module: Any, spec: InputSpec, path: Path) -> None:
    import torch

    whole = torch.nn.Sequential(module, torch.nn.Softmax(dim=1)).eval()
    depth = (spec.slices or _EXAMPLE_SLICES,) if spec.takes_volumes else ()
    example = torch.zeros(2, spec.channels, *depth, *(spec.size or (64, 64)))
    axes = {0: "n", 2: "slices"} if spec.takes_volumes and spec.slices is None else {0: "n"}
    with warnings.catch_warnings(), _silent_stdout():
        # The exporter without further dependencies is deprecated.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # checked by the comparison
        try:
            torch.onnx.export(
                whole,
                (example,),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["probabilities"],
                dynamic_axes={"image": axes, "probabilities": {0: "n"}},
            )
        except (torch.onnx.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BitdoseError(
                f"{ONNX}: torch cannot export the network ({reason}); {WEIGHTS} is complete"
            ) from error


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Suppress the graph that torch prints from C++ on a failure."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _sidecar(spec: InputSpec, output: str) -> dict[str, Any]:
    """Return the spec in the sidecar's form."""
    fields = spec.to_dict()
    named = ("size", "slices", "channels", "layout", "range", "mean", "std", "resize")
    inputs = {key: fields[key] for key in named if fields[key] is not None}
    return {"input": inputs, "output": output, "labels": fields["labels"]}
