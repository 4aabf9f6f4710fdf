"""The loop that an expert of PyTorch and OpenCV would write: the harder baseline of the speed benchmark.

What it does better than ``handwritten_loop.py``: every source is decoded once, into memory that
the workers share; one loader runs over all (case, point) pairs, so its workers start once and never
wait at the end of a point; JPEG by OpenCV; what comes back from a worker is bytes, scaled in the
batch; the network runs beside the workers, in onnxruntime, or with ``--torch`` in PyTorch, channels
last. This file stands alone and imports nothing of BitDose. Example::

    python benchmarks/expert_loop.py --table cases.csv --model model.onnx --out results.csv

OpenCV writes JPEG 2000 with the 5/3 wavelet only: other bytes, and at low rates other answers
than the 9/7 that the paper's points mean. So Pillow encodes it here unless ``--jpeg2000 opencv``
asks for the other; the streams are decoded by imagecodecs, which gives the pixels that Pillow and
OpenCV give. JPEG streams are Pillow's to the last byte.

Prints one JSON object with the wall seconds from the start of the process (imports included) to
the last row on disk.
"""

from __future__ import annotations

import argparse
import csv
import functools
import importlib
import io
import json
import mmap
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np
import psutil
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Predict = Callable[[Pixels], np.ndarray]

QUALITIES = (95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1)
RATES = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 300, 600)
RATES_256 = (2, 3, 4, 5, 8, 10, 15, 20, 30, 40, 60, 100)
DEFAULT_POINTS = [
    "pristine",
    *(f"jpeg:q{q}" for q in QUALITIES),
    *(f"jpeg2000:{r}x" for r in RATES),
    *(f"jpeg:q{q}@256" for q in QUALITIES),
    *(f"jpeg2000:{r}x@256" for r in RATES_256),
]
POINT = re.compile(r"(?:pristine|jpeg:q(?P<quality>\d+)|jpeg2000:(?P<rate>[\d.]+)x)(?:@(?P<side>\d+))?")


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
        raise SystemExit(f"--points: {text!r}: expected 'pristine', 'jpeg:q30' or 'jpeg2000:40x' (or '@256')")
    quality, rate, side = found["quality"], found["rate"], int(found["side"] or 0)
    codec = "jpeg" if quality else "jpeg2000" if rate else "pristine"
    return Point(found[0], codec, float(quality or rate or 0), side)


def share_sources(paths: list[Path], threads: int) -> list[Pixels]:
    """Decode every file once, grey, into one block of memory that forked workers share."""
    with ThreadPoolExecutor(threads) as pool:
        sizes = list(pool.map(_size, paths))
        starts = np.concatenate([[0], np.cumsum([height * width for height, width in sizes])])
        block = np.frombuffer(mmap.mmap(-1, int(starts[-1])), np.uint8)
        sources = [
            block[start : start + height * width].reshape(height, width)
            for start, (height, width) in zip(starts, sizes, strict=False)
        ]
        list(pool.map(_decode_into, paths, sources))
    return sources


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as file:
        return file.height, file.width


def _decode_into(path: Path, into: Pixels) -> None:
    into[...] = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)


def encode(pixels: Pixels, point: Point, jpeg2000: str) -> bytes:
    """Code one grey image."""
    if point.codec == "jpeg":
        return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(point.quality)])[1].tobytes()
    if jpeg2000 == "opencv":
        thousandths = max(1, round(1000 / point.quality))
        return cv2.imencode(".jp2", pixels, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, thousandths])[
            1
        ].tobytes()
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    how = {"quality_mode": "rates", "quality_layers": [point.quality], "irreversible": True, "no_jp2": True}
    image.save(stream, "JPEG2000", **how)
    return stream.getvalue()


def decode(stream: bytes, point: Point) -> Pixels:
    """Decode what :func:`encode` gave."""
    if point.codec == "jpeg":
        return cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_UNCHANGED)
    return imagecodecs.jpeg2k_decode(stream, numthreads=1)


class Pairs(Dataset):
    """All (case, point) pairs, case after case: ``(input, index, coded bytes)``."""

    def __init__(self, sources: list[Pixels], points: list[Point], size: list[int], jpeg2000: str) -> None:
        self.sources, self.points, self.jpeg2000 = sources, points, jpeg2000
        self.height, self.width = size
        self.small = functools.lru_cache(maxsize=4)(self._small)

    def __len__(self) -> int:
        return len(self.sources) * len(self.points)

    def _small(self, case: int, side: int) -> Pixels:
        return cv2.resize(self.sources[case], (side, side), interpolation=cv2.INTER_LANCZOS4)

    def __getitem__(self, index: int) -> tuple[Pixels, int, int]:
        case, number = divmod(index, len(self.points))
        source, point = self.sources[case], self.points[number]
        pixels, coded_bytes = source, source.size
        if point.codec != "pristine":
            stream = encode(self.small(case, point.side) if point.side else source, point, self.jpeg2000)
            pixels, coded_bytes = decode(stream, point), len(stream)
            if point.side:
                pixels = cv2.resize(pixels, source.shape[::-1], interpolation=cv2.INTER_LANCZOS4)
        seen = Image.fromarray(pixels).resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(seen), index, coded_bytes


