"""The how-to pages for a classifier of one's own run as they stand, and their messages are the real ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from bitdose.errors import BitdoseError
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.models.load import ModelRef, check_labels, probe
from bitdose.models.spec import fields_of, merge_spec
from bitdose.results.table import read_table

from .conftest import linear_onnx

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
BLOCK = re.compile(
    r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```$', re.MULTILINE | re.DOTALL
)


def write_xrays(folder: Path) -> None:
    """Write three dark and three bright images, a folder per class."""
    rng = np.random.default_rng(0)
    for label, level in (("normal", 70), ("pneumonia", 180)):
        (folder / label).mkdir(parents=True)
        for index in range(3):
            pixels = np.clip(rng.normal(level, 12, (80, 72)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / label / f"{index}.png"), pixels)


def run_study_line(line: str) -> None:
    """Run a line of the page as a user would, less the report."""
    arguments = [*line.split()[1:], "--no-report", "--workers", "1"]
    # A Python started with -m finds modules of the working folder; so does the installed command.
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "bitdose", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def run_python(code: str, names: dict[str, Any]) -> None:
    """Run a block in the page's names; torch's older exporter deprecates itself at several places."""
    with warnings.catch_warnings():
        if "torch.onnx.export" in code:
            warnings.simplefilter("ignore", DeprecationWarning)
        exec(compile(code, "page", "exec"), names)


@pytest.mark.parametrize("page", ["onnx.md", "pytorch.md"])
def test_the_page_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that the page shows are written, its Python and its study lines are run, in their order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_xrays(tmp_path / "xrays")
    names: dict[str, Any] = {"__name__": "page"}
    for block in BLOCK.finditer((PAGES / page).read_text()):
        if block["title"]:
            (tmp_path / block["title"]).write_text(block["body"])
        elif block["kind"] == "python":
            run_python(block["body"], names)
        elif block["body"].startswith("bitdose study"):
            run_study_line(block["body"])
    sys.modules.pop("mynet", None)
    table = read_table(tmp_path / "run")
    assert (len(table), set(table["status"]), set(table["point"])) == (12, {"ok"}, {"pristine", "jpeg:q30"})
    printed = capsys.readouterr().out
    assert "accuracy" in printed if page == "pytorch.md" else "net@" in printed


TWO, THREE = ("normal", "pneumonia"), ("normal", "pneumonia", "covid-19")


def load_onnx_here(folder: Path, **options: Any) -> None:
    """Load a network that takes one channel and gives two outputs, with the page's labels."""
    flags = {"labels": list(TWO)}
    ModelRef(str(linear_onnx(folder / "net.onnx", **options)), flags=flags).load()


def contradict_graph(folder: Path) -> None:
    """Load a network of one channel whose sidecar says three."""
    (folder / "net.json").write_text('{"input": {"channels": 3}}')
    load_onnx_here(folder)


def answer_with(outputs: int, labels: tuple[str, ...]) -> None:
    """Probe a classifier of so many outputs and these labels."""
    probe(CallableClassifier(lambda batch: np.zeros((len(batch), outputs)), InputSpec(labels=labels)))


def load_weights(folder: Path, state: object) -> None:
    """Load weights into the page's network."""
    source = next(b["body"] for b in BLOCK.finditer((PAGES / "pytorch.md").read_text()) if b["title"])
    (folder / "mynet.py").write_text(source)
    torch.save(state, folder / "net.pth")
    ModelRef("mynet:build", weights=str(folder / "net.pth")).load()


def load_missing_factory(folder: Path) -> None:
    """Name a factory that the page's module lacks."""
    (folder / "mynet.py").write_text("")
    ModelRef("mynet:make").load()


MISTAKES: list[tuple[str, Callable[[Path], object]]] = [
    ("onnx.md", lambda folder: merge_spec({})),
    ("onnx.md", lambda folder: check_labels(TWO, ("healthy", "pneumonia"))),
    ("onnx.md", contradict_graph),
    ("onnx.md", lambda folder: answer_with(2, THREE)),
    ("onnx.md", lambda folder: answer_with(1, TWO)),
    ("onnx.md", lambda folder: fields_of({"mean": [0.5]}, origin="sidecar net.json")),
    ("onnx.md", lambda folder: load_onnx_here(folder, extra_input=True)),
    ("pytorch.md", load_missing_factory),
    ("pytorch.md", lambda folder: load_weights(folder, {"0.weight": torch.zeros(8, 1, 3, 3)})),
    ("pytorch.md", lambda folder: load_weights(folder, torch.nn.Linear(1, 1))),
    ("pytorch.md", lambda folder: answer_with(3, TWO)),
]


@pytest.mark.parametrize(("page", "mistake"), MISTAKES)
def test_the_messages_on_the_page_are_the_real_ones(
    page: str, mistake: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake of the table, made for real, gives the message that the table explains."""
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BitdoseError) as caught:
        mistake(tmp_path)
    sys.modules.pop("mynet", None)
    shown = re.findall(r"^\| `(.+?)` \|", (PAGES / page).read_text(), re.MULTILINE)
    said = caught.value.for_command_line()
    assert any(said.startswith(message.removesuffix("…")) for message in shown), said


def test_every_field_of_the_spec_is_on_the_page() -> None:
    """The table of keys has every field of the input spec, with its flag."""
    text = (PAGES / "onnx.md").read_text()
    for field in InputSpec.__dataclass_fields__:
        assert f"`{field}`" in text or f"`input.{field}`" in text, field
        assert f"--{field}" in text, field
