"""Print accuracy and ratio per point of benchmarks/handwritten_loop.py's results.

python docs/loop_accuracy.py loop.csv cases.csv
"""

from __future__ import annotations

import sys

import polars as pl


def main() -> None:
    """Join the loop's rows with the labels and file sizes of the table of cases."""
    loop, cases = (pl.read_csv(path) for path in sys.argv[1:3])
    joined = loop.join(cases.select("path", "label", "bytes"), on="path")
    right = (pl.col("predicted") == pl.col("label")).mean().alias("accuracy")
    ratio = (pl.col("bytes").sum() / pl.col("bytes_coded").sum()).alias("ratio_file")
    for point, accuracy, file in joined.group_by("point", maintain_order=True).agg(right, ratio).iter_rows():
        print(f"{point}: accuracy {accuracy:.3f}, ratio (file) {file:.1f}")


if __name__ == "__main__":
    main()
