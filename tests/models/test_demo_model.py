"""What the shipped classifier of phantoms promises; it runs without torch."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

import bitdose.models
from bitdose.data.phantoms import LABELS, draw_phantom
from bitdose.hashing import file_digest, rng_for

SHIPPED = Path(bitdose.models.__file__).parent / "shipped"
N_PER_CLASS = 10


@pytest.fixture(scope="module")
def sidecar() -> dict:
    """Return the shipped sidecar."""
    return json.loads((SHIPPED / "phantom.json").read_text())


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    """Open the shipped network with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(SHIPPED / "phantom.onnx"), options, providers=["CPUExecutionProvider"]
    )


@pytest.fixture(scope="module")
def phantoms() -> list[tuple[int, NDArray[np.uint8]]]:
    """Draw a small set that neither training nor any demo uses."""
    names = [(label, i) for label in range(len(LABELS)) for i in range(N_PER_CLASS)]
    return [
        (label, draw_phantom(LABELS[label], rng=rng_for("test-demo-model", label, i))) for label, i in names
    ]


def prepare(pixels: NDArray[np.uint8], spec: dict) -> NDArray[np.float32]:
    """Bring one phantom to the network's input ``(1, height, width)``."""
    height, width = spec["size"]
    grey = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    return ((grey.astype(np.float32) / 255.0 - spec["mean"][0]) / spec["std"][0])[None].astype(np.float32)


def jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Code and decode with Pillow."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def accuracy(session: onnxruntime.InferenceSession, sidecar: dict, cases: list) -> float:
    """Return the share of cases that the network gets right."""
    inputs = np.stack([prepare(pixels, sidecar["input"]) for _, pixels in cases])
    answers = session.run(None, {"image": inputs})[0].argmax(axis=1)
    return float(np.mean(answers == [label for label, _ in cases]))


def test_the_shipped_files_are_small() -> None:
    """Network, sidecar and card together stay below one megabyte."""
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1_000_000


def test_the_sidecar_says_how_to_feed_the_network(
    session: onnxruntime.InferenceSession, sidecar: dict
) -> None:
    """Input size, channels and labels of the sidecar are those of the graph; the batch is free."""
    spec = sidecar["input"]
    shape = session.get_inputs()[0].shape
    assert shape[1:] == [spec["channels"], *spec["size"]]
    assert not isinstance(shape[0], int)
    assert (spec["layout"], spec["range"], sidecar["output"]) == ("NCHW", [0.0, 1.0], "probabilities")
    assert tuple(sidecar["labels"]) == LABELS
    assert session.get_outputs()[0].shape[1] == len(LABELS)


def test_the_card_describes_this_file() -> None:
    """The model card holds the digest of the network it lies beside and says what it is not for."""
    card = (SHIPPED / "phantom.md").read_text()
    assert file_digest(SHIPPED / "phantom.onnx") in card
    assert "Not for any clinical use" in card


def test_a_batch_gives_the_rows_of_its_images(
    session: onnxruntime.InferenceSession, sidecar: dict, phantoms: list
) -> None:
    """An image's probabilities do not depend on what else is in the batch, and sum to one."""
    inputs = np.stack([prepare(pixels, sidecar["input"]) for _, pixels in phantoms[:3]])
    together = session.run(None, {"image": inputs})[0]
    alone = np.concatenate([session.run(None, {"image": row[None]})[0] for row in inputs])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together.sum(axis=1), 1.0, atol=1e-5)


def test_compression_bites(session: onnxruntime.InferenceSession, sidecar: dict, phantoms: list) -> None:
    """Pristine phantoms are told apart; at JPEG's floor most of that is gone."""
    pristine = accuracy(session, sidecar, phantoms)
    broken = accuracy(session, sidecar, [(label, jpeg(pixels, 1)) for label, pixels in phantoms])
    assert pristine >= 0.85
    assert broken <= pristine - 0.3
