"""What the long-run benchmarks work on: many small files, and the results of a study that nobody ran."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from bitdose.codecs.grid import expand_points
from bitdose.codecs.point import Point
from bitdose.data.phantoms import LABELS, draw_phantom
from bitdose.hashing import file_digest, rng_for
from bitdose.results.table import PARTS, write_part
from bitdose.study.plan import Plan, make_plan
from bitdose.study.spec import StudySpec
from bitdose.study.store import write_manifest

TWINS = 10
SIDE = 64
GRID = "paper,jpeg:q2"  # pristine and 49 coded points
CASES_PER_PART = 200  # as many as a run writes at once
SITES = ("north", "south", "coast")
_NOISE = 3.0
_CONFUSED = 1.1  # how far the classes' scores lie apart, in units of their spread
_JITTER = 0.35  # how much of that spread the strongest point shakes


def small_cases(folder: Path, n: int) -> Path:
    """Write ``n`` small PNGs, drawn phantoms with noise of their own, and their table."""
    drawn = [(label, draw_phantom(label, rng=rng_for(1, label, i))) for i in range(TWINS) for label in LABELS]
    shrunk = [
        (label, cv2.resize(pixels, (SIDE, SIDE), None, 0, 0, cv2.INTER_AREA)) for label, pixels in drawn
    ]
    rng = np.random.default_rng(20261126)
    files = folder / "images"
    files.mkdir(parents=True)
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "label", "patient", "site"])
        for index in range(n):
            label, pixels = shrunk[index % len(shrunk)]
            noisy = np.clip(pixels + rng.normal(0, _NOISE, pixels.shape), 0, 255).astype(np.uint8)
            path = files / f"{index:06d}.png"
            cv2.imwrite(str(path), noisy)
            patient, site = f"patient-{index // 2:06d}", SITES[index % len(SITES)]
            writer.writerow([f"case-{index:06d}", path.relative_to(folder), label, patient, site])
    return folder / "cases.csv"


def made_up_run(folder: Path, n: int, *, cases_per_patient: int) -> Path:
    """Write a run folder as a finished study leaves it: manifest, study file and parts.

    The sources are a few drawn phantoms, each many times under new names, so that a report can show
    cases; the answers are drawn, from scores that the points shake the more the stronger they are.
    """
    sources = _sources(folder / "images")
    table = _table_of_cases(folder, n, cases_per_patient, sources)
    plan = make_plan(StudySpec(data=str(table), model="phantom", points=(GRID,), split="all"))
    run = folder / "run"
    (run / PARTS).mkdir(parents=True)
    write_manifest(run, plan.manifest, plan.spec.resolved().to_toml())
    for number, first in enumerate(range(0, n, CASES_PER_PART)):
        part = _part(plan, first, min(n, first + CASES_PER_PART), sources)
        write_part(part, run / PARTS / f"part-{number:05d}.parquet")
    return run


def _sources(folder: Path) -> list[dict[str, Any]]:
    """Draw a few phantoms and say of each what a study would."""
    folder.mkdir(parents=True)
    found = []
    for index in range(TWINS * len(LABELS)):
        label = LABELS[index % len(LABELS)]
        pixels, path = draw_phantom(label, rng=rng_for(2, label, index)), folder / f"{index:02d}.png"
        cv2.imwrite(str(path), pixels)
        size = {"bytes_file": path.stat().st_size, "bytes_pixels": pixels.nbytes}
        found.append({"path": path, "case_label": label, "case_digest": file_digest(path), **size})
    return found


def _table_of_cases(folder: Path, n: int, per_patient: int, sources: list[dict[str, Any]]) -> Path:
    rng = np.random.default_rng(3)
    ages, sexes = rng.integers(18, 95, n), rng.choice(["f", "m"], n)
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "label", "patient", "split", "age", "sex", "source"])
        for i in range(n):
            patient = i // per_patient
            source, split = sources[i % len(sources)], ("calibration", "test")[patient % 3 > 0]
            path = source["path"].relative_to(folder)
            whose = [f"patient-{patient:06d}", split, ages[i], sexes[i], SITES[patient % len(SITES)]]
            writer.writerow([f"case-{i:06d}", path, source["case_label"], *whose])
    return folder / "cases.csv"


def _part(plan: Plan, first: int, last: int, sources: list[dict[str, Any]]) -> pl.DataFrame:
    """Draw the rows of some cases, case by case and point by point."""
    cases, labels = plan.cases.cases[first:last], plan.classifier.spec.labels
    rng, n, points = np.random.default_rng([4, first]), last - first, plan.job.points
    own = pl.DataFrame([sources[i % len(sources)] for i in range(first, last)]).drop("path", "case_label")
    truth = np.array([labels.index(case.label) for case in cases])
    scores = rng.normal(0, 1.0, (n, len(labels)))
    scores[np.arange(n), truth] += 2 * _CONFUSED
    drift = rng.normal(0, 1.0, scores.shape)
    per_point = [_at_point(rng, point, scores, drift, labels) for point in points]
    in_order = [rows.with_columns(order=pl.lit(i)) for i, rows in enumerate(per_point)]
    measured = pl.concat(in_order).sort("row", "order").drop("row", "order")
    text = {"case_format": "PNG", "case_mapping": "", "model": plan.classifier.name}
    sizes = {"case_height": 1024, "case_width": 1024, "case_slices": 1, "case_bits": 8}
    whole = own.with_columns(
        pl.Series("case_id", [case.id for case in cases]),
        pl.Series("case_label", [case.label for case in cases]),
        pl.Series("case_patient", [case.patient for case in cases]),
        pl.Series("case_split", [case.split for case in cases]),
        *(pl.Series(f"case_{key}", [case.columns[key] for case in cases]) for key in cases[0].columns),
        *(pl.lit(value).alias(name) for name, value in text.items()),
        *(pl.lit(value, dtype=pl.Int64).alias(name) for name, value in sizes.items()),
        pl.lit(value=False).alias("case_lossy"),
    )
    every_case = pl.Series(np.repeat(np.arange(n), len(points)))
    rows = pl.concat([whole[every_case], measured], how="horizontal")
    bare = pl.col("bytes_file") / pl.col("_ratio")
    return rows.with_columns(bytes_coded=bare.ceil().cast(pl.Int64)).drop("_ratio")


def _at_point(
    rng: np.random.Generator, point: Point, scores: np.ndarray, drift: np.ndarray, labels: tuple[str, ...]
) -> pl.DataFrame:
    """Draw what the classifier says of each case at one point."""
    n, harm = len(scores), _harm(point)
    shaken = scores + harm * _JITTER * (drift + rng.normal(0, 0.5, scores.shape))
    chances = np.exp(shaken) / np.exp(shaken).sum(1, keepdims=True)
    ratio = 1.0 if point.is_pristine else (1 + 60 * harm**2) * (3 if point.resize else 1)
    facts: dict[str, Any] = {
        "point": str(point), "codec_name": point.codec, "codec_chain": point.chain,
        "codec_quality": None if point.quality is None else float(point.quality),
        "codec_strength": float(point.strength), "codec_size": "256x256" if point.resize else "",
        "codec_kernels": "opencv lanczos4 > opencv lanczos4" if point.resize else "", "codec_mode": "exact",
        "codec_library": f"{point.codec} 1.0", "codec_mapping": "", "status": "ok", "reason": None,
    }  # fmt: skip
    kinds = {"codec_quality": pl.Float64, "reason": pl.String}
    rows = pl.DataFrame({
        "row": np.arange(n),
        "_ratio": ratio * rng.uniform(0.8, 1.25, n) if ratio > 1 else np.ones(n),
        "encode_ms": rng.gamma(4, 2.0, n), "decode_ms": rng.gamma(4, 1.0, n),
        "psnr_db": np.full(n, np.inf) if ratio == 1 else rng.normal(45 - 20 * harm, 2, n),
        "ssim": np.ones(n) if ratio == 1 else rng.uniform(0.9, 1.0, n) ** (1 + 5 * harm),
        "predicted": np.array(labels)[chances.argmax(1)],
        **{f"p_{label}": chances[:, k] for k, label in enumerate(labels)},
    })  # fmt: skip
    return rows.with_columns(pl.lit(v, dtype=kinds.get(name)).alias(name) for name, v in facts.items())


def _harm(point: Point) -> float:
    """Return where a point stands between harmless (0) and the strongest of the grid (1)."""
    if point.is_pristine:
        return 0.0
    chain = [p for p in expand_points(GRID) if p.chain == point.chain]
    return (1 + chain.index(point)) / len(chain)
