"""The README's own lines, run as printed on a plain export of PyTorch and a folder per class."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from bitdose.cli.app import run
from bitdose.results.table import read_table

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'bitdose[torch]'")

README = Path(__file__).parents[1] / "README.md"
LINES = re.findall(r"^bitdose (study [^#\n]+)", README.read_text(), re.MULTILINE)


def write_xrays(folder: Path) -> None:
    """Write six dark and six bright images, a folder per class."""
    rng = np.random.default_rng(0)
    for level, label in enumerate(("normal", "pneumonia")):
        (folder / label).mkdir(parents=True)
        for index in range(6):
            pixels = np.clip(rng.normal(70 + 110 * level, 12, (80, 72)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / label / f"{index}.png"), pixels)


def export_net(path: Path) -> None:
    """Export a small convolutional network that tells dark from bright, as one does who reads no manual."""
    nn = torch.nn
    head = nn.Linear(4, 2)
    conv = nn.Conv2d(3, 4, 3, padding=1)
    net = nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    net.eval()
    with torch.no_grad():
        conv.weight.fill_(1 / 27)
        conv.bias.zero_()
        head.weight.copy_(torch.tensor([[-10.0] * 4, [10.0] * 4]))
        head.bias.copy_(torch.tensor([20.0, -20.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's older exporter is due to go
        torch.onnx.export(net, (torch.zeros(1, 3, 64, 64),), str(path), dynamo=False)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a working folder with ``xrays/`` and ``net.onnx``; what is signed is signed with its key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITDOSE_KEY", str(tmp_path / "key.pem"))
    write_xrays(tmp_path / "xrays")
    export_net(tmp_path / "net.onnx")
    return tmp_path


def test_the_studies_run_as_printed(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The dry run and the study of the README run on the export, and every image is read as what it is."""
    assert len(LINES) == 2
    for line in LINES:
        assert run([*shlex.split(line), *(() if "--dry-run" in line else ("--points", "jpeg:q90"))]) == 0
    table = read_table(there / "run")
    assert table.filter(table["point"] == "pristine").height == 12
    assert (table["predicted"] == table["case_label"]).all()
    assert (there / "run" / "report.html").exists()


def test_the_order_of_labels_that_were_not_given_is_said(
    there: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that names no labels has the data's in sorted order, which one line says and the run keeps."""
    assert run([*shlex.split(LINES[0])]) == 0
    (said,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert "sorted order: normal, pneumonia; where they stand in another, name them in that order" in said


def test_logits_taken_for_probabilities_are_found_before_the_study(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without ``--output logits`` one line says to add it, and nothing runs."""
    assert run(shlex.split(LINES[1].replace("--output logits ", ""))) == 2
    assert capsys.readouterr().err.strip().endswith("say so with --output logits")
    assert not (there / "run").exists()


def test_more_classes_than_outputs_is_one_line(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the data's classes are not as many as the outputs, the line names both."""
    (there / "xrays" / "tuberculosis").mkdir()
    cv2.imwrite(str(there / "xrays" / "tuberculosis" / "0.png"), np.zeros((80, 72), np.uint8))
    assert run(shlex.split(LINES[0])) == 2
    assert "for labels ['normal', 'pneumonia', 'tuberculosis'], got (1, 2)" in capsys.readouterr().err
