"""What ``--resume`` promises: a run that was stopped at any moment ends as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import FULL, Finished, Train, arguments, history

DRIVER = """
import os, signal, sys
from bitdose.training import checkpoint, loop

kind, number = sys.argv[1].split(":")
loop.CHECKPOINT_SECONDS = -1  # a checkpoint after every step
left = int(number)

def dying(function):
    def wrapped(*given, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.{signal})
        return function(*given, **named)
    return wrapped

if kind == "fsync":
    os.fsync = dying(os.fsync)  # a checkpoint is written and not yet renamed
elif kind == "half":  # half of a checkpoint is written
    import io, torch
    save = torch.save
    def half(state, path):
        global left
        left -= 1
        if left:
            return save(state, path)
        whole = io.BytesIO()
        save(state, whole)
        path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    torch.save = half
elif kind == "step":
    loop.Trainer._step = dying(loop.Trainer._step)
elif kind == "epoch":
    loop.Logbook.add = dying(loop.Logbook.add)  # best.pt is new and last.pt is not
from bitdose.cli import main
main(sys.argv[2:])
"""


def start(
    networks: Path, table: Path, out: Path, *more: str, kill: str = "none:0", sign: str = "SIGKILL"
) -> Any:
    """Train in a process of its own that gets a signal at a moment: ``half:3``, ``step:7``, ``epoch:1``."""
    code = DRIVER.replace("{signal}", sign)
    command = [sys.executable, "-c", code, kill, *arguments(table, out, *more)]
    return subprocess.Popen(
        command, cwd=networks, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def assert_same(one: Path, other: Path) -> None:
    """Compare two runs: history, and every bit of the weights, optimiser and output."""
    assert history(one) == history(other)
    for name in ("last.pt", "best.pt", "model.pt"):
        a, b = (torch.load(folder / name, weights_only=True) for folder in (one, other))
        assert_equal(a, b, name)
    assert (one / "metrics.json").read_text() == (other / "metrics.json").read_text()


def assert_equal(a: Any, b: Any, where: str) -> None:
    """Compare nested values bit by bit, without what the clock said."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            if key not in ("train_seconds", "wait_seconds"):
                assert_equal(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}/{index}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def killed(networks: Path, table: Path, tmp_path_factory: pytest.TempPathFactory, train_tiny: Train) -> Path:
    """Give a run killed before its first checkpoint, in an epoch, while writing, and between two files."""
    out = tmp_path_factory.mktemp("killed") / "run"
    resume: tuple[str, ...] = ()
    for moment in ("fsync:2", "step:2", "half:2", "epoch:1"):
        process = start(networks, table, out, *FULL, *resume, kill=moment)
        said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said
        resume = ("--resume",)
    assert train_tiny(table, out, *FULL, "--resume") == 0
    return out


def test_killed_at_several_moments_it_ends_as_if_never_stopped(finished: Finished, killed: Path) -> None:
    """Weights, optimiser and history are those of the uninterrupted run, to the bit, after four kill -9.

    So are dropout, batch norm, averaged weights, coded and augmented images, and nothing is left over.
    """
    assert_same(finished.folder, killed)
    assert not list(killed.glob(".*.tmp"))


def test_ctrl_c_leaves_a_run_that_goes_on(
    networks: Path, table: Path, finished: Finished, tmp_path: Path, train_tiny: Train
) -> None:
    """Ctrl-C is one line with the way on, exit code 1; the resumed run ends as the uninterrupted one."""
    out = tmp_path / "run"
    process = start(networks, table, out, *FULL, kill="step:4", sign="SIGINT")
    _, said = process.communicate()
    assert process.returncode == 1
    errors = [line for line in said.splitlines() if not line.startswith(("epoch", "2"))]
    assert errors == ["bitdose: interrupted: run again with --resume to go on"]
    assert train_tiny(table, out, *FULL, "--resume") == 0
    assert_same(finished.folder, out)


