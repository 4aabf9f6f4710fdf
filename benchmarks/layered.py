"""What a layered JPEG 2000 encode costs and saves against an encode per rate, by image size.

    python benchmarks/layered.py --table cases.csv --split test --limit 12

Codes the paper's twelve rates both ways, at full size and downsized by area averaging, and
prints the PSNR lost (mean and worst over images and rates), the bytes gained, and the time
of both; beside them that of the encodes per rate made together, byte for byte, as a study
makes them.
"""

from __future__ import annotations

import argparse
import csv
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.data.read import read_source
from bitdose.image import Image
from bitdose.metrics.fidelity import psnr_db
from bitdose.resample.kernels import resample

CHAIN = [Jpeg2000(ratio) for ratio in (2, 3, 4, 5, 8, 10, 15, 20, 30, 40, 60, 100)]


def compare(image: Image) -> tuple[list[float], float, float, float, float]:
    """Return the dB lost at each rate, the ratio of bytes, and the ms of all ways."""
    times = [time.perf_counter()]
    shared = Jpeg2000.encode_chain(image, CHAIN)
    times.append(time.perf_counter())
    alone = [codec.encode(image) for codec in CHAIN]
    times.append(time.perf_counter())
    together = Jpeg2000.encode_each(image, CHAIN)
    times.append(time.perf_counter())
    if together != alone:
        raise SystemExit("the streams made together are not those of an encode each: no library in C?")
    lost = []
    for codec, mine, own in zip(CHAIN, shared, alone, strict=True):
        quality = [psnr_db(image.pixels, codec.decode(data).pixels, peak=255) for data in (own, mine)]
        lost.append(quality[0] - quality[1])
    size = sum(map(len, shared)) / sum(map(len, alone))
    return lost, size, *(1e3 * (ended - began) for began, ended in pairwise(times))  # type: ignore[return-value]


def main() -> None:
    """Read the table, compare at each size, print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--limit", type=int, default=12)
    args = parser.parse_args()
    with args.table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not args.split or row["split"] == args.split]
    rows = [row for row in rows if row["width"] == row["height"] == "1024"][: args.limit]
    images = [read_source(args.table.parent / row["path"], color="grey").image for row in rows]
    print("| side | dB lost, mean | dB lost, worst | bytes | layered | an encode per rate | made together |")
    print("|---|---|---|---|---|---|---|")
    for side in (1024, 512, 256):
        found = [compare(Image(resample(image.pixels, side, side, kernel="area"))) for image in images]
        lost = np.array([one[0] for one in found])
        size, *spent_ms = np.median([one[1:] for one in found], axis=0)
        cells = (f"{lost.mean():.2f}", f"{lost.max():.2f}", f"{100 * (size - 1):+.1f} %")
        print(f"| {side} | {' | '.join((*cells, *(f'{ms:.0f} ms' for ms in spent_ms)))} |")


if __name__ == "__main__":
    main()
