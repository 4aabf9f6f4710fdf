"""The loop that an engineer would write without BitDose: the baseline of the speed benchmark.

A PyTorch ``Dataset`` opens each file with Pillow, codes and decodes it at one point and
brings it to the network's input; a ``DataLoader`` with one worker per core feeds batches of
64 to the network, in onnxruntime or in eager PyTorch; the loader is built anew for each point.
It is meant to be good code of its kind: workers overlap with the network, no library starts
threads of its own beside the workers unless ``--threads`` asks for them, and nothing is
written to disk but the results. This file stands alone and imports nothing of BitDose. Example::

    python benchmarks/handwritten_loop.py --table cases.csv --split test \
        --model model.onnx --size 1024 --out results.csv
    python benchmarks/handwritten_loop.py --table cases.csv --model model.pt \
        --torch bitdose.models.covid_next:CovidNext --threads 2 --out results.csv

Needs torch, onnxruntime, opencv, Pillow and psutil. Prints one JSON object with the wall
seconds from the start of the process (imports included) to the last row on disk.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnxruntime
import psutil
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

QUALITIES = (95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1)
RATES = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 300, 600)
RATES_256 = (2, 3, 4, 5, 8, 10, 15, 20, 30, 40, 60, 100)
DEFAULT_POINTS = ",".join(
    [
        "pristine",
        *(f"jpeg:q{q}" for q in QUALITIES),
        *(f"jpeg2000:{r}x" for r in RATES),
        *(f"jpeg:q{q}@256" for q in QUALITIES),
        *(f"jpeg2000:{r}x@256" for r in RATES_256),
    ]
)
POINT = re.compile(r"(?:pristine|jpeg:q(?P<quality>\d+)|jpeg2000:(?P<rate>[\d.]+)x)(?:@(?P<side>\d+))?")
Predict = Callable[[torch.Tensor], np.ndarray]


class Point(NamedTuple):
    """One way to code an image: codec, its quality parameter, and the side it is downsized to (0: not)."""

    text: str
    codec: str
    quality: float
    side: int


def parse_point(text: str) -> Point:
    """Read ``pristine``, ``jpeg:q30`` or ``jpeg2000:40x``, each optionally with ``@256``."""
    found = POINT.fullmatch(text.strip())
    if found is None:
        raise SystemExit(
            f"--points: {text!r}: expected 'pristine', 'jpeg:q30' or 'jpeg2000:40x', with or without '@256'"
        )
    quality, rate, side = found["quality"], found["rate"], int(found["side"] or 0)
    if quality:
        return Point(found[0], "jpeg", float(quality), side)
    if rate:
        return Point(found[0], "jpeg2000", float(rate), side)
    return Point(found[0], "pristine", 0.0, side)


def encode(image: Image.Image, point: Point, *, jp2: bool) -> io.BytesIO:
    """Code one grey image."""
    stream = io.BytesIO()
    if point.codec == "jpeg":
        image.save(stream, "JPEG", quality=int(point.quality))
    else:
        image.save(
            stream,
            "JPEG2000",
            quality_mode="rates",
            quality_layers=[point.quality],
            irreversible=True,
            no_jp2=not jp2,
        )
    return stream


def encode_decode(image: Image.Image, point: Point, *, jp2: bool) -> tuple[Image.Image, int]:
    """Code and decode one grey image; ``pristine`` passes it through and counts raw bytes."""
    if point.codec == "pristine":
        return image, image.width * image.height
    stream = encode(image, point, jp2=jp2)
    decoded = Image.open(stream)
    decoded.load()
    return decoded, stream.getbuffer().nbytes


class CodedSet(Dataset):
    """The cases at one point: ``(input tensor, index, coded bytes)``."""

    def __init__(self, paths: list[Path], point: Point, spec: dict[str, Any], *, jp2: bool) -> None:
        self.paths = paths
        self.jp2 = jp2
        self.point = point
        self.height, self.width = spec["size"]
        self.mean = np.float32(spec.get("mean", [0.0])[0])
        self.std = np.float32(spec.get("std", [1.0])[0])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        with Image.open(self.paths[index]) as file:
            image = file.convert("L")
        full_size, side = image.size, self.point.side
        if side:
            small = cv2.resize(np.asarray(image), (side, side), interpolation=cv2.INTER_LANCZOS4)
            image = Image.fromarray(small)
        image, coded_bytes = encode_decode(image, self.point, jp2=self.jp2)
        if side:
            large = cv2.resize(np.asarray(image), full_size, interpolation=cv2.INTER_LANCZOS4)
            image = Image.fromarray(large)
        grey = np.asarray(image.resize((self.width, self.height), Image.Resampling.BILINEAR))
        scaled = (grey.astype(np.float32) / np.float32(255.0) - self.mean) / self.std
        return torch.from_numpy(scaled)[None], index, coded_bytes


def quiet_worker(_: int) -> None:
    """Keep a worker to one thread: the workers are the parallelism."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def read_cases(table: Path, split: str | None, size: int | None, limit: int | None) -> list[str]:
    """Return the paths, as the table spells them, of the cases asked for."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if split is not None:
        rows = [row for row in rows if row.get("split") == split]
    if size is not None:
        rows = [row for row in rows if image_size(table.parent, row) == (size, size)]
    return [row["path"] for row in rows][:limit]


def image_size(root: Path, row: dict[str, str]) -> tuple[int, int]:
    """Return width and height by the table's columns, or by the file's header."""
    if row.get("width") and row.get("height"):
        return int(row["width"]), int(row["height"])
    with Image.open(root / row["path"]) as file:
        return file.size


def open_onnx(path: Path, threads: int) -> tuple[Predict, dict[str, Any]]:
    """Open an ONNX network and read its sidecar; give its outputs and the sidecar."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    sidecar = json.loads(path.with_suffix(".json").read_text())
    return lambda batch: session.run(None, {name: batch.numpy()})[0], sidecar


