"""What the flags of a recipe do to a whole run: accumulation, averages, precision, stopping, seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bitdose.data.read import read_source
from bitdose.errors import UsageError
from bitdose.models import brain_tumor, covid_next
from bitdose.models.base import InputSpec
from bitdose.models.prepare import prepare
from bitdose.training.recipe import Choices, Recipe
from bitdose.training.split import make_splits

from .conftest import LABELS, SIDE, Train, history

STILL = ("--flips", "", "--jitter", "0")


def weights(folder: Path, name: str = "model.pt") -> dict[str, torch.Tensor]:
    """Load a run's weights."""
    state: dict[str, torch.Tensor] = torch.load(folder / name, weights_only=True)
    return state


def test_the_papers_recipes_are_the_defaults() -> None:
    """Epochs, batch, rate, flips and jitter as printed; the published class weights; no departure."""
    xray, brain = (Choices(network).recipe() for network in ("covid-next", "brain-tumor"))
    assert (xray.epochs, xray.batch, xray.rate, xray.flips, xray.jitter) == (40, 64, 1e-4, "hv", 0.3)
    assert (brain.epochs, brain.batch, brain.rate, brain.flips, brain.jitter) == (10, 1, 1e-5, "h", 0.0)
    for recipe in (xray, brain):
        assert (recipe.optimizer, recipe.schedule, recipe.class_weights) == ("adam", "plateau", "paper")
        assert (recipe.plateau_factor, recipe.plateau_patience) == (0.7, 5)
    assert covid_next.CLASS_WEIGHTS == {"normal": 0.05, "pneumonia": 0.05, "covid-19": 1.0}
    assert brain_tumor.CLASS_WEIGHTS == {"LGG": 3.54, "HGG": 1.0, "healthy": 1.0}
    assert Choices("covid-next").departures() == {}
    given = Choices("brain-tumor", {"epochs": 10, "rate": 1e-4})
    assert given.departures() == {"rate": (1e-5, 1e-4)}


@pytest.mark.parametrize(
    "field",
    [{"batch": 0}, {"ema": 1.0}, {"jitter": -0.1}, {"distill": 2}, {"temperature": 0}, {"warmup": -1}],
)
def test_a_recipe_out_of_range_names_its_field(field: dict[str, float]) -> None:
    """Every field has a range; what is outside is refused under its name."""
    (name,) = field
    with pytest.raises(UsageError, match=f"{name}: expected "):
        Recipe("covid-next", **field)  # type: ignore[arg-type]


