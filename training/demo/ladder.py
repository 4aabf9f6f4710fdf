"""Print the shipped classifier's accuracy on phantoms along the chains.

Run from the repository's root::

    python training/demo/ladder.py --card

Phantoms are drawn anew (seeded by words of their own), coded with Pillow, and classified
by onnxruntime: a check of the phantoms and the network that uses no codec of BitDose.
Ratios are raw pixel bytes of the full-size phantom over coded bytes, total over total.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from PIL import Image

from bitdose.data.phantoms import LABELS, SIZE, draw_phantom
from bitdose.hashing import rng_for

POINTS = (
    "pristine",
    *(f"jpeg:q{q}" for q in (95, 75, 50, 30, 10, 5, 1)),
    *(f"jpeg2000:{r}x" for r in (5, 10, 20, 40, 80, 150, 300, 600)),
    "pristine@256",
    *(f"jpeg:q{q}@256" for q in (95, 75, 30, 10, 5)),
    *(f"jpeg2000:{r}x@256" for r in (2, 5, 10, 20, 40)),
)


HEADING = """
## Along the chains

{n} fresh phantoms, seeds `("{name}", label, i)`; Pillow's default Huffman tables, 9/7 wavelet, for `@256`
OpenCV's Lanczos-4 down and back. The ratio is raw full-size pixels to coded bytes, total over total; the last
columns are the share right per class. One run without intervals: with {n} cases a figure near 0.9 is good to
about 0.06 either way.

"""


def code(pixels: np.ndarray, point: str) -> tuple[np.ndarray, int]:
    """Return the decoded pixels, in the original size, and the coded bytes."""
    name, _, side = point.partition("@")
    codec, _, quality = name.partition(":")
    small = cv2.resize(pixels, (int(side), int(side)), interpolation=cv2.INTER_LANCZOS4) if side else pixels
    n_bytes = small.nbytes
    if codec != "pristine":
        stream = io.BytesIO()
        if codec == "jpeg":
            Image.fromarray(small).save(stream, "JPEG", quality=int(quality[1:]))
        else:
            options = {"quality_mode": "rates", "quality_layers": [float(quality[:-1])], "irreversible": True}
            Image.fromarray(small).save(stream, "JPEG2000", no_jp2=True, **options)
        n_bytes = stream.tell()
        small = np.asarray(Image.open(stream))
    if side:
        small = cv2.resize(small, pixels.shape[::-1], interpolation=cv2.INTER_LANCZOS4)
    return small, n_bytes


def table(answers: np.ndarray, n_bytes: np.ndarray, truth: np.ndarray) -> str:
    """Return the accuracies as a Markdown table; answers and bytes are ``(n_cases, n_points)``."""
    lines = ["| point | ratio (pixels) | accuracy | " + " | ".join(LABELS) + " |"]
    lines.append("|---|---|---|" + "---|" * len(LABELS))
    for k, point in enumerate(POINTS):
        right = answers[:, k] == truth
        ratio = len(truth) * SIZE * SIZE / n_bytes[:, k].sum()
        each = " | ".join(f"{right[truth == label].mean():.2f}" for label in range(len(LABELS)))
        lines.append(f"| {point} | {ratio:.1f} | {right.mean():.3f} | {each} |")
    return "\n".join(lines) + "\n"


def open_session(model: Path) -> onnxruntime.InferenceSession:
    """Open the network with one thread: the cases are the parallelism."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Draw, code at every point, classify, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("src/bitdose/models/shipped/phantom.onnx"))
    parser.add_argument("--n-per-class", type=int, default=30)
    parser.add_argument("--name", default="phantom-chains", help="names the phantoms' seeds")
    parser.add_argument("--card", action="store_true", help="put the table into the model's card")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    spec = json.loads(args.model.with_suffix(".json").read_text())["input"]
    session = open_session(args.model)

    def answer(pixels: np.ndarray) -> int:
        grey = np.asarray(Image.fromarray(pixels).resize(spec["size"][::-1], Image.Resampling.BILINEAR))
        inputs = (np.float32(grey) / np.float32(255.0) - np.float32(spec["mean"][0])) / np.float32(
            spec["std"][0]
        )
        return int(session.run(None, {"image": inputs[None, None]})[0].argmax())

    def case(name: tuple[int, int]) -> list[tuple[int, int]]:
        pixels = draw_phantom(LABELS[name[0]], rng=rng_for(args.name, LABELS[name[0]], name[1]))
        coded = (code(pixels, point) for point in POINTS)
        return [(answer(decoded), n_bytes) for decoded, n_bytes in coded]

    cases = [(label, i) for label in range(len(LABELS)) for i in range(args.n_per_class)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = np.array(list(pool.map(case, cases)))
    text = HEADING.format(n=len(cases), name=args.name)
    text += table(found[..., 0], found[..., 1], np.array([label for label, _ in cases]))
    print(text)
    if args.card:
        card = args.model.with_suffix(".md")
        card.write_text(card.read_text().split("\n## ")[0] + text)


if __name__ == "__main__":
    main()
