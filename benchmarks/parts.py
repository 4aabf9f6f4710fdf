"""What the parts of a sweep cost, and what was tried for each: the ground of the choices in the README.

    python benchmarks/parts.py --table cases.csv --split test --size 1024 --model cxr_mobilenetv2.onnx

Every row is one way to do one thing on real X-rays, in milliseconds of processor time on one thread, the
median over the images of the least of three runs. *Same* says whether the result is that of the first row
of its kind, to the last bit. Freed memory is kept as a study's workers keep it; with ``--give-back`` it goes
back to the system each time. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy
os.environ["OPENCV_LOG_LEVEL"] = "ERROR"  # it warns of every JPEG 2000 codestream

import cv2
import imagecodecs
import numpy as np
from measure import machine, print_table, subset, today
from PIL import Image as PillowImage

from bitdose.codecs.jpeg import Jpeg
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.data.read import read_bytes
from bitdose.image import Image
from bitdose.malloc import keep_freed_memory
from bitdose.metrics.fidelity import SsimReference, psnr_db, ssim
from bitdose.models.load import ModelRef
from bitdose.models.prepare import prepare_many
from bitdose.native.library import load
from bitdose.resample.polyphase import bilinear_down, lanczos4_up
from bitdose.study.engines.local import RETAINED_BYTES

SMALL = 256
RATES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
QUALITIES = (90, 50, 10)
BATCHES = (1, 2, 4, 8, 16, 32)
REPEATS = 3

Work = Callable[[], Any]


class Way(NamedTuple):
    """One way to do a thing: what it does, how often in one call, and what it gives."""

    name: str
    work: Work
    per_call: int = 1


def milliseconds(work: Work) -> float:
    """Return the least processor time of a few calls."""
    least = float("inf")
    for _ in range(REPEATS):
        began = time.thread_time()
        work()
        least = min(least, time.thread_time() - began)
    return 1e3 * least


def resampling(images: Sequence[Image]) -> list[list[Way]]:
    """Bring images to the network's size, and small ones back to theirs."""
    large = [image.pixels for image in images[:4]]
    side = large[0].shape[0]
    small = [_lanczos4(plane, SMALL) for plane in large]
    merged = cv2.merge(small)
    ways = [
        [
            ("to the input, Pillow, one at a time", lambda: [_bilinear(plane) for plane in large]),
            ("to the input, Pillow, four as bands", lambda: _bilinear_as_bands(large)),
            ("to the input, in C", lambda: [bilinear_down(plane, SMALL, SMALL) for plane in large]),
        ],
        [
            ("back to full size, OpenCV, one at a time", lambda: [_lanczos4(plane, side) for plane in small]),
            ("back to full size, OpenCV, four as channels", lambda: list(cv2.split(_lanczos4(merged, side)))),
            ("back to full size, in C", lambda: [lanczos4_up(plane, side, side) for plane in small]),
        ],
    ]
    return [[Way(name, work, len(large)) for name, work in things] for things in ways]


def _lanczos4(pixels: Any, side: int) -> Any:
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LANCZOS4)


def _bilinear(pixels: Any) -> Any:
    resized = PillowImage.fromarray(pixels).resize((SMALL, SMALL), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized)


def _bilinear_as_bands(planes: Sequence[Any]) -> list[Any]:
    bands = cv2.merge(planes)
    packed = PillowImage.frombuffer("RGBX", bands.shape[1::-1], bands, "raw", "RGBX", 0, 1)
    resized = packed.resize((SMALL, SMALL), PillowImage.Resampling.BILINEAR)
    return list(cv2.split(np.asarray(resized)))


def reading(data: bytes) -> list[list[Way]]:
    """Read a source file."""
    return [
        [
            Way("read a source", lambda: read_bytes(data, color="grey").image.pixels),
            Way("decode a PNG, imagecodecs", lambda: imagecodecs.png_decode(data)),
            Way("decode a PNG, OpenCV", lambda: _opencv(data)),
        ]
    ]