def collate(pairs: list[tuple[Pixels, int, int]]) -> tuple[torch.Tensor, list[int], list[int]]:
    """Stack a batch of bytes; what goes through the pipe is a quarter of float32."""
    inputs, indices, sizes = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(inputs)), list(indices), list(sizes)


def quiet_worker(_: int) -> None:
    """Keep a worker to one thread: the workers are the parallelism."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def scaled(batch: Pixels, spec: dict[str, Any]) -> np.ndarray:
    """Bring ``(n, H, W)`` bytes to the network's ``(n, C, H, W)`` float32."""
    mean, std = (np.float32(spec.get(key, [default])[0]) for key, default in (("mean", 0.0), ("std", 1.0)))
    values = batch.astype(np.float32)[:, None]
    values /= np.float32(255)
    if mean or std != 1:
        values = (values - mean) / std
    return np.repeat(values, spec.get("channels", 1), axis=1)


def open_onnx(path: Path, threads: int) -> tuple[Predict, dict[str, Any]]:
    """Open an ONNX network whose threads sleep, not spin, while the workers code."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    sidecar = json.loads(path.with_suffix(".json").read_text())
    return lambda batch: session.run(None, {name: scaled(batch, sidecar["input"])})[0], sidecar


def open_torch(path: Path, target: str, threads: int) -> tuple[Predict, dict[str, Any]]:
    """Build ``module:factory`` with its state dict, channels last."""
    torch.set_num_threads(threads)
    module, _, factory = target.partition(":")
    network = getattr(importlib.import_module(module), factory)()
    network.load_state_dict(torch.load(path, weights_only=True))
    network = network.eval().to(memory_format=torch.channels_last)
    sidecar = json.loads(Path(f"{path}.json").read_text())

    def predict(batch: Pixels) -> np.ndarray:
        inputs = torch.from_numpy(scaled(batch, sidecar["input"]))
        return network(inputs.to(memory_format=torch.channels_last)).numpy()

    return predict, sidecar


def to_probabilities(output: np.ndarray, kind: str) -> np.ndarray:
    """Turn the network's output into ``(n, n_classes)`` probabilities."""
    if kind == "probabilities":
        return output
    raised = np.exp(output - output.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", type=Path, required=True, help="CSV with a path column, relative to its folder"
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="ONNX file or state dict with its sidecar beside it"
    )
    parser.add_argument("--torch", help="module:factory of the network whose state dict --model is")
    parser.add_argument("--points", default=",".join(DEFAULT_POINTS), help="comma-separated")
    parser.add_argument("--jpeg2000", choices=["pillow", "opencv"], default="pillow", help="who encodes it")
    parser.add_argument("--workers", type=int, default=cores, help="DataLoader workers (default: all cores)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    return parser.parse_args(argv)


def write_rows(args: argparse.Namespace, names: list[str], points: list[Point]) -> None:
    """Code, classify and write every pair, one loader over all of them."""
    sources = share_sources([args.table.parent / name for name in names], os.cpu_count() or 1)
    sidecar_of = Path(f"{args.model}.json") if args.torch else args.model.with_suffix(".json")
    size = json.loads(sidecar_of.read_text())["input"]["size"]
    pairs = Pairs(sources, points, size, args.jpeg2000)
    more = {"prefetch_factor": 4, "persistent_workers": True} if args.workers else {}
    loader = DataLoader(
        pairs, args.batch, num_workers=args.workers, collate_fn=collate, worker_init_fn=quiet_worker, **more
    )
    batches = iter(loader)  # the workers start, and code, while the network loads
    if args.torch:
        predict, sidecar = open_torch(args.model, args.torch, args.threads)
    else:
        predict, sidecar = open_onnx(args.model, args.threads)
    labels = sidecar["labels"]
    with args.out.open("w", newline="") as file, torch.inference_mode():
        writer = csv.writer(file)
        writer.writerow(["path", "point", "bytes_coded", *(f"p_{name}" for name in labels), "predicted"])
        for batch, indices, n_bytes in batches:
            rows = to_probabilities(predict(batch.numpy()), sidecar["output"])
            for row, index, size in zip(rows, indices, n_bytes, strict=True):
                case, number = divmod(index, len(points))
                values = [repr(float(value)) for value in row]
                writer.writerow([names[case], points[number].text, size, *values, labels[int(row.argmax())]])


def main(argv: list[str] | None = None) -> None:
    """Run every pair, write the rows, print the time."""
    args = parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    points = [parse_point(text) for text in args.points.split(",")]
    with args.table.open(newline="") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    if not names:
        raise SystemExit(f"{args.table} holds no case")
    write_rows(args, names, points)
    wall_s = time.time() - psutil.Process().create_time()
    counts = {"cases": len(names), "points": len(points), "rows": len(names) * len(points)}
    print(json.dumps({**counts, "workers": args.workers, "wall_s": round(wall_s, 2)}))


if __name__ == "__main__":
    main()
