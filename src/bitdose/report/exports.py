"""Results in the layouts of other people's tools."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitdose.report.atomic import write_atomic
from bitdose.results.summary import PointSummary, Summary
from bitdose.stats.estimate import Estimate

COMPRESSAI = "exports/compressai"
_NOT_IN_FILES = re.compile(r"[^\w.-]")
_MS = 1000


def write_compressai_json(out: Path, summary: Summary) -> tuple[Path, ...]:
    """Write one JSON file per chain, in the layout of CompressAI's benchmark results.

    Parameters
    ----------
    out : pathlib.Path
        The run folder; the files go to ``exports/compressai/<chain>.json``.
    summary : Summary
        The study.

    Returns
    -------
    tuple of pathlib.Path
        In the order of the chains.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    names = _file_names(list(summary.chains()))
    return tuple(
        write_atomic(out / COMPRESSAI / f"{name}.json", _text(data))
        for name, data in zip(names, compressai(summary), strict=True)
    )


def compressai(summary: Summary) -> list[dict[str, Any]]:
    """Return each chain as CompressAI's benchmark writes a codec.

    ``name``, ``description`` and ``results``, a list per quantity with an entry per point, weakest
    compression first. As in the results that CompressAI publishes (``results/image`` of its repository):
    ``bpp``, ``psnr-rgb`` in dB, ``encoding_time`` and ``decoding_time`` in seconds. Added are ``ssim``,
    the task's ``accuracy`` and ``macro_f1`` with ``_lower`` and ``_upper`` limits, ``ratio_file`` and
    ``point``. Undefined and infinite numbers are null.

    What differs from theirs: ``bpp`` is total bits over total pixels, not the mean of the images'
    own; times are medians, not means, leave file access out, and are a study's, which makes and decodes
    a chain's JPEG 2000 streams together (``encode_ms`` in the results): alone each takes longer;
    ``psnr-rgb`` is over all samples of the image as it is, grey or colour, at its own bit depth. There
    is no ``ms-ssim-rgb``, which is not measured here. Their plotting tool takes ``name``, ``bpp`` and
    the one metric asked for; that was read in its code, not run.

    References
    ----------
    Bégaint et al. 2020, "CompressAI", arXiv 2011.03029.
    """
    return [_chain(name, points, summary) for name, points in summary.chains().items()]


def _chain(name: str, points: Sequence[PointSummary], summary: Summary) -> dict[str, Any]:
    described = f"BitDose: {name}, {summary.n_cases} cases, classifier {summary.model or 'not named'}"
    results: dict[str, Any] = {
        "bpp": [p.rate_bpp for p in points],
        "psnr-rgb": [p.psnr_db for p in points],
        "encoding_time": [p.encode_ms / _MS for p in points],
        "decoding_time": [p.decode_ms / _MS for p in points],
        "ssim": [p.ssim for p in points],
        **_task("accuracy", [p.accuracy for p in points]),
        **_task("macro_f1", [p.macro_f1 for p in points]),
        "ratio_file": [p.ratio_file for p in points],
    }
    numbers = {key: [_finite(value) for value in values] for key, values in results.items()}
    level = f"limits at {100 * summary.level:g} %, resampling unit {summary.resampling_unit}"
    points_in_order = [p.point for p in points]
    return {
        "name": name,
        "description": f"{described}; {level}; median times",
        "results": numbers | {"point": points_in_order},
    }


def _task(name: str, estimates: Sequence[Estimate]) -> dict[str, list[float]]:
    return {
        name: [e.value for e in estimates],
        f"{name}_lower": [e.low for e in estimates],
        f"{name}_upper": [e.high for e in estimates],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _file_names(chains: Sequence[str]) -> list[str]:
    """Make a safe and different file name for each chain, the plain one where it is free."""
    names: list[str] = []
    for chain in chains:
        plain = _NOT_IN_FILES.sub("_", chain).lstrip(".") or "chain"
        taken = {name.lower() for name in names}
        tries = [plain, *(f"{plain}-{number}" for number in range(2, len(chains) + 2))]
        names.append(next(name for name in tries if name.lower() not in taken))
    return names


def _text(data: dict[str, Any]) -> bytes:
    return f"{json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False)}\n".encode()
