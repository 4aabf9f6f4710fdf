"""Peak memory of the brain-tumour net on one volume of 155x240x240, by PyTorch and by onnxruntime.

Each runtime classifies in a process of its own, with fresh weights; the peak is what the system
counts for that process, library and weights included. ``python benchmarks/brain_memory.py``
prints one line per runtime; the limit that the project set itself is 8 GB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SLICES, SIDE = 155, 240
LABELS = ("healthy", "LGG", "HGG")
LIMIT_GB = 8.0


def make(folder: Path) -> None:
    """Write the weights, the ONNX file and their sidecars."""
    from bitdose.models import brain_tumor
    from bitdose.models.spec import fields_of, merge_spec
    from bitdose.training.export import write_model

    spec = merge_spec({"net": fields_of(brain_tumor.spec_of(LABELS, side=SIDE), origin="net")})
    write_model(brain_tumor.network(len(LABELS)), spec, folder, images=[])


def classify(way: str, folder: Path) -> None:
    """Classify one volume and print seconds, peak memory and the answer."""
    from bitdose.models.load import ModelRef

    if way == "torch":
        classifier = ModelRef("brain-tumor", weights=str(folder / "model.pt")).load()
    else:
        classifier = ModelRef(str(folder / "model.onnx")).load()
    volume = np.random.default_rng(0).random((1, 1, SLICES, SIDE, SIDE), np.float32)
    started = time.perf_counter()
    answer = classifier.predict(volume)
    seconds = time.perf_counter() - started
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    verdict = "below" if peak_gb < LIMIT_GB else "ABOVE"
    shown = ", ".join(f"{value:.4f}" for value in answer[0])
    print(f"{way}: peak {peak_gb:.2f} GB ({verdict} {LIMIT_GB:g} GB), {seconds:.0f} s on one thread, {shown}")


def main() -> None:
    """Measure both runtimes."""
    if len(sys.argv) > 1:
        classify(sys.argv[1], Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        for way in ("torch", "onnx"):
            subprocess.run([sys.executable, __file__, way, folder], check=True)


if __name__ == "__main__":
    main()
