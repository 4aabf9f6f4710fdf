"""Trainable networks: the paper's two by name, any other by ``module:factory``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bitdose.errors import UsageError, argument
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.models.load import REFERENCE, probe
from bitdose.models.spec import fields_of, merge_spec
from bitdose.models.torch import build_module, import_torch
from bitdose.models.weights import Trunk


@dataclass(frozen=True)
class Network:
    """An untrained network and its input specification.

    Parameters
    ----------
    module : torch.nn.Module
        Maps a batch to logits ``(N, len(labels))``.
    spec : InputSpec
        Input specification, with labels in the order of the logits.
    paper_weights : mapping of str to float
        Published class weights; empty if none.
    trunk : Trunk or None
        Network whose weights can initialise it.
    """

    module: Any
    spec: InputSpec
    paper_weights: Mapping[str, float] = field(default_factory=dict)
    trunk: Trunk | None = None


def build_network(name: str, labels: tuple[str, ...], *, size: int) -> Network:
    """Build a network with fresh weights for a set's labels.

    Parameters
    ----------
    name : str
        ``covid-next``, ``brain-tumor``, or ``module:factory``; the factory takes
        ``n_classes`` and returns a ``torch.nn.Module`` that returns logits; its ``bitdose_spec``
        may state the rest of the input specification (labels and size are filled in here).
    labels : tuple of str
        Labels of the set, in the published order if they are the published ones.
    size : int
        Side of the input.

    Raises
    ------
    MissingBackendError
        If torch is not installed.
    UsageError
        If the network is unknown, states another size, rejects inputs of its spec, or does not
        return one logit per label.
    """
    import_torch()
    if name in REFERENCE:
        return _reference(name, labels, size)
    if ":" not in name:
        raise UsageError(f"network {name!r}: expected {', '.join(REFERENCE)} or module:factory")
    module = build_module(name, n_classes=len(labels))
    fields = fields_of(getattr(module, "bitdose_spec", {}), origin=f"{name}.bitdose_spec")
    ours = {"labels": labels, "size": (size, size), "output": "logits"}
    if tuple(fields.get("size", ours["size"])) != ours["size"]:
        raise UsageError(f"{argument('size', size)}: {name} states {list(fields['size'])} as its size")
    if fields.get("output", "logits") != "logits":
        raise UsageError(f"network {name}: states {fields['output']!r} as its output; training needs logits")
    spec = merge_spec({"model": {key: value for key, value in fields.items() if key != "threshold"} | ours})
    _probe(module, spec)
    return Network(module, spec)


def _reference(name: str, labels: tuple[str, ...], size: int) -> Network:
    source = importlib.import_module(f"bitdose.models.{name.replace('-', '_')}")
    ordered = source.LABELS if set(labels) == set(source.LABELS) else labels
    fields = fields_of(source.spec_of(ordered, side=size), origin=name)
    return Network(
        source.network(len(ordered)),
        merge_spec({"model": fields}),
        source.CLASS_WEIGHTS,
        source.TRUNK,
    )


def _probe(module: Any, spec: InputSpec) -> None:
    """Run the module on a blank input in evaluation mode, to detect wrong shapes before training."""
    import torch

    def run(batch: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(batch)).numpy()

    module.eval()
    probe(CallableClassifier(run, spec))
    module.train()
