"""``bitdose codecs|points|models``: available and missing parts, with install commands."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def codecs(as_json: AsJson = False) -> None:
    """List the codecs: quality, options, abilities, library builds; and whether the native loops are built.

    Example: bitdose codecs
    """
    from bitdose.cli.spelling import spelled
    from bitdose.codecs.base import CODECS
    from bitdose.errors import BitdoseError
    from bitdose.native.library import state

    native = state()
    rows: list[dict[str, Any]] = []
    for name in CODECS.names():
        row: dict[str, Any] = {"codec": name, "target": CODECS.targets[name], "native": native.to_dict()}
        try:
            codec = CODECS.get(name)
            ranges = [f"{k.text(k.low)}..{k.text(k.high)} ({k.meaning})" for k in codec.quality_parameters]
            row |= {"quality": ranges, "options": list(codec.option_names), "max_bits": codec.max_bits}
            row |= {"library": codec.library(), "available": True} | _abilities(codec)
        except BitdoseError as error:
            row |= {"available": False, "reason": spelled(error)}
        rows.append(row)
    _print(rows, as_json, _codec_line)
    if not as_json:
        typer.echo(native.line())


def points(
    which: Annotated[str, typer.Argument(help="Preset, point, list or range.")] = "paper",
    as_json: AsJson = False,
) -> None:
    """Expand a preset, list or range to its points.

    Example: bitdose points jpeg:q10..90/10@256
    """
    from bitdose.codecs.grid import expand_points

    rows = [{"point": str(point), "chain": point.chain} for point in expand_points(which)]
    _print(rows, as_json, lambda row: row["point"])


def models(as_json: AsJson = False) -> None:
    """List the shipped models and the runtimes for your own.

    Example: bitdose models
    """
    from importlib.util import find_spec

    from bitdose.models.load import SHIPPED

    rows: list[dict[str, Any]] = [
        {"model": name, "what": "shipped classifier of phantoms, for the demo only", "available": True}
        for name in SHIPPED
    ]
    rows.append({"model": "FILE.onnx", "what": "ONNX through onnxruntime", "available": True})
    openvino = find_spec("openvino") is not None
    how = {} if openvino else {"reason": "pip install 'bitdose[openvino]'"}
    rows.append(
        {"model": "FILE.onnx", "what": "through OpenVINO: --runtime openvino", "available": openvino} | how
    )
    torch = find_spec("torch") is not None
    with_torch = {
        "covid-next": "the paper's chest X-ray network, with --weights from 'bitdose train'",
        "brain-tumor": "the paper's brain MRI network, with --weights from 'bitdose train'",
        "FILE.pt | module:factory": "PyTorch: TorchScript, or module:factory with --weights",
    }
    reason = {} if torch else {"reason": "pip install 'bitdose[torch]'"}
    rows += [{"model": name, "what": what, "available": torch} | reason for name, what in with_torch.items()]
    _print(rows, as_json, _model_line)


def _abilities(codec: Any) -> dict[str, Any]:
    """Say where a codec's streams can go."""
    syntax = getattr(codec, "dicom", None)
    return {
        "title": getattr(codec, "title", ""),
        "service": hasattr(codec, "too_strong"),
        "dicom": syntax.uid if syntax else "",
        "browser": hasattr(codec, "browser"),
    }


def _codec_line(row: dict[str, Any]) -> str:
    if not row["available"]:
        return f"{row['codec']:<10} missing: {row['reason']}"
    options = f"; options: {', '.join(row['options'])}" if row["options"] else ""
    ranges = ", ".join(row["quality"])
    places = [word for word in ("service", "dicom", "browser") if row[word]]
    taken = f"; taken by: {', '.join(places)}" if places else ""
    return f"{row['codec']:<10} {ranges}{options}; up to {row['max_bits']} bits{taken}; {row['library']}"


def _model_line(row: dict[str, Any]) -> str:
    missing = "" if row["available"] else f" (missing: {row['reason']})"
    return f"{row['model']:<26} {row['what']}{missing}"


def _print(rows: list[dict[str, Any]], as_json: bool, line: Any) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(line(row))
