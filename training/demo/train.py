"""Train the small classifier of phantoms that ships with the package.

Run from the repository's root::

    python training/demo/train.py

It draws its own phantoms (seeded by words, which no demo or test uses), trains, exports to
ONNX, checks the export against PyTorch, and writes ``phantom.onnx``, ``phantom.json`` and
``phantom.md`` to ``src/bitdose/models/shipped``. No compressed image is ever shown in
training, so that the ladder measures what compression does to an unprepared network.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from PIL import Image
from torch import nn

from bitdose.data.phantoms import LABELS, draw_phantom
from bitdose.hashing import file_digest, rng_for

SIDE = 256
MEAN, STD = 0.45, 0.25
SHIPPED = Path("src/bitdose/models/shipped")
EXPORT_TOLERANCE = 1e-4
MAX_SHIFT = 10
SURROUND = 9
CONTRAST_GAIN = 8.0
EXAGGERATION = 3.0

SIDECAR = {
    "input": {
        "size": [SIDE, SIDE],
        "channels": 1,
        "layout": "NCHW",
        "range": [0.0, 1.0],
        "mean": [MEAN],
        "std": [STD],
        "resize": "bilinear",
    },
    "output": "probabilities",
    "labels": list(LABELS),
}

CARD = """\
# phantom.onnx: a small classifier of drawn chest phantoms

**Not for any clinical use.** It has seen drawings only (`bitdose.data.phantoms`). Its classes are names of
what was drawn ({labels}) and no diagnoses; no number below says anything about images of patients.
It ships so that `bitdose demo` and the tests have a real network whose accuracy falls when images are
compressed. It was never tried on another image size, on other phantoms or on photographs of any kind.

| | |
|---|---|
| network | local contrast, five convolutions with batch norm and ReLU, three poolings (mean, fourth-power \
mean, maximum), one linear layer; {parameters:,} parameters |
| input | `image` (N, 1, {side}, {side}) float32: grey in [0, 1] by Pillow's anti-aliased bilinear, then \
(x - {mean}) / {std} |
| output | `probabilities` (N, 3) float32: {labels} |
| file | {bytes:,} bytes, ONNX opset {opset}, SHA-256 `{digest}` |
| trained on | {n_train} pristine phantoms per class, seeds `("phantom-train", i)`; flips, shifts, \
brightness, contrast and a little noise; \
every second one resized to 256 and back (OpenCV Lanczos-4); no \
compressed image |
| how | AdamW, one-cycle rate up to {rate}, what a class adds is exaggerated at \
first, {epochs} epochs, {batch} chests (three phantoms each) a step, \
seed {seed}; the last epoch is \
kept, none is chosen |
| held out | {n_test} phantoms per class, seeds `("phantom-test", i)`: accuracy {accuracy:.4f}; \
{per_class} |
| export | largest difference to PyTorch on the held-out set {difference:.1e} |