def open_torch(path: Path, target: str, threads: int) -> tuple[Predict, dict[str, Any]]:
    """Build ``module:factory``, load a state dict into it, and read the sidecar of the weights."""
    torch.set_num_threads(threads)
    module, _, factory = target.partition(":")
    network = getattr(importlib.import_module(module), factory)()
    network.load_state_dict(torch.load(path, weights_only=True))
    network.eval()
    return lambda batch: network(batch).numpy(), json.loads(Path(f"{path}.json").read_text())


def to_probabilities(output: np.ndarray, kind: str) -> np.ndarray:
    """Turn the network's output into ``(n, n_classes)`` probabilities."""
    if kind == "probabilities":
        return output
    raised = np.exp(output - output.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", type=Path, required=True, help="CSV with a path column, relative to its folder"
    )
    parser.add_argument("--split", help="only the cases of this split")
    parser.add_argument(
        "--model", type=Path, required=True, help="ONNX file or state dict with its sidecar beside it"
    )
    parser.add_argument("--torch", help="module:factory of the network whose state dict --model is")
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    parser.add_argument(
        "--points", default=DEFAULT_POINTS, help="comma-separated (default: pristine, 4 chains of 12)"
    )
    parser.add_argument("--size", type=int, help="only sources of this width and height")
    parser.add_argument("--limit", type=int, help="at most this many cases")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="DataLoader workers (default: all cores)"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--jp2", action="store_true", help="JPEG 2000 with the boxes of a JP2 file")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    return parser.parse_args(argv)


def write_rows(args: argparse.Namespace, names: list[str], points: list[Point]) -> None:
    """Code, classify and write every case at every point, one loader per point."""
    if args.torch:
        predict, sidecar = open_torch(args.model, args.torch, args.threads)
    else:
        predict, sidecar = open_onnx(args.model, args.threads)
    labels, channels = sidecar["labels"], sidecar["input"].get("channels", 1)
    paths = [args.table.parent / name for name in names]
    with args.out.open("w", newline="") as file, torch.inference_mode():
        writer = csv.writer(file)
        writer.writerow(["path", "point", "bytes_coded", *(f"p_{name}" for name in labels), "predicted"])
        for point in points:
            coded = CodedSet(paths, point, sidecar["input"], jp2=args.jp2)
            loader = DataLoader(coded, args.batch, num_workers=args.workers, worker_init_fn=quiet_worker)
            for batch, indices, n_bytes in loader:
                seen = batch if channels == 1 else batch.repeat(1, channels, 1, 1)
                rows = to_probabilities(predict(seen), sidecar["output"])
                for row, index, size in zip(rows, indices.tolist(), n_bytes.tolist(), strict=True):
                    values = [repr(float(value)) for value in row]
                    writer.writerow([names[index], point.text, size, *values, labels[int(row.argmax())]])


def main(argv: list[str] | None = None) -> None:
    """Run every case at every point, write the rows, print the time."""
    args = parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    points = [parse_point(text) for text in args.points.split(",")]
    names = read_cases(args.table, args.split, args.size, args.limit)
    if not names:
        raise SystemExit(f"no case of {args.table} is left: check --split and --size")
    write_rows(args, names, points)
    wall_s = time.time() - psutil.Process().create_time()
    summary = {
        "cases": len(names),
        "points": len(points),
        "rows": len(names) * len(points),
        "workers": args.workers,
        "wall_s": round(wall_s, 2),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
