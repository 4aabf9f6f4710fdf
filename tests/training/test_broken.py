"""What training does with numbers that are none, files that cannot be read, and places that take no file."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bitdose.training import loop

from .conftest import Train, arguments, history, write_table


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the command said last, and check that it is the only error."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("bitdose: ") == 1, said
    return said.splitlines()[-1]


@pytest.mark.parametrize(("network", "what"), [("nan_loss", "loss"), ("inf_gradient", "gradient")])
def test_a_loss_that_is_no_number_stops_the_run_and_spoils_nothing(
    *,
    table: Path,
    tmp_path: Path,
    train_tiny: Train,
    capsys: pytest.CaptureFixture[str],
    network: str,
    what: str,
) -> None:
    """NaN in the loss or infinity in the gradient: exit 1, batch and epoch named, checkpoints stay sound."""
    out = tmp_path / "run"
    assert train_tiny(table, out, "--stop-after", "0", "--epochs", "5", network=network) == 1
    line = last_line(capsys)
    assert line.startswith(f"bitdose: the {what} is not a finite number in batch 3 of epoch 3 (")
    assert "best.pt keeps the weights of epoch " in line
    broken = json.loads((out / "nan-batch.json").read_text())
    assert (broken["epoch"], broken["batch"], len(broken["cases"])) == (3, 3, 8)
    assert "images/" not in line, "cases are named in the file, not in the log"
    assert [record["epoch"] for record in history(out)] == [1, 2]
    for name in ("best.pt", "last.pt"):
        state = torch.load(out / name, weights_only=True)
        tensors = state.get("module", state)
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert state["progress"]["epoch"] == 2


def test_a_rate_beyond_reason_is_caught_too(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that a huge step blew up show as a loss or gradient that is no number in the first epoch."""
    assert train_tiny(table, tmp_path / "run", "--rate", "1e30", network="plain") == 1
    line = last_line(capsys)
    assert "is not a finite number" in line
    assert "no epoch was finished" in line
    assert "try a lower --rate" in line


