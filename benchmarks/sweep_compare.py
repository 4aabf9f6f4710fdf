"""What two sweeps differ in: sizes of streams, answers, probabilities, and streams byte by byte."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl


def run_results(folder: Path) -> pl.DataFrame:
    """Read a study's rows."""
    return pl.read_parquet(folder / "results" / "*.parquet")


def loop_results(path: Path) -> pl.DataFrame:
    """Read a loop's rows; a case's id is its place among the rows of a point."""
    ids = pl.int_range(pl.len()).over("point").cast(pl.String)
    return pl.read_csv(path).with_columns(ids.alias("case_id"))


def differences(mine: pl.DataFrame, theirs: pl.DataFrame) -> dict[str, Any]:
    """Count the (case, point)s in which two sweeps differ; the bytes of pristine are left out.

    Raises
    ------
    ValueError
        If they do not hold the same cases at the same points.
    """
    both = mine.join(theirs, on=["case_id", "point"], suffix="_theirs")
    if not len(both) == len(mine) == len(theirs):
        raise ValueError(f"{len(mine)} and {len(theirs)} rows have {len(both)} in common")
    coded = both.filter(pl.col("point") != "pristine")
    names = [name for name in mine.columns if name.startswith("p_")]
    gaps = pl.DataFrame({name: (both[name] - both[f"{name}_theirs"]).abs() for name in names})
    largest = gaps.max_horizontal()
    if largest.null_count():
        raise ValueError(f"{largest.null_count()} rows hold no probabilities")
    return {
        "rows": len(both),
        "bytes_differ": int((coded["bytes_coded"] != coded["bytes_coded_theirs"]).sum()),
        "bytes_total_ratio": float(coded["bytes_coded"].sum() / coded["bytes_coded_theirs"].sum()),
        "answers_differ": int((both["predicted"] != both["predicted_theirs"]).sum()),
        "probabilities_differ": int((largest > 0).sum()),
        "largest_probability_gap": float(largest.max()),  # type: ignore[arg-type]
    }


def answers_given(rows: pl.DataFrame) -> dict[str, int]:
    """Count the answers, so that nobody takes agreement on one constant answer for a proof."""
    counts = rows["predicted"].value_counts()
    return dict(sorted(zip(counts["predicted"].to_list(), counts["count"].to_list(), strict=True)))


def unequal_streams(table: Path, points: Sequence[str], jpeg2000: str, *, cases: int) -> dict[str, int]:
    """Code the first cases with BitDose and both loops; count the streams that are not the same bytes."""
    import cv2
    import expert_loop
    import handwritten_loop
    from PIL import Image

    from bitdose.codecs.coding import encode_points
    from bitdose.codecs.point import Point
    from bitdose.data.read import read_source

    with table.open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)][:cases]
    unequal = {"streams": 0, "handwritten": 0, "expert": 0}
    for path in paths:
        image = read_source(Path(path), color="grey").image
        for of, streams in encode_points(image, [Point.parse(text) for text in points]):
            (mine,), text = streams.data, str(of)  # type: ignore[union-attr]
            point = handwritten_loop.parse_point(text)
            pixels = image.pixels
            if point.side:
                pixels = cv2.resize(pixels, (point.side, point.side), interpolation=cv2.INTER_LANCZOS4)
            theirs = handwritten_loop.encode(Image.fromarray(pixels), point, jp2=False).getvalue()
            experts = expert_loop.encode(pixels, expert_loop.parse_point(text), jpeg2000)
            unequal["streams"] += 1
            unequal["handwritten"] += mine != theirs
            unequal["expert"] += mine != experts
    return unequal
