"""What a finished run leaves: weights, an ONNX file that equals them, sidecars, and a model card."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
import torch

from bitdose.cli.app import run
from bitdose.data.load import load_cases
from bitdose.data.read import read_source
from bitdose.errors import BitdoseError, UsageError
from bitdose.models import covid_next
from bitdose.models.base import InputSpec
from bitdose.models.load import ModelRef
from bitdose.models.onnx import load_onnx
from bitdose.models.prepare import prepare
from bitdose.results.table import read_table
from bitdose.training import export
from bitdose.training.export import largest_difference, write_model

from .conftest import LABELS, SIDE, Finished, Train, history


def test_the_run_folder_holds_what_is_promised(finished: Finished) -> None:
    """Weights, ONNX file, both sidecars, card, metrics, checkpoints, history and events, and nothing else."""
    found = {path.name for path in finished.folder.iterdir()}
    outputs = {"model.pt", "model.pt.json", "model.onnx", "model.json", "model.md", "metrics.json"}
    assert found == outputs | {"best.pt", "last.pt", "train.toml", "history.jsonl", "logs", ".lock"}


def test_the_written_weights_are_those_of_the_best_epoch(finished: Finished) -> None:
    """``model.pt`` is ``best.pt``: the epoch with the best validation F1, of equals the lowest loss."""
    best, model = (torch.load(finished.folder / name, weights_only=True) for name in ("best.pt", "model.pt"))
    assert all(torch.equal(best[key], model[key]) for key in model)
    scores = [(record["validation_f1"], -record["validation_loss"]) for record in finished.records]
    last = torch.load(finished.folder / "last.pt", weights_only=True)
    assert last["progress"]["best_epoch"] == 1 + scores.index(max(scores))
    assert last["progress"]["best_f1"] == max(scores)[0]


def test_each_files_sidecar_says_what_it_puts_out(finished: Finished) -> None:
    """The ONNX file gives probabilities, the weights logits; the rest of the two sidecars is the same."""
    onnx, weights = (
        json.loads((finished.folder / name).read_text()) for name in ("model.json", "model.pt.json")
    )
    assert (onnx.pop("output"), weights.pop("output")) == ("probabilities", "logits")
    assert onnx == weights
    assert onnx["labels"] == list(LABELS)
    assert onnx["input"]["size"] == [SIDE, SIDE]


def test_onnx_and_weights_classify_alike_in_a_study(finished: Finished, table: Path, tmp_path: Path) -> None:
    """A study gives the same answers through ``model.onnx`` and through factory and ``model.pt``."""
    answers = []
    ways = (
        ("--model", str(finished.folder / "model.onnx")),
        ("--model", "tiny_networks:net", "--weights", str(finished.folder / "model.pt")),
    )
    for index, way in enumerate(ways):
        out = tmp_path / str(index)
        more = ("--split", "test", "--points", "jpeg:q20", "--out", str(out), "--workers", "1", "--no-report")
        assert run(["study", str(table), *way, *more]) == 0
        rows = read_table(out).sort("case_id", "point")
        assert rows["status"].unique().to_list() == ["ok"]
        answers.append(rows.select(pl.col(f"p_{label}") for label in LABELS).to_numpy())
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


def test_weights_given_as_a_model_say_where_they_belong(finished: Finished) -> None:
    """``--model model.pt`` is no TorchScript file: the message names the option for weights."""
    with pytest.raises(
        UsageError, match="model.pt: not a TorchScript module: .*; a state_dict goes to weights"
    ):
        ModelRef(str(finished.folder / "model.pt")).load()


def test_the_onnx_file_takes_other_batches(finished: Finished, table: Path) -> None:
    """Batches of 1 to 5, real inputs: within 1e-4 of PyTorch's probabilities."""
    module = __import__("tiny_networks").net().eval()
    module.load_state_dict(torch.load(finished.folder / "model.pt", weights_only=True))
    classifier = load_onnx(finished.folder / "model.onnx")
    cases = load_cases(table, split="test").cases
    inputs = np.stack([prepare(read_source(case.path).image, classifier.spec) for case in cases])
    for n in (1, 2, 5):
        with torch.inference_mode():
            wanted = module(torch.from_numpy(inputs[:n])).softmax(dim=1).numpy()
        np.testing.assert_allclose(classifier.predict(inputs[:n]), wanted, atol=1e-4)


