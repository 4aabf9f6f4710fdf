"""Small real things that many tests need: an image set, a classifier of texture, a table of predictions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Test processes share the cores: a pool of threads in each would only get in the others' way. Before numpy.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from bitdose.results.table import rows_to_table  # noqa: E402

MakeRows = Callable[..., pl.DataFrame]
LABELS = ("smooth", "grainy", "rough")
_NOISE = {"smooth": 2.0, "grainy": 14.0, "rough": 40.0}
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """Take SIGINT as a terminal gives it, also under ``nohup`` or ``make test &``: children inherit it.

    No drawn example fails for its time: the machine may have other things to do.
    """
    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """Give ``subprocess.Popen`` whose processes end with the test, however it ends, and leave no pipe open.

    A failed test's pipe would else be found by the garbage collector in the middle of some later test.
    """
    started: list[subprocess.Popen[Any]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(*arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()
        process.wait()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of real images; skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared real images are not here")
    return SHARED


def table_of(
    answers: Mapping[str, Sequence[str]],
    truth: Sequence[str],
    *,
    patients: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    coded_bytes: Mapping[str, int] | None = None,
    classes: Sequence[str] = ("sick", "well"),
    sure: float = 0.9,
) -> pl.DataFrame:
    """Make a table from each point's answers; a point's strength is its place, files have 1,000 bytes."""
    rows: list[dict[str, Any]] = []
    for place, (point, given) in enumerate(answers.items()):
        chain = point.partition(":")[0] + ("@" + point.partition("@")[2] if "@" in point else "")
        for n, (label, answer) in enumerate(zip(truth, given, strict=True)):
            rest = (1 - sure) / (len(classes) - 1)
            rows.append(
                {
                    "case_id": f"case-{n:04d}", "case_label": label, "point": point, "codec_chain": chain,
                    "case_patient": patients[n] if patients else f"case-{n:04d}",
                    "case_split": splits[n] if splits else "", "codec_strength": float(place),
                    "bytes_file": 1000, "bytes_pixels": 4000,
                    "bytes_coded": (coded_bytes or {}).get(point, 1000 // (place + 1)),
                    "model": "toy@1", "predicted": answer, "status": "ok",
                    **{f"p_{c}": sure if c == answer else rest for c in classes},
                }
            )  # fmt: skip
    return rows_to_table(rows)


@pytest.fixture
def make_rows() -> MakeRows:
    """Hand out the table maker."""
    return table_of