def test_a_finished_run_writes_its_outputs_again_and_trains_no_more(
    table: Path, finished: Finished, tmp_path: Path, train_tiny: Train
) -> None:
    """``--resume`` of a finished run brings back a lost model file and changes no weight."""
    out = shutil.copytree(finished.folder, tmp_path / "run")
    for name in ("model.onnx", "model.pt", "model.md"):
        (out / name).unlink()
    before = (out / "last.pt").read_bytes()
    assert train_tiny(table, out, *FULL, "--resume") == 0
    assert (out / "last.pt").read_bytes() == before
    assert_same(finished.folder, out)
    assert (out / "model.md").read_text() == (finished.folder / "model.md").read_text()
    assert (out / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (("--rate", "0.5"), "recipe.rate was 0.02 and is 0.5"),
        (("--epochs", "9"), "recipe.epochs was 3 and is 9"),
        (("--codec-augment", "jpeg:q6"), "recipe.codec_augment was ["),
        (("--classes", "dark=grey"), "data.cases_sha256 was "),
        (("--split", "all"), "data.split was None and is 'all'"),
        (("--weights", "best.pt"), "weights_sha256 was None and is '"),
    ],
)
def test_a_changed_run_is_refused_by_name(
    *,
    table: Path,
    finished: Finished,
    changed: tuple[str, str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    train_tiny: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another recipe, other data or other weights cannot go on in a run: the field and both values."""
    monkeypatch.chdir(finished.folder)
    before = history(finished.folder)
    assert train_tiny(table, finished.folder, *FULL, *changed, "--resume") == 2
    said = capsys.readouterr().err
    assert "--resume: the run in " in said
    assert says in said
    assert history(finished.folder) == before


def test_a_field_that_an_older_version_did_not_know_has_its_default(
    table: Path, finished: Finished, tmp_path: Path, train_tiny: Train
) -> None:
    """A run begun before a recipe had some field goes on, as long as the field is left at its default."""
    out = shutil.copytree(finished.folder, tmp_path / "run")
    plan = (out / "train.toml").read_text()
    (out / "train.toml").write_text(plan.replace("clip = 0.0\n", ""))
    assert (out / "train.toml").read_text() != plan
    assert train_tiny(table, out, *FULL, "--clip", "1", "--resume") == 2
    assert train_tiny(table, out, *FULL, "--resume") == 0


def test_without_resume_a_run_is_not_written_over(
    table: Path, finished: Finished, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that holds a run needs ``--resume``; one that holds none does not take it."""
    assert train_tiny(table, finished.folder, *FULL) == 2
    assert "holds a training run; --resume goes on, or choose another" in capsys.readouterr().err
    assert train_tiny(table, finished.folder / "none", *FULL, "--resume") == 2
    assert "holds no training run; leave --resume out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"), [("train.toml", "train.toml is damaged"), ("last.pt", "checkpoint last.pt: missing or")]
)
def test_damaged_files_of_a_run_are_named(
    *,
    table: Path,
    finished: Finished,
    tmp_path: Path,
    name: str,
    says: str,
    train_tiny: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A plan or checkpoint that was cut short is one line with its name, not a traceback."""
    out = shutil.copytree(finished.folder, tmp_path / "run")
    (out / name).write_bytes((out / name).read_bytes()[:100])
    assert train_tiny(table, out, *FULL, "--resume") == 2
    said = capsys.readouterr().err
    assert says in said.splitlines()[-1]
    assert said.count("bitdose: ") == 1


def test_a_history_that_a_kill_cut_short_is_mended(
    table: Path, finished: Finished, tmp_path: Path, train_tiny: Train
) -> None:
    """Half a line at the end of the history, or an epoch that no checkpoint holds, is taken back."""
    out = shutil.copytree(finished.folder, tmp_path / "run")
    with (out / "history.jsonl").open("a") as file:
        file.write('{"epoch": 4, "loss": 0.1}\n{"epoch": 5, "lo')
    assert train_tiny(table, out, *FULL, "--resume") == 0
    assert history(out) == finished.records


def test_tensorboard_reads_the_scalars(finished: Finished, killed: Path) -> None:
    """TensorBoard's own reader finds each epoch's values once, also after four kills."""
    code = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
for folder in sys.argv[1:]:
    events = EventAccumulator(folder)
    events.Reload()
    names = events.Tags()["scalars"]
    print(json.dumps({name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}))
"""
    folders = (finished.folder, killed)
    command = [sys.executable, "-c", code, *(str(folder / "logs") for folder in folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for folder, line in zip(folders, done.stdout.splitlines()[-2:], strict=True):
        found = json.loads(line)
        for name in ("loss", "validation_loss", "validation_f1", "rate"):
            wanted = [(record["epoch"], record[name]) for record in history(folder)]
            assert [step for step, _ in found[name]] == [epoch for epoch, _ in wanted]
            assert [value for _, value in found[name]] == pytest.approx([value for _, value in wanted])


def test_the_plan_is_a_readable_file(finished: Finished) -> None:
    """``train.toml`` holds every field of the recipe, and which cases were meant."""
    plan = tomllib.loads((finished.folder / "train.toml").read_text())
    assert plan["recipe"]["ema"] == 0.5
    assert plan["recipe"]["codec_augment"] == ["jpeg:q5", "jpeg:q50"]
    assert len(plan["data"]["cases_sha256"]) == 64
