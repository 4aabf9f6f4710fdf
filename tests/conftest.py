"""Small real things that many tests need: an image set on disk and a classifier of texture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

LABELS = ("smooth", "grainy", "rough")
_NOISE = {"smooth": 2.0, "grainy": 14.0, "rough": 40.0}
SHARED = Path(__file__).resolve().parents[2] / "shared"


def write_texture_set(folder: Path, *, per_class: int = 4, side: int = 96) -> Path:
    """Write a folder per class of grey PNGs that differ in how grainy they are."""
    rng = np.random.default_rng(5)
    ramp = np.linspace(60, 190, side)[None, :] * np.ones((side, 1))
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            noise = rng.normal(0, _NOISE[label], (side, side))
            pixels = np.clip(ramp + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / label / f"{index}.png"), pixels)
    return folder


def write_texture_model(path: Path, *, side: int = 96) -> Path:
    """Write an ONNX classifier whose answer is how far an image is from its 3x3 average."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    centres = np.array([0.006, 0.042, 0.115], np.float32)  # mean distance of each class, pristine
    weights = {"slope": 2e5 * centres[None, :], "bias": -1e5 * centres**2, "axes": np.array([1, 2, 3])}
    nodes = [
        helper.make_node("AveragePool", ["image"], ["mean"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Sub", ["image", "mean"], ["gap"]),
        helper.make_node("Abs", ["gap"], ["size"]),
        helper.make_node("ReduceMean", ["size", "axes"], ["grain4"]),
        helper.make_node("Flatten", ["grain4"], ["grain"]),
        helper.make_node("MatMul", ["grain", "slope"], ["raised"]),
        helper.make_node("Add", ["raised", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "texture",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, side, side])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    path.with_suffix(".json").write_text(json.dumps({"output": "probabilities", "labels": LABELS}))
    return path


@pytest.fixture(scope="session")
def texture_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of 12 images, four of each class."""
    return write_texture_set(tmp_path_factory.mktemp("data") / "textures")


@pytest.fixture(scope="session")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the documents' example package, a codec, into a folder of its own."""
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    target = tmp_path_factory.mktemp("site")
    quiet = ["--quiet", "--disable-pip-version-check", "--no-warn-script-location"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    pip = [sys.executable, "-m", "pip", "install", *quiet, *offline]
    package = Path(__file__).resolve().parents[1] / "docs" / "examples" / "bitdose-webp"
    subprocess.run([*pip, "--target", str(target), str(package)], check=True)
    return target


@pytest.fixture(scope="session")
def many_textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of 60 images, enough to show a wide margin."""
    return write_texture_set(tmp_path_factory.mktemp("data") / "many-textures", per_class=20)


@pytest.fixture(scope="session")
def texture_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an ONNX classifier of the texture set with its sidecar."""
    return write_texture_model(tmp_path_factory.mktemp("model") / "texture.onnx")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of real images; skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared real images are not here")
    return SHARED