def test_a_validation_loss_that_is_no_number_is_named_as_such(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """No batch is blamed for it, and the best checkpoint stays that of the epoch before."""
    out = tmp_path / "run"
    assert train_tiny(table, out, "--batch", "12", network="nan_validation") == 1
    line = last_line(capsys)
    assert line.startswith("bitdose: the validation loss of epoch 2 is not a finite number; best.pt keeps ")
    assert not (out / "nan-batch.json").exists()


def test_a_file_damaged_in_the_middle_of_a_run_is_counted_and_left_out(
    own_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train_tiny: Train
) -> None:
    """A file cut short after the first epoch: the rest goes on; the card counts it and names nobody."""
    add = loop.Logbook.add

    def spoil(self: loop.Logbook, record: dict[str, object]) -> None:
        add(self, record)
        for file in sorted((own_table.parent / "images").glob("train-*-0-0.png")):
            file.write_bytes(file.read_bytes()[:200])

    monkeypatch.setattr(loop.Logbook, "add", spoil)
    out = tmp_path / "run"
    assert train_tiny(own_table, out, "--cache-mb", "0") == 0
    assert [record["failed_cases"] for record in history(out)] == [0, 3, 3]
    said = "3 cases of training and validation could not be read and were left out."
    assert said in (out / "model.md").read_text()
    failed = json.loads((out / "failed-cases.json").read_text())
    assert len(failed) == 3


def test_a_case_that_was_read_once_is_kept_in_memory(
    own_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train_tiny: Train
) -> None:
    """With room in memory a file is read once; with images to be coded it is read again."""
    add = loop.Logbook.add

    def remove(self: loop.Logbook, record: dict[str, object]) -> None:
        add(self, record)
        for file in tmp_path.glob("*/images/train-dark-*-0.png"):
            file.unlink()

    monkeypatch.setattr(loop.Logbook, "add", remove)
    assert train_tiny(own_table, tmp_path / "kept") == 0
    assert history(tmp_path / "kept")[-1]["failed_cases"] == 0
    again = write_table(tmp_path / "again")
    coded = ("--codec-augment", "jpeg:q5", "--codec-share", "1")
    assert train_tiny(again, tmp_path / "coded", *coded, "--max-failures", "0.5") == 0
    assert history(tmp_path / "coded")[-1]["failed_cases"] > 0


def test_too_many_unreadable_files_stop_the_run(
    own_table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than the share allowed: exit 1, how many of how many, and why; no name of a file."""
    for file in (own_table.parent / "images").glob("train-grey-[0-3]-*.png"):
        file.write_bytes(b"")
    assert train_tiny(own_table, tmp_path / "run") == 1
    line = last_line(capsys)
    assert "8 of 36 cases cannot be read, more than the share of 0.2 allowed (--max-failures" in line
    assert len(json.loads((tmp_path / "run" / "failed-cases.json").read_text())) == 8
    assert "empty-file" in line
    assert "grey-" not in line
    assert train_tiny(own_table, tmp_path / "all", "--max-failures", "0.9") == 0


def test_a_validation_split_that_cannot_be_read_at_all(
    own_table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """No validation case can be read: that is said, and no batch is blamed."""
    text = own_table.read_text()
    for patient in range(2):
        for label in ("dark", "grey", "light"):
            text = text.replace(
                f"Doe-train-{label}-{patient},train", f"Doe-train-{label}-{patient},validation"
            )
    own_table.write_text(text)
    for file in (own_table.parent / "images").glob("train-*-[01]-*.png"):
        file.write_bytes(b"no image")
    assert train_tiny(own_table, tmp_path / "run", "--max-failures", "0.5") == 1
    assert "no validation case could be read" in last_line(capsys)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            ("--split", "nothing"),
            "--split 'nothing': expected a split with cases, the data have 'test', 'train'",
        ),
        (("--classes", "dark=,grey="), "the training split has one class, 'light'"),
        (("--validation", "0"), "--validation: expected a number between 0 and 1, got 0"),
        (("--epochs", "0"), "--epochs: expected a whole number from 1, got 0"),
        (("--rate", "nan"), "--rate: expected a number above 0, got nan"),
        (("--flips", "x"), "--flips: expected letters of 'hv', or none, got 'x'"),
        (("--precision", "fp8"), "--precision: expected fp32 or bf16 or fp16, got 'fp8'"),
        (("--precision", "fp16", "--device", "cpu"), "--precision fp16: needs a CUDA device"),
        (("--device", "tpu"), "--device: expected auto, cpu, cuda, got 'tpu'"),
        (("--class-weights", "dark=1,white=2"), "--class-weights: expected a weight for each of ['dark', "),
        (("--class-weights", "dark=none"), "--class-weights: expected paper, balanced, none or label=weight"),
        (("--codec-augment", "jpg:q5"), "unknown codec 'jpg'"),
        (("--codec-augment", "pristine"), "--codec-augment: expected points that code"),
        (("--teacher", "phantom"), "--teacher: its labels are ['"),
        (("--teacher", "none.onnx"), "model none.onnx: No such file"),
        (("--weights", "none.pt"), "weights none.pt: No such file"),
    ],
)
def test_a_wrong_call_says_what_to_change_and_leaves_no_folder(
    *,
    table: Path,
    tmp_path: Path,
    train_tiny: Train,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    says: str,
) -> None:
    """Exit code 2 and one line that names the option; the call can be repeated as if never made."""
    assert train_tiny(table, tmp_path / "run", *more) == 2
    assert says in last_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_a_wrong_call(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--device cuda`` without one says to take the CPU."""
    assert train_tiny(table, tmp_path / "run", "--device", "cuda") == 2
    assert "--device cuda: torch finds no CUDA device here; use --device cpu" in last_line(capsys)


@pytest.mark.parametrize("patients", [1, 6])
def test_a_class_with_one_patient_is_refused(
    tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str], patients: int
) -> None:
    """One patient leaves none to choose by: no silent F1 of nought, but an error before training."""
    table = write_table(tmp_path / "data", patients=patients)
    lines = table.read_text().splitlines()
    kept = [line for line in lines if "train-dark-" not in line or "train-dark-0-" in line]
    table.write_text("\n".join(kept))
    assert train_tiny(table, tmp_path / "run") == 2
    line = last_line(capsys)
    assert "the held-out validation (at least one patient per class stays for training) has" in line
    assert "has no case of 'dark'" in line
    assert "drop one, as by --classes dark=" in line


def test_a_label_of_the_test_split_alone_is_refused(
    own_table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """A class that nothing could be learned of is an error that says how to drop it."""
    own_table.write_text(own_table.read_text().replace(",dark,Doe-test", ",rare,Doe-test"))
    assert train_tiny(own_table, tmp_path / "run") == 2
    assert "the training split has no case of 'rare'" in last_line(capsys)
    assert train_tiny(own_table, tmp_path / "run", "--classes", "rare=", "--epochs", "1") == 0


@pytest.mark.parametrize(
    ("network", "more", "says"),
    [
        ("one_output", (), "model: expected outputs of shape (1, 3) for labels ['dark', 'grey', 'light']"),
        ("sized", (), "--size 16: tiny_networks:sized states [24, 24] as its size"),
        ("volumes", ("--max-failures", "0"), "the case is an image and the classifier takes volumes"),
        ("nothing", (), "has no attribute 'nothing'"),
    ],
)
def test_a_network_that_does_not_go_with_the_data_is_told_apart(
    *,
    table: Path,
    tmp_path: Path,
    train_tiny: Train,
    capsys: pytest.CaptureFixture[str],
    network: str,
    more: tuple[str, ...],
    says: str,
) -> None:
    """Too few outputs, another size, volumes for images: one line before any epoch."""
    assert train_tiny(table, tmp_path / "run", *more, network=network) in (1, 2)
    assert says in last_line(capsys)


def test_a_network_that_onnx_cannot_hold_keeps_its_weights(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training is not lost where the export fails: the weights are there, and standard output is clean."""
    assert train_tiny(table, tmp_path / "run", network="no_onnx") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "model.onnx: torch cannot export the network (" in captured.err
    assert "model.pt is complete" in captured.err
    assert torch.load(tmp_path / "run" / "model.pt", weights_only=True)


def test_a_place_that_takes_no_folder(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path under a file cannot be a run folder: exit 1, the option named."""
    (tmp_path / "file").write_text("")
    assert train_tiny(table, tmp_path / "file" / "run") == 1
    assert "cannot be written: Not a directory" in last_line(capsys)


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(
    networks: Path, table: Path, tmp_path: Path, train_tiny: Train
) -> None:
    """Files may not grow beyond 4 kB: the checkpoint fails in one line; with room the run goes on."""
    out = tmp_path / "run"
    code = "from bitdose.cli import main; import sys; main(sys.argv[1:])"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments(table, out)],
        cwd=networks, preexec_fn=limit, capture_output=True, text=True, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "best.pt: cannot be written: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not [path.name for path in out.iterdir() if path.suffix in {".tmp", ".pt"}]
    assert train_tiny(table, out, "--resume") == 0


def test_other_images_under_the_same_names_are_not_learned_from_on_resume(
    own_table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run whose files have other sizes by now is another run, and resume says so."""
    out = tmp_path / "run"
    assert train_tiny(own_table, out) == 0
    file = min((own_table.parent / "images").glob("train-*.png"))
    file.write_bytes(file.read_bytes() + b"more")
    assert train_tiny(own_table, out, "--resume") == 2
    assert "data.file_sizes_sha256 was" in last_line(capsys)


def test_test_cases_that_cannot_be_read_are_counted_on_the_card(
    own_table: Path, tmp_path: Path, train_tiny: Train
) -> None:
    """The card says how many test cases its numbers lack."""
    for file in sorted((own_table.parent / "images").glob("test-*.png"))[:2]:
        file.write_bytes(b"")
    out = tmp_path / "run"
    assert train_tiny(own_table, out) == 0
    assert "test (7 cases, 2 more could not be read)" in (out / "model.md").read_text()
    metrics = json.loads((out / "metrics.json").read_text())["test"]
    assert (metrics["cases"], metrics["failed"]) == (7, 2)


MISTAKES = {
    "a batch of one and batch norm": (("flat_norm", "--batch", "1"), "cannot learn from a batch of 1"),
    "probabilities": (("says_probabilities",), "states 'probabilities' as its output; training needs logits"),
    "too large": (("net", "--size", "5000"), "--size: expected a side up to 4096, got 5000"),
    "no such codec": (("net", "--codec-augment", "jpg:q5"), "--codec-augment: "),
    "no such teacher": (("net", "--teacher", "missing.onnx"), "--teacher: model missing.onnx"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_work_is_said_in_one_line(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    """Batch norm without a batch, a network of probabilities, wrong sizes, points and teachers."""
    (network, *options), words = MISTAKES[mistake]
    assert train_tiny(table, tmp_path / "run", *options, network=network) in {1, 2}
    assert words in last_line(capsys)


def test_an_output_folder_that_is_a_file(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the place of the folder is a wrong call, with and without --resume."""
    (tmp_path / "run").write_text("mine")
    for more in ((), ("--resume",)):
        assert train_tiny(table, tmp_path / "run", *more) == 2
        assert "expected a folder, got a file" in last_line(capsys)
    assert (tmp_path / "run").read_text() == "mine"


def test_weights_of_other_labels_are_refused(
    table: Path, tmp_path: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sidecar beside the weights that names other labels stops the run: the head would be permuted."""
    assert train_tiny(table, tmp_path / "first") == 0
    sidecar = tmp_path / "first" / "model.pt.json"
    document = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(document | {"labels": document["labels"][::-1]}))
    weights = str(tmp_path / "first" / "model.pt")
    assert train_tiny(table, tmp_path / "second", "--weights", weights) == 2
    assert "its sidecar has the labels ['light', 'grey', 'dark']" in last_line(capsys)