def test_an_onnx_file_that_differs_is_refused(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers apart by more than the tolerance, or NaN: an error that says by how much, weights kept."""
    module = __import__("tiny_networks").net()
    spec = InputSpec(labels=LABELS, size=(SIDE, SIDE), output="logits")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(
        BitdoseError, match=r"model\.onnx: its probabilities differ from PyTorch's by .*use model\.pt"
    ):
        write_model(module, spec, tmp_path, images=[])
    monkeypatch.undo()
    with torch.no_grad():
        module[0].weight.fill_(float("nan"))
    with pytest.raises(BitdoseError, match="differ from PyTorch's by nan"):
        write_model(module, spec, tmp_path, images=[])


def test_covid_next_becomes_onnx(tmp_path: Path) -> None:
    """The real network, other labels, small inputs: one sidecar each, and answers within 1e-4."""
    torch.manual_seed(1)
    net = covid_next.network(2)
    spec = InputSpec(labels=("no", "yes"), size=(32, 32), channels=3, output="logits")
    assert write_model(net, spec, tmp_path, images=[]) <= 1e-4
    assert largest_difference(net, spec, tmp_path / "model.onnx", images=[]) <= 1e-4
    classifier = ModelRef("covid-next", weights=str(tmp_path / "model.pt")).load()
    assert (classifier.spec.labels, classifier.spec.size) == (("no", "yes"), (32, 32))
    batch = np.random.default_rng(0).random((3, 3, 32, 32), np.float32)
    onnx = load_onnx(tmp_path / "model.onnx").predict(batch)
    np.testing.assert_allclose(classifier.predict(batch), onnx, atol=1e-4)
    for path in tmp_path.iterdir():
        path.unlink()  # a third of a gigabyte


def test_onnx_needs_nothing_but_its_runtime(finished: Finished) -> None:
    """One input ``image`` with a free batch axis, one output ``probabilities`` that sums to one."""
    session = ort.InferenceSession(str(finished.folder / "model.onnx"))
    (given,), (got,) = session.get_inputs(), session.get_outputs()
    assert (given.name, got.name, given.shape) == ("image", "probabilities", ["n", 1, SIDE, SIDE])
    (answers,) = session.run(None, {"image": np.zeros((4, 1, SIDE, SIDE), np.float32)})
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)


def test_the_card_tells_data_metrics_recipe_and_limits(finished: Finished) -> None:
    """Sizes by split, class and patient; every metric with its interval; each departure; the limits."""
    card = (finished.folder / "model.md").read_text()
    assert [line for line in card.splitlines() if line.startswith("## ")] == [
        "## Model", "## Data", "## Metrics", "## Recipe", "## Limits",
    ]  # fmt: skip
    assert "Research use only, not a medical device." in card
    assert "| learned from | 24 | 12 | 8 | 8 | 8 |" in card
    assert "| validation | 12 | 6 | 4 | 4 | 4 |" in card
    assert "| test | 9 | 9 | 3 | 3 | 3 |" in card
    for split in ("validation", "test"):
        part = card.split(f"| {split} (")[1].split("\n\n")[0]
        metrics = re.findall(
            r"^\| ([a-z].*?) \| [0-9.]+ \((?:[0-9.]+ to [0-9.]+|limits undefined: .*)\) \|$",
            part,
            re.MULTILINE,
        )
        assert len(metrics) == 2 + 2 * len(LABELS), part
    for row in (
        "| `epochs` | 40 | 3 |", "| `batch` | 64 | 8 |", "| `rate` | 0.0001 | 0.02 |",
        "| `ema` | 0.0 | 0.5 |", "| `affine` | False | True |", "| `accumulate` | 1 | 2 |",
        "| `validation` | 0.15 | 0.3 |", f"| `size` | 256 | {SIDE} |",
        "| `codec_augment` | [] | ['jpeg:q5', 'jpeg:q50'] |",
    ):  # fmt: skip
        assert row in card
    assert "`seed`" not in card


def test_the_card_names_no_patient_and_no_path(
    finished: Finished, table: Path, tmp_path: Path, train_tiny: Train
) -> None:
    """Neither card nor metrics hold a patient, a case or a folder; a teacher is its file's name alone."""
    out = tmp_path / "run"
    teacher = str(finished.folder / "model.onnx")
    assert train_tiny(table, out, "--teacher", teacher, "--weights", str(finished.folder / "best.pt")) == 0
    for folder in (finished.folder, out):
        text = (folder / "model.md").read_text() + (folder / "metrics.json").read_text()
        assert "Doe" not in text
        assert ".png" not in text
        assert str(table.parent) not in text
        assert "/tmp" not in text
        assert str(tmp_path) not in text
    card = (out / "model.md").read_text()
    assert "| `teacher` |  | model.onnx |" in card
    assert "| distilled from | model.onnx model@" in card
    assert "| started from | best.pt, SHA-256 " in card
    assert "Its teacher may have been trained on the cases that chose the epoch" in card


def test_metrics_are_those_of_a_study(finished: Finished, table: Path, tmp_path: Path) -> None:
    """The card's test accuracy and F1, with their intervals, are what ``bitdose study`` finds."""
    metrics = json.loads((finished.folder / "metrics.json").read_text())["test"]
    out = str(tmp_path / "study")
    model = str(finished.folder / "model.onnx")
    more = ("--split", "test", "--points", "jpeg:q50", "--out", out, "--workers", "1", "--no-images")
    assert run(["study", str(table), "--model", model, *more]) == 0
    summary = json.loads((tmp_path / "study" / "summary.json").read_text())
    pristine = next(point for point in summary["points"] if point["point"] == "pristine")
    for name in ("accuracy", "macro_f1"):
        assert metrics[name] == pristine[name]


def test_without_a_test_split_the_card_has_validation_only(
    texture_set: Path, tmp_path: Path, train_tiny: Train
) -> None:
    """A folder of classes trains too: cases stand for patients, and the card says so."""
    assert train_tiny(texture_set, tmp_path / "run", "--epochs", "1") == 0
    card = (tmp_path / "run" / "model.md").read_text()
    assert "by cases: not every case names a patient" in card
    assert "| validation (" in card
    assert "| test (" not in card
    assert "| test | 0 | not named | 0 | 0 | 0 |" in card


def test_history_has_loss_and_validation_f1(finished: Finished) -> None:
    """Each epoch is one JSON line of numbers."""
    assert [record["epoch"] for record in finished.records] == [1, 2, 3]
    for record in history(finished.folder):
        assert {"loss", "train_accuracy", "validation_loss", "validation_f1", "rate"} <= set(record)
        assert all(np.isfinite(value) for value in record.values())
