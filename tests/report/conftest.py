"""A made-up study: a table such as a run writes, with flips that grow along each chain."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest

from bitdose.image import Image
from bitdose.report.figures.base import Figure
from bitdose.report.figures.drawing import Drawing, draw
from bitdose.report.figures.render_pool import Renderer
from bitdose.results.summarize import summarize
from bitdose.results.summary import Summary
from bitdose.results.table import rows_to_table

LABELS = ("normal", "pneumonia", "covid-19")
QUALITIES = (95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1)
RATIOS = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300)
SMALL_RATIOS = (2, 3, 4, 5, 8, 10, 15, 20, 30, 40, 60, 100)
PIXELS = 1024 * 1024

MakeTable = Callable[..., pl.DataFrame]


def _points() -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = [
        {"point": "pristine", "codec_name": "pristine", "codec_chain": "pristine", "codec_strength": 0.0}
    ]
    for tail, ratios in (("", RATIOS), ("@256", SMALL_RATIOS)):
        for quality in QUALITIES:
            points.append(_point("jpeg", f"q{quality}", tail, quality, -float(quality)))
        for target in ratios:
            points.append(_point("jpeg2000", f"{target}x", tail, target, float(target)))
    return points


def _point(codec: str, knob: str, tail: str, quality: float, strength: float) -> dict[str, Any]:
    return {
        "point": f"{codec}:{knob}{tail}",
        "codec_name": codec,
        "codec_chain": codec + tail,
        "codec_quality": float(quality),
        "codec_strength": strength,
        "codec_size": "256x256" if tail else "",
    }


def _raw_ratio(point: dict[str, Any]) -> float:
    if point["codec_name"] == "pristine":
        return 2.9
    small = 16 if point["codec_size"] else 1
    if point["codec_name"] == "jpeg2000":
        return float(point["codec_quality"] * small)
    return min(78.0, 4 + 90 / (point["codec_quality"] + 0.2) ** 0.65) * (small * 0.55 if small > 1 else 1)


def _harm(point: dict[str, Any]) -> float:
    """Share of answers that a point upsets: small until its codec breaks."""
    if point["codec_name"] == "pristine":
        return 0.0
    limit = {"jpeg": 55, "jpeg2000": 140, "jpeg@256": 260, "jpeg2000@256": 500}[point["codec_chain"]]
    return float(0.55 / (1 + np.exp(-6 * np.log(_raw_ratio(point) / limit))))


def _case(index: int, labels: tuple[str, ...], points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(index)
    label, firmness = labels[index % len(labels)], rng.random()
    right = rng.random() < 0.85
    first = label if right else str(rng.choice([name for name in labels if name != label] or [label]))
    raw = int(PIXELS / 2.9 * rng.uniform(0.8, 1.2))
    rows = []
    for point in points:
        upset = firmness < _harm(point)
        answer = labels[-1] if upset else first
        if upset and answer == first:
            answer = labels[0] if rng.random() < 0.3 else answer
        chance = rng.dirichlet(np.ones(len(labels))) * 0.5
        chance[labels.index(answer)] += 0.5
        row = point | {
            "case_id": f"case-{index:04d}",
            "case_label": label,
            "case_patient": f"patient-{index // 2:04d}",
            "case_format": "png" if index % 3 else "jpeg",
            "case_lossy": index % 3 == 0,
            "bytes_file": raw,
            "bytes_pixels": PIXELS,
            "case_height": 1024,
            "case_width": 1024,
            "case_slices": 1,
            "bytes_coded": raw if point["codec_name"] == "pristine" else int(PIXELS / _raw_ratio(point)),
            "encode_ms": 2.0,
            "decode_ms": 1.0,
            "psnr_db": float("inf")
            if point["codec_name"] == "pristine"
            else 50 - 6 * np.log(_raw_ratio(point)),
            "ssim": 1 / (1 + 0.004 * _raw_ratio(point)),
            "model": "made-up 0123abcd",
            "predicted": answer,
            "status": "ok",
            "reason": None,
        }
        rows.append(row | {f"p_{name}": float(p) for name, p in zip(labels, chance, strict=True)})
    return rows


def _fail(row: dict[str, Any]) -> dict[str, Any]:
    gone = {name: None for name in row if name.startswith("p_")}
    gone |= {"predicted": None, "bytes_coded": None, "psnr_db": None, "ssim": None}
    return row | gone | {"status": "unreadable", "reason": "truncated PNG file"}


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Return a maker of tables: number of cases, labels, which points, which cases fail."""

    def make(
        cases: int = 120,
        *,
        labels: tuple[str, ...] = LABELS,
        keep: Callable[[str], bool] = lambda _: True,
        failed: Callable[[int], bool] = lambda index: index in (7, 50),
    ) -> pl.DataFrame:
        points = [point for point in _points() if keep(point["point"])]
        rows = []
        for index in range(cases):
            own = _case(index, labels, points)
            rows += [_fail(row) for row in own] if failed(index) else own
        return rows_to_table(rows)

    return make


@pytest.fixture(scope="session")
def table(make_table: MakeTable) -> pl.DataFrame:
    """Make 120 cases at pristine and four chains of twelve points."""
    return make_table()


@pytest.fixture(scope="session")
def summary(table: pl.DataFrame) -> Summary:
    """Summarise the table."""
    return summarize(table)


@pytest.fixture(scope="session")
def load_variants() -> Callable[..., list[Image]]:
    """Make pixels for any case: rings and grain, the more smoothed the later the point."""

    def load(case_id: str, points: list[str]) -> list[Image]:
        rng = np.random.default_rng(len(case_id))
        rows, columns = np.mgrid[0:300, 0:240]
        rings = 127 + 60 * np.sin(np.hypot(rows - 150, columns - 120) / 6)
        grain = rng.normal(0, 25, rings.shape)
        shades = [np.clip(rings + grain / (1 + 2 * step), 0, 255) for step in range(len(points))]
        return [Image(shade.astype(np.uint8)) for shade in shades]

    return load


@pytest.fixture(scope="session")
def pen() -> Renderer:
    """Draw figures as ever, but each once: the reports of several tests hold the same ones."""
    made: dict[bytes, Drawing] = {}

    def drawing(figure: Figure) -> Drawing:
        key = pickle.dumps(figure)
        if key not in made:
            made[key] = draw(figure)
        return made[key]

    return lambda figure: partial(drawing, figure)
