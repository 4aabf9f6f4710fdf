"""Training throughput beside a plain PyTorch loop: ``python benchmarks/training.py TABLE``.

Both train COVID-Next with Adam on the same X-rays, channels last, all cores, the same batch and
precision. The plain loop is what a careful user writes: a Dataset with Pillow, a DataLoader with
two workers, flips and jitter on tensors. Each runs in a process of its own, in turn; the first
epoch warms up and the second counts. ``loader`` is the share of the epoch that BitDose waited
for its loader.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np


def subset(table: Path, out: Path, n: int) -> None:
    """Write a table of the first n training rows of each class, and a few for validation."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    labels = sorted({row["label"] for row in rows})
    chosen = []
    for label in labels:
        own = [row for row in rows if row["label"] == label]
        parts = (("train", own[: n // len(labels)]), ("validation", own[-4:]))
        chosen += [{**row, "split": split} for split, part in parts for row in part]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "patient", "split"])
        for row in chosen:
            path = (table.parent / row["path"]).resolve()
            writer.writerow([path, row["label"], f"{row['split']}-{row['patient']}", row["split"]])


def plain(table: Path, batch: int, precision: str) -> float:
    """Train two epochs with a plain loop and return the cases per second of the second."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from bitdose.models.covid_next import CovidNext

    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    labels = sorted({row["label"] for row in rows})

    class Rays(Dataset):
        """X-rays as a user would read them."""

        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            image = Image.open(rows[index]["path"]).convert("L").resize((256, 256), Image.Resampling.BILINEAR)
            x = torch.from_numpy(np.asarray(image, np.float32) / 255)[None]
            if torch.rand(()) < 0.5:
                x = x.flip(-1)
            if torch.rand(()) < 0.5:
                x = x.flip(-2)
            return (x * (0.7 + 0.6 * torch.rand(()))).clamp(0, 1).repeat(3, 1, 1), labels.index(
                rows[index]["label"]
            )

    net = CovidNext().to(memory_format=torch.channels_last).train()
    adam = torch.optim.Adam(net.parameters(), 1e-4)
    loader = DataLoader(Rays(), batch, shuffle=True, num_workers=2, persistent_workers=True)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for x, y in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = net(x.contiguous(memory_format=torch.channels_last))
            loss = torch.nn.functional.cross_entropy(logits.float(), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
        seconds = time.perf_counter() - started
    return len(rows) / seconds


def ours(table: Path, batch: int, precision: str) -> dict[str, float]:
    """Train two epochs with the command line and return the second one's record."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = ["--epochs", "2", "--batch", str(batch), "--precision", precision, "--color", "grey"]
        command = [
            sys.executable,
            "-m",
            "bitdose",
            "train",
            "covid-next",
            str(table),
            "--out",
            str(out),
            *options,
        ]
        subprocess.run(command, check=True, capture_output=True)
        record: dict[str, float] = json.loads((out / "history.jsonl").read_text().splitlines()[-1])
    return record


def main() -> None:
    """Measure both in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--n", type=int, default=96, help="cases to learn from")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="run the plain loop on a table made here")
    args = parser.parse_args()
    if args.plain:
        print(plain(args.table, args.batch, args.precision))
        return
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "cases.csv"
        subset(args.table, table, args.n)
        again = [sys.executable, __file__, str(table), "--plain", "--batch", str(args.batch)]
        again += ["--precision", args.precision]
        theirs, records = [], []
        for _ in range(args.rounds):
            theirs.append(float(subprocess.run(again, check=True, capture_output=True, text=True).stdout))
            records.append(ours(table, args.batch, args.precision))
    mine = statistics.median(record["cases_per_s"] for record in records)
    wait = statistics.median(record["loader_wait_share"] for record in records)
    plainly = statistics.median(theirs)
    print(
        f"{datetime.now(UTC):%Y-%m-%d} {platform.machine()} {args.precision}: BitDose {mine:.2f} cases/s, "
        f"plain loop {plainly:.2f} cases/s, ratio {mine / plainly:.2f}; loader {100 * wait:.2f} % of the time"
    )


if __name__ == "__main__":
    main()
