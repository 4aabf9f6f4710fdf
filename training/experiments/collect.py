"""Keep finished studies and model cards: ``python training/experiments/collect.py RUNS results``.

A study becomes one Parquet table of probabilities and bytes; a trained model leaves its card,
its metrics and its history. Neither holds pixels or weights. Timings, digests of the sources
and columns about the person are left out. Cases and patients get numbers, in the order of their
ids, in place of names that lead to a person: resampling needs to know who is the same, not who
it is. Who has the data can number them again.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import polars as pl

from bitdose.results.table import read_table, write_part

DROPPED = ("encode_ms", "decode_ms", "case_digest", "case_mapping", "codec_mapping", "reason")
KEPT_COLUMNS = ("case_source", "case_site", "case_grade", "case_slices")
PREFIX = "study-"


def kept(table: pl.DataFrame) -> pl.DataFrame:
    """Return what of a study is kept."""
    own = [name for name in table.columns if name.startswith("case_") and name not in KEPT_COLUMNS]
    extra = {"case_id", "case_label", "case_patient", "case_split", "case_format", "case_lossy"}
    extra |= {"case_height", "case_width", "case_bits"}
    table = table.drop([*(name for name in own if name not in extra), *DROPPED], strict=False)
    numbered = {name: numbers(table[name].to_list()) for name in ("case_id", "case_patient")}
    unnamed = [name for name in table.columns if table[name].null_count() == len(table)]
    return table.with_columns(
        *(pl.col(name).replace_strict(new) for name, new in numbered.items()),
        pl.col("psnr_db").round(2),
        pl.col("ssim").round(4),
    ).drop(unnamed)


def numbers(names: list[str]) -> dict[str, str]:
    """Give names numbers in their order.

    >>> numbers(["b", "a", "b"])
    {'a': '0001', 'b': '0002'}
    """
    return {name: f"{number:04d}" for number, name in enumerate(sorted(set(names)), 1)}


def main() -> None:
    """Write a table per study and a card per model."""
    runs, out = Path(sys.argv[1]), Path(sys.argv[2])
    (out / "cards").mkdir(parents=True, exist_ok=True)
    for study in sorted(runs.glob(f"{PREFIX}*/summary.json")):
        name = study.parent.name.removeprefix(PREFIX)
        table = kept(read_table(study.parent))
        write_part(table, out / f"{name}.parquet")
        print(f"{name}: {len(table)} rows, {(out / f'{name}.parquet').stat().st_size / 1e3:.0f} kB")
    for card in sorted(runs.glob("*/model.md")):
        name = card.parent.name
        shutil.copy(card, out / "cards" / f"{name}.md")
        shutil.copy(card.with_name("metrics.json"), out / "cards" / f"{name}.json")
        shutil.copy(card.with_name("history.jsonl"), out / "cards" / f"{name}-history.jsonl")
        print(f"{name}: card")


if __name__ == "__main__":
    main()