def coding(image: Image) -> list[list[Way]]:
    """Encode and decode with each of the libraries that can."""
    chain = [Jpeg2000(rate) for rate in RATES]
    streams = [codec.encode(image) for codec in chain]
    layered = Jpeg2000.encode_chain(image, chain)[::-1]
    jpegs = [Jpeg(quality).encode(image) for quality in QUALITIES]
    return [
        [
            Way("JPEG 2000 encode, a rate at a time", lambda: [c.encode(image) for c in chain], len(chain)),
            Way("JPEG 2000 encode, together in C", lambda: Jpeg2000.encode_each(image, chain), len(chain)),
            Way(
                "JPEG 2000 encode, a layer per rate", lambda: Jpeg2000.encode_chain(image, chain), len(chain)
            ),
        ],
        [
            Way("JPEG 2000 decode, imagecodecs", lambda: _all(_imagecodecs, streams), len(RATES)),
            Way("JPEG 2000 decode, Pillow", lambda: _all(_pillow, streams), len(RATES)),
            Way("JPEG 2000 decode, OpenCV", lambda: _all(_opencv, streams), len(RATES)),
            Way("JPEG 2000 decode, in C", lambda: [_in_c([data])[0] for data in streams], len(RATES)),
            Way("JPEG 2000 decode, a chain in C", lambda: _in_c(streams[::-1])[::-1], len(RATES)),
        ],
        [
            Way("decode of a layered chain, imagecodecs", lambda: _all(_imagecodecs, layered), len(RATES)),
            Way("decode of a layered chain, in C", lambda: _in_c(layered), len(RATES)),
        ],
        [
            Way("JPEG encode, Pillow", lambda: [Jpeg(q).encode(image) for q in QUALITIES], len(QUALITIES)),
            Way("JPEG encode, OpenCV", lambda: [_opencv_jpeg(image, q) for q in QUALITIES], len(QUALITIES)),
        ],
        [
            Way("JPEG decode, Pillow", lambda: _all(_pillow, jpegs), len(QUALITIES)),
            Way("JPEG decode, OpenCV", lambda: _all(_opencv, jpegs), len(QUALITIES)),
        ],
    ]


def _all(decode: Callable[[bytes], Any], streams: Sequence[bytes]) -> list[Any]:
    return [decode(data) for data in streams]


def _imagecodecs(data: bytes) -> Any:
    return imagecodecs.jpeg2k_decode(data, numthreads=1)


def _in_c(streams: Sequence[bytes]) -> list[Any]:
    decode = Jpeg2000.chain_decoder(streams)
    return [decode(data).pixels for data in streams]


def _pillow(data: bytes) -> Any:
    return np.asarray(PillowImage.open(io.BytesIO(data)))


def _opencv(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _opencv_jpeg(image: Image, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image.pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def measuring(image: Image) -> list[list[Way]]:
    """Measure fidelity: what a sweep pays for its columns."""
    decoded = Jpeg(50).decode(Jpeg(50).encode(image)).pixels
    kept = SsimReference.of(image.pixels, peak=255)
    return [
        [Way("PSNR", lambda: psnr_db(image.pixels, decoded, peak=255))],
        [
            Way("SSIM", lambda: ssim(image.pixels, decoded, peak=255)),
            Way("SSIM, the original's part kept", lambda: kept.ssim(decoded)),
        ],
    ]


def inference(images: Sequence[Image], model: Path) -> list[list[Way]]:
    """Classify in batches of several sizes."""
    classifier = ModelRef(str(model)).load()
    entries = prepare_many(list(images), classifier.spec)
    inputs = np.stack([entries[n % len(entries)] for n in range(max(BATCHES))])

    def in_batches(size: int) -> Any:
        return np.concatenate([classifier.predict(inputs[n : n + size]) for n in range(0, len(inputs), size)])

    return [
        [Way(f"inference, batches of {size}", lambda s=size: in_batches(s), len(inputs)) for size in BATCHES]
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal to the last bit."""
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else one == other


def main() -> None:
    """Time every way and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--size", type=int)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--give-back", action="store_true", help="give freed memory back to the system")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if load() is None:
        parser.error("the loops in C were not compiled: install a C compiler and the package again")
    if not args.give_back:
        keep_freed_memory(up_to=RETAINED_BYTES)
    with tempfile.TemporaryDirectory() as name:
        table = subset(args.table, Path(name), split=args.split, size=args.size, n=args.n)
        paths = [line.split(",")[1] for line in table.read_text().splitlines()[1:]]
        files = [Path(path).read_bytes() for path in paths]
    images = [read_bytes(data, color="grey").image for data in files]
    per_image = [
        [*reading(data), *coding(image), *measuring(image)] for data, image in zip(files, images, strict=True)
    ]
    found: dict[str, list[float]] = {}
    equal: dict[str, str] = {}
    for things in (resampling(images), inference(images, args.model), *per_image):
        for ways in things:
            first = ways[0].work()
            for way in ways:
                found.setdefault(way.name, []).append(milliseconds(way.work) / way.per_call)
                if way is not ways[0]:
                    equal[way.name] = (
                        "yes" if same(first, way.work()) and equal.get(way.name) != "no" else "no"
                    )
    medians = {name: round(statistics.median(values), 3) for name, values in found.items()}
    print(f"{machine()}; {today()}\n")
    print_table(
        ("what", "ms each", "same"), [(n, f"{ms:.2f}", equal.get(n, "")) for n, ms in medians.items()]
    )
    print(json.dumps({"what": "parts", "machine": machine(), "date": today(), "ms": medians, "same": equal}))


if __name__ == "__main__":
    main()