Made by `python training/demo/train.py` (torch {torch}, one thread: the same build on the same processor gives
the same file). `python training/demo/ladder.py --card` adds the accuracy along the chains.
Phantoms, network and training were adjusted several times with the held-out set in view, so its accuracy
is a little flattering; the phantoms of the chains below were drawn after the last change.
"""


class PhantomNet(nn.Module):
    """Local contrast, a few convolutions, then three poolings of each map.

    The mean answers to texture, the maximum to a single blob, the fourth-power mean to a few.
    """

    def __init__(self) -> None:
        """Draw the initial weights from torch's global generator."""
        super().__init__()
        plan = [(1, 16, 5, 2), (16, 24, 3, 2), (24, 24, 3, 1), (24, 48, 3, 2), (48, 48, 3, 1)]
        self.trunk = nn.Sequential(*(block(*layer) for layer in plan))
        n_pooled = 3 * plan[-1][1]
        # Without normalisation here the maxima drown the means and training stalls at chance.
        self.head = nn.Sequential(nn.BatchNorm1d(n_pooled), nn.Linear(n_pooled, len(LABELS)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(N, 1, 256, 256)`` normalised grey to ``(N, 3)`` logits."""
        surround = nn.functional.avg_pool2d(image, SURROUND, 1, SURROUND // 2, count_include_pad=False)
        maps = self.trunk(((image - surround) * CONTRAST_GAIN).clamp(-3.0, 3.0))
        mean = nn.functional.adaptive_avg_pool2d(maps, 1)
        peak = nn.functional.adaptive_max_pool2d(maps, 1)
        few = (nn.functional.adaptive_avg_pool2d(maps**4, 1) + 1e-6) ** 0.25
        return self.head(torch.cat([mean, peak, few], dim=1).flatten(1))


def block(n_in: int, n_out: int, kernel: int, stride: int) -> nn.Sequential:
    """Return convolution, batch norm and ReLU."""
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU())


def draw_set(name: str, n_per_class: int, *, rescaled: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw phantoms at the network's size: ``(n, 1, 256, 256) uint8`` and class numbers ``(n,)``.

    The three classes come in turn and share a seed, so that each three show one chest with one
    noise: their difference is what the class adds. With ``rescaled`` every second
    chest first goes to 256 pixels and back by OpenCV's Lanczos-4, which does not anti-alias: the
    network shall know that noise, uncoded.
    """

    def draw(case: tuple[int, int]) -> np.ndarray:
        label, i = case
        pixels = draw_phantom(LABELS[label], rng=rng_for(name, i))
        if rescaled and i % 2:
            small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LANCZOS4)
            pixels = cv2.resize(small, pixels.shape[::-1], interpolation=cv2.INTER_LANCZOS4)
        return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    cases = [(label, i) for i in range(n_per_class) for label in range(len(LABELS))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = np.stack(list(pool.map(draw, cases)))
    return torch.from_numpy(images)[:, None], torch.tensor([label for label, _ in cases])


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Bring uint8 to the network's range."""
    return (images.float() / 255.0 - MEAN) / STD


def augment(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Flip, shift, change brightness and contrast alike for the three of a chest; add a little noise."""
    n_chests = len(images) // len(LABELS)

    def each(values: torch.Tensor) -> torch.Tensor:
        return values.repeat_interleave(len(LABELS)).reshape(-1, 1, 1, 1)

    images = torch.where(each(torch.rand(n_chests, generator=draw) < 0.5), images.flip(-1), images)
    padded = nn.functional.pad(images, [MAX_SHIFT] * 4, mode="replicate")
    corners = torch.randint(0, 2 * MAX_SHIFT + 1, (n_chests, 2), generator=draw)
    corners = corners.repeat_interleave(len(LABELS), dim=0).tolist()
    images = torch.stack([padded[i, :, y : y + SIDE, x : x + SIDE] for i, (y, x) in enumerate(corners)])
    gain, shift = torch.rand((2, n_chests), generator=draw) * 0.3 - 0.15
    noise = torch.randn(images.shape, generator=draw) * each(0.015 * torch.rand(n_chests, generator=draw))
    return images * (1.0 + each(gain)) + each(shift) + noise


def exaggerate(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Scale what each class adds to its chest; the first of each three is the clear one."""
    chests = images.unflatten(0, (-1, len(LABELS)))
    clear = chests[:, :1]
    return (clear + factor * (chests - clear)).flatten(0, 1)


def fit(net: PhantomNet, images: torch.Tensor, labels: torch.Tensor, args: argparse.Namespace) -> None:
    """Train in place with a one-cycle rate; order and augmentation follow one seeded generator.

    The first half goes from plain phantoms to the real ones: a network that starts with the
    faint ones stays at chance for long.
    """
    draw = torch.Generator().manual_seed(args.seed)
    n_chests = len(images) // len(LABELS)
    steps = n_chests // args.batch
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, args.epochs * steps)
    net.train()
    for epoch in range(args.epochs):
        start, total = time.perf_counter(), 0.0
        factor = max(1.0, EXAGGERATION * (1.0 - 2.0 * epoch / args.epochs))
        for chests in torch.randperm(n_chests, generator=draw)[: steps * args.batch].split(args.batch):
            batch = (chests[:, None] * len(LABELS) + torch.arange(len(LABELS))).flatten()
            inputs = augment(exaggerate(normalise(images[batch]), factor), draw)
            logits = net(inputs.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(
            f"epoch {epoch + 1:2d} loss {total / steps:.4f} {time.perf_counter() - start:.1f} s", flush=True
        )
    net.eval()


def export(net: PhantomNet, path: Path, opset: int) -> None:
    """Write the network with a softmax and a free batch axis."""
    whole = nn.Sequential(net, nn.Softmax(dim=1)).eval()
    torch.onnx.export(
        whole,
        (torch.zeros(2, 1, SIDE, SIDE),),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=["image"],
        output_names=["probabilities"],
        dynamic_axes={"image": {0: "n"}, "probabilities": {0: "n"}},
    )


def run_onnx(path: Path, inputs: np.ndarray) -> np.ndarray:
    """Return the exported network's probabilities ``(n, 3)``."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": part})[0] for part in np.array_split(inputs, 20)])


def report(net: PhantomNet, path: Path, args: argparse.Namespace) -> None:
    """Check the export on the held-out set, print the numbers and write the card."""
    images, labels = draw_set("phantom-test", args.n_test)
    inputs = normalise(images)
    exported = run_onnx(path, inputs.numpy())
    with torch.inference_mode():
        ours = torch.cat([net(part).softmax(1) for part in inputs.split(64)]).numpy()
    difference = float(np.abs(ours - exported).max())
    if difference > EXPORT_TOLERANCE:
        raise SystemExit(f"the export differs from PyTorch by {difference:.1e}")
    right = exported.argmax(1) == labels.numpy()
    per_class = [f"{name} {right[labels.numpy() == i].sum()}/{args.n_test}" for i, name in enumerate(LABELS)]
    facts = {
        "labels": ", ".join(LABELS),
        "parameters": sum(p.numel() for p in net.parameters()),
        "bytes": path.stat().st_size,
        "digest": file_digest(path),
        "accuracy": float(right.mean()),
        "difference": difference,
        "per_class": ", ".join(per_class),
    }
    print(json.dumps(facts, indent=2))
    fixed = {"side": SIDE, "mean": MEAN, "std": STD, "torch": torch.__version__}
    path.with_suffix(".md").write_text(CARD.format(**facts, **fixed, **vars(args)))


def main() -> None:
    """Draw, train, export, check, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--n-train", type=int, default=700, help="phantoms per class")
    parser.add_argument("--n-test", type=int, default=200, help="held-out phantoms per class")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=5, help="chests per step, three phantoms each")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--opset", type=int, default=17)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    net = PhantomNet().to(memory_format=torch.channels_last)
    fit(net, *draw_set("phantom-train", args.n_train, rescaled=True), args)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "phantom.onnx"
    export(net, path, args.opset)
    path.with_suffix(".json").write_text(json.dumps(SIDECAR, indent=2) + "\n")
    report(net, path, args)


if __name__ == "__main__":
    main()
