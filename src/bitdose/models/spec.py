"""Find a model's input spec: its own metadata first, then its sidecar file, then flags.

What the model states about itself stands; a sidecar or flag fills in what is missing. One
that contradicts an earlier source is an error, since a wrong mean or label order would
spoil a study without a sign.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitdose.errors import UsageError, argument
from bitdose.models.base import InputSpec

_INPUT_KEYS = ("size", "slices", "channels", "layout", "range", "mean", "std", "resize")
_TOP_KEYS = ("output", "labels", "threshold")
_FP32_KEY = "fp32"
Fields = dict[str, Any]


class LabelsMissingError(UsageError):
    """Neither the model nor its user says what its outputs stand for."""


def merge_spec(sources: Mapping[str, Fields]) -> InputSpec:
    """Merge sources, first to last, into a spec.

    Parameters
    ----------
    sources : mapping of str to dict
        Name of each source (for messages) and the fields it states.

    Raises
    ------
    UsageError
        If two sources contradict each other, or no source gives the labels.

    Examples
    --------
    >>> merge_spec({"metadata": {"labels": ["a", "b"]}, "flags": {"channels": 3}}).channels
    3
    """
    merged: Fields = {}
    origin: dict[str, str] = {}
    for name, fields in sources.items():
        for key, given in fields.items():
            value = _frozen(given)
            if key in merged and merged[key] != value:
                raise UsageError(
                    f"model input spec: {key} is {_shown(merged[key])} in the model's {origin[key]} "
                    f"but {_shown(value)} in its {name}; correct one of them"
                )
            merged[key] = value
            origin.setdefault(key, name)
    if "labels" not in merged:
        raise LabelsMissingError(
            "model: labels are missing: give them in the model's metadata, in a sidecar "
            f'MODEL.json ({{"labels": [...]}}) or with {argument("labels", ["a", "b", "c"])}'
        )
    try:
        return InputSpec(**merged)
    except TypeError as error:
        raise UsageError(f"model input spec: {error}") from error


def fields_of(document: object, *, origin: str) -> Fields:
    """Take the spec's fields out of a sidecar document; unknown keys are an error that names them.

    The document's form is ``{"input": {...}, "output": ..., "labels": [...], "threshold": ...}``;
    further keys are the model's own notes, save those that look like one of these gone astray.
    """
    if not isinstance(document, dict):
        raise UsageError(f"{origin}: expected a JSON object, got {type(document).__name__}")
    inputs = document.get("input", {})
    if not isinstance(inputs, dict):
        raise UsageError(f"{origin}: 'input': expected an object, got {type(inputs).__name__}")
    unknown = [key for key in inputs if key not in _INPUT_KEYS]
    if unknown:
        known = ", ".join(_INPUT_KEYS)
        raise UsageError(f"{origin}: unknown input keys {', '.join(unknown)}; known: {known}")
    for key in document:
        _check_note(key, origin)
    top = {key: document[key] for key in _TOP_KEYS if document.get(key) is not None}
    return {**inputs, **top}


def sidecar_fields(model: Path) -> Fields:
    """Read ``<model>.json`` or ``<model file>.json`` beside the model; empty if there is none."""
    name, document = _sidecar(model)
    return fields_of(document, origin=f"sidecar {name}") if name else {}


def fp32_file(model: Path, metadata: Mapping[str, str]) -> Path | None:
    """Return the file of the same network in fp32, which a quantised one names by ``fp32``; None for others.

    Raises
    ------
    UsageError
        If what is named is no file beside the model.
    """
    named = metadata.get(_FP32_KEY) or _sidecar(model)[1].get(_FP32_KEY)
    if named is None:
        return None
    found = model.with_name(Path(str(named)).name)
    if str(named) != found.name or found == model or not found.is_file():
        raise UsageError(f"model {model.name}: fp32: expected the name of a file beside it, got {named!r}")
    return found


def metadata_fields(metadata: Mapping[str, str]) -> Fields:
    """Take the spec's fields out of ONNX metadata, where each key holds JSON (or plain text)."""
    document = {key: _json_or_text(metadata[key]) for key in ("input", *_TOP_KEYS) if key in metadata}
    return fields_of(document, origin="model metadata")


def _sidecar(model: Path) -> tuple[str, Any]:
    """Return the sidecar's name and document; no name and nothing in it where there is none."""
    for path in (model.with_suffix(".json"), model.with_name(model.name + ".json")):
        if path.is_file():
            try:
                return path.name, json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise UsageError(f"sidecar {path.name}: not readable as JSON: {error}") from error
    return "", {}


def _check_note(key: str, origin: str) -> None:
    """Refuse a top-level key that was meant for the spec: it would be passed over without a sign."""
    if key in _INPUT_KEYS:
        raise UsageError(f"{origin}: {key!r} belongs inside 'input'")
    close = difflib.get_close_matches(key, ("input", *_TOP_KEYS), n=1, cutoff=0.8)
    if close and close[0] != key:
        raise UsageError(f"{origin}: unknown key {key!r}: did you mean {close[0]!r}?")


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
