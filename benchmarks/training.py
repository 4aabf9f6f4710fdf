"""Training throughput beside a plain PyTorch loop: ``python benchmarks/training.py TABLE``.

Both train COVID-Next with Adam on the same X-rays, channels last, all cores, the same batch and
precision. The plain loop is what a careful user writes: a Dataset with Pillow, a DataLoader with
two workers, flips and jitter on tensors. Each runs in a process of its own, in turn; the first
epoch warms up and the second counts. The plain loop reads every file in every epoch; BitDose does so
with ``--cache-mb 0``, keeps them in memory by default, and with ``--codec-augment`` reads and codes
half of them anew. ``loader`` is the share of the epoch that it waited for its loader.
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

WAYS: dict[str, tuple[str, ...]] = {
    "in memory": (),
    "read every epoch": ("--cache-mb", "0"),
    "codec-augment": ("--cache-mb", "0", "--codec-augment", "jpeg:q30,jpeg2000:20x@256"),
}


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


def ours(table: Path, batch: int, precision: str, more: tuple[str, ...]) -> dict[str, float]:
    """Train two epochs with the command line and return the second one's record."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "bitdose", "train", "covid-next", str(table), "--out", str(out)]
        options = ["--epochs", "2", "--batch", str(batch), "--precision", precision, "--color", "grey"]
        subprocess.run([*command, *options, *more], check=True, capture_output=True)
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
        theirs: list[float] = []
        records: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            done = subprocess.run(again, check=True, capture_output=True, text=True)
            theirs.append(float(done.stdout))
            for way, more in WAYS.items():
                records[way].append(ours(table, args.batch, args.precision, more))
    plainly = statistics.median(theirs)
    head = f"{datetime.now(UTC):%Y-%m-%d} {platform.machine()} {args.precision}"
    print(f"{head}: plain loop {plainly:.2f} cases/s")
    for way, found in records.items():
        speed = statistics.median(record["cases_per_s"] for record in found)
        wait = statistics.median(record["loader_wait_share"] for record in found)
        print(f"{way}: {speed:.2f} cases/s, {speed / plainly:.2f} times as many; loader {100 * wait:.2f} %")


if __name__ == "__main__":
    main()