def test_small_batches_accumulate_to_a_large_one(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """Two batches of four make the step of one batch of eight, class weights included."""
    # Adam alone would forgive a gradient of another size; with weight decay beside it, it does not.
    weighted = ("--class-weights", "dark=3,grey=1,light=0.25", "--weight-decay", "0.5", *STILL)
    for out, batch, accumulate in (("large", 8, 1), ("small", 4, 2), ("smallest", 1, 8)):
        sizes = ("--batch", str(batch), "--accumulate", str(accumulate))
        assert train_tiny(table, tmp_path / out, *weighted, *sizes, network="plain") == 0
    large = weights(tmp_path / "large")
    for other in ("small", "smallest"):
        for key, value in weights(tmp_path / other).items():
            torch.testing.assert_close(value, large[key], atol=1e-5, rtol=1e-4)
        losses = [[r["loss"] for r in history(tmp_path / name)] for name in ("large", other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_averaged_weights_follow_their_formula(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """After one step the average is ``2/11`` of the start and ``9/11`` of the step; it is what is written."""
    options = ("--epochs", "1", "--batch", "64", "--ema", "0.9")
    assert train_tiny(table, tmp_path / "run", *options, network="plain") == 0
    torch.manual_seed(0)
    start = __import__("tiny_networks").plain(3).state_dict()
    last = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    for key, value in weights(tmp_path / "run").items():
        wanted = start[key] * (2 / 11) + last["module"][key] * (9 / 11)
        torch.testing.assert_close(value, wanted)
        assert torch.equal(value, last["averaged"][key])


def test_half_precision_on_the_cpu(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """``--precision bf16`` learns, and what it writes are float32 weights that ONNX repeats."""
    assert train_tiny(table, tmp_path / "run", "--precision", "bf16", "--epochs", "8", network="plain") == 0
    records = history(tmp_path / "run")
    assert records[-1]["loss"] < records[0]["loss"]
    assert {tensor.dtype for tensor in weights(tmp_path / "run").values()} == {torch.float32}


def test_training_learns(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """Three greys that differ are told apart after a few epochs."""
    assert train_tiny(table, tmp_path / "run", "--epochs", "40", "--rate", "0.05", network="plain") == 0
    test = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert test["accuracy"]["value"] == 1.0


def test_training_stops_where_nothing_gets_better(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """``--stop-after 2``: two epochs without a better validation F1 end the run; the first is kept."""
    still = ("--rate", "1e-12", "--epochs", "9")
    assert train_tiny(table, tmp_path / "stopped", *still, "--stop-after", "2", network="plain") == 0
    assert len(history(tmp_path / "stopped")) == 3
    assert "chosen | epoch 1 of 3" in (tmp_path / "stopped" / "model.md").read_text()
    assert train_tiny(table, tmp_path / "on", *still, "--stop-after", "0", network="plain") == 0
    assert len(history(tmp_path / "on")) == 9


def test_a_seed_repeats_a_run_and_another_does_not(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """The same seed gives the same bits, whatever the number of loaders; another other weights."""
    for out, seed, loaders in (("a", 3, 1), ("b", 3, 4), ("c", 4, 1)):
        more = ("--seed", str(seed), "--loaders", str(loaders), "--epochs", "1")
        assert train_tiny(table, tmp_path / out, *more) == 0
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_weights_to_start_from_are_taken(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """``--weights`` starts from a ``state_dict`` that an earlier run wrote."""
    assert train_tiny(table, tmp_path / "first", "--epochs", "1", network="plain") == 0
    start = str(tmp_path / "first" / "model.pt")
    still = ("--rate", "1e-12", "--epochs", "1")
    assert train_tiny(table, tmp_path / "second", "--weights", start, *still, network="plain") == 0
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_weights_of_another_architecture_are_named(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first key that does not fit, in one line, and no folder."""
    torch.save({"0.weight": torch.zeros(6, 3, 3, 3)}, tmp_path / "other.pt")
    more = ("--weights", str(tmp_path / "other.pt"))
    assert train_tiny(table, tmp_path / "run", *more, network="plain") == 2
    said = capsys.readouterr().err
    assert (
        "weights other.pt: do not fit the model: '0.weight': expected shape (6, 1, 3, 3), got (6, 3," in said
    )
    assert not (tmp_path / "run").exists()


def test_validation_data_are_never_changed(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """In evaluation the network sees each validation case as a study would, whatever the augmentation."""
    seen = __import__("tiny_networks").SEEN
    seen.clear()
    strong = ("--affine", "--jitter", "0.9", "--codec-augment", "jpeg:q1", "--codec-share", "1")
    assert train_tiny(table, tmp_path / "run", *strong, "--epochs", "1", network="recording") == 0
    spec = InputSpec(labels=LABELS, size=(SIDE, SIDE))
    splits = make_splits(table, split=None, share=0.3, seed=0)
    wanted = [prepare(read_source(case.path).image, spec) for case in splits.validation]
    evaluated = np.concatenate([batch for training, batch in seen if not training][1:])  # first: the probe
    np.testing.assert_array_equal(evaluated[: len(wanted)], np.stack(wanted))
    trained = np.concatenate([batch for training, batch in seen if training])
    pristine = [prepare(read_source(case.path).image, spec) for case in splits.fit]
    assert not any(np.array_equal(entry, own) for entry in trained for own in pristine)
    held = {tuple(entry.ravel().tolist()) for entry in wanted}
    assert not any(tuple(entry.ravel().tolist()) in held for entry in trained)


def test_a_teacher_answers_for_what_the_student_sees(table: Path, tmp_path: Path, train_tiny: Train) -> None:
    """With the teacher's answers alone the student comes to agree with it, labels in another order or not."""
    assert train_tiny(table, tmp_path / "teacher", "--epochs", "40", "--rate", "0.05", network="plain") == 0
    taught = ("--teacher", str(tmp_path / "teacher" / "model.onnx"), "--distill", "1", "--rate", "0.05")
    threads = torch.get_num_threads()
    assert train_tiny(table, tmp_path / "student", *taught, "--epochs", "40", network="plain") == 0
    assert torch.get_num_threads() == threads
    test = json.loads((tmp_path / "student" / "metrics.json").read_text())["test"]
    assert test["accuracy"]["value"] == 1.0
