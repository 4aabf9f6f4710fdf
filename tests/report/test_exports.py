"""Exports: layouts that other people's tools read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitdose.report.exports import compressai, write_compressai_json
from bitdose.results.summary import Summary
from bitdose.stats.estimate import undefined


def _published(path: Path, metric: str) -> dict[str, Any]:
    """Read a file as a reader of CompressAI's published results does: rate against one metric."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return {"name": data["name"], "xs": data["results"]["bpp"], "ys": data["results"][metric]}


def test_files_have_the_published_layout(summary: Summary, tmp_path: Path) -> None:
    """One file per chain with name, description and results: lists of one length, times in seconds."""
    paths = write_compressai_json(tmp_path, summary)
    assert [path.name for path in paths] == [
        "jpeg.json",
        "jpeg2000.json",
        "jpeg_256.json",
        "jpeg2000_256.json",
    ]
    for path, points in zip(paths, summary.chains().values(), strict=True):
        assert path.parent == tmp_path / "exports" / "compressai"
        data = json.loads(path.read_text(encoding="utf-8"))
        assert list(data) == ["name", "description", "results"]
        assert {"psnr-rgb", "bpp", "encoding_time", "decoding_time"} <= set(data["results"])
        assert {len(values) for values in data["results"].values()} == {len(points)}
        assert data["results"]["bpp"] == [point.rate_bpp for point in points]
        assert data["results"]["encoding_time"] == [point.encode_ms / 1000 for point in points]
        assert _published(path, "psnr-rgb")["ys"] == [point.psnr_db for point in points]


def test_the_task_has_its_limits(summary: Summary) -> None:
    """Accuracy and macro F1 come with lower and upper limits of the same points."""
    first = compressai(summary)[0]["results"]
    points = summary.chains()["jpeg"]
    for name in ("accuracy", "macro_f1"):
        assert first[name] == [point.estimates[name].value for point in points]
        assert first[f"{name}_lower"] == [point.estimates[name].low for point in points]
        assert first[f"{name}_upper"] == [point.estimates[name].high for point in points]


def test_undefined_is_null(summary: Summary, tmp_path: Path) -> None:
    """NaN and infinity are null, so that every JSON reader takes the file."""
    points = tuple(
        replace(p.with_estimates(accuracy=undefined("nothing")), psnr_db=float("inf"), ssim=float("nan"))
        for p in summary.points
    )
    (path, *_) = write_compressai_json(tmp_path, replace(summary, points=points))
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    results = json.loads(text)["results"]
    assert set(results["accuracy"] + results["psnr-rgb"] + results["ssim"]) == {None}


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".", "..", "", "a b", "新", "x" * 60])
def test_no_chain_leaves_the_folder(summary: Summary, tmp_path: Path, name: str) -> None:
    """Whatever a chain is called, its file lies in the exports folder and under a name of its own."""
    chain = summary.chains()["jpeg"]
    two = [*(replace(p, chain=name) for p in chain), *(replace(p, chain=f"{name}:") for p in chain)]
    odd = replace(summary, points=(summary.points[0], *two))
    paths = write_compressai_json(tmp_path, odd)
    assert {path.resolve().parent for path in paths} == {(tmp_path / "exports" / "compressai").resolve()}
    assert len({path.name.lower() for path in paths}) == 2
    assert all(path.stem for path in paths)


def test_without_a_coded_point_there_is_no_file(summary: Summary, tmp_path: Path) -> None:
    """A study of pristine alone exports nothing."""
    assert write_compressai_json(tmp_path, replace(summary, points=summary.points[:1])) == ()
