"""``bitdose train`` as a person or a program meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bitdose.cli.app import run
from bitdose.results.table import read_table

FACTORY = """
from torch import nn

def build(n_classes=3):
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes))
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *head)
    net.bitdose_spec = {"input": {"channels": 1}}
    return net
"""


@pytest.fixture
def command(texture_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the arguments of a short run of a network beside the user's data."""
    (tmp_path / "my_training_net.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = ["--size", "16", "--epochs", "2", "--batch", "4", "--validation", "0.3", "--threads", "1"]
    return ["train", "my_training_net:build", str(texture_set), *recipe]


def test_one_command_trains(
    command: list[str], texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it plans, a line per epoch with loss and validation F1, and what it wrote where."""
    assert run(command) == 0
    captured = capsys.readouterr()
    plan, *epochs = captured.err.splitlines()
    assert plan.startswith("6 training cases; 6 for validation, 0 for test; class weights grainy 1, ")
    assert len(epochs) == 2
    assert all("loss " in line and "validation loss " in line and "F1 " in line for line in epochs)
    folder = Path("runs") / f"train-{texture_set.name}-build"
    assert captured.out.splitlines()[0].startswith("2 epochs; best epoch ")
    assert f"model: {folder / 'model.onnx'} (equals PyTorch within " in captured.out
    assert captured.out.endswith("Research use only, not a medical device.\n")
    assert (tmp_path / folder / "model.md").is_file()


def test_a_program_can_read_the_answer(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints one JSON document and nothing else on standard output."""
    assert run([*command, "--out", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"folder", "epochs", "best_epoch", "validation_f1", "difference", "test"}
    assert (found["folder"], found["epochs"], found["test"]) == ("run", 2, {})
    assert 0 <= found["difference"] <= 1e-4


def test_without_torch_the_install_command_is_given(texture_set: Path, tmp_path: Path) -> None:
    """Where torch is absent: one line with the command that installs it, exit code 1, no folder."""
    code = "import sys; sys.modules['torch'] = None\nfrom bitdose.cli import main; main(sys.argv[1:])"
    arguments = ["train", "covid-next", str(texture_set), "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "pip install 'bitdose[torch]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("resnet", "network 'resnet': expected covid-next, brain-tumor or module:factory"),
        ("x:y", "No module named"),
    ],
)
def test_an_unknown_network_is_a_wrong_call(
    texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], network: str, says: str
) -> None:
    """A name that is none lists what there is."""
    assert run(["train", network, str(texture_set), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "flag", [["--max-failures", "2"], ["--loaders", "0"], ["--epochs", "many"], ["--cache-mb", "-1"]]
)
def test_a_flag_out_of_range_is_a_wrong_call(
    texture_set: Path, capsys: pytest.CaptureFixture[str], flag: list[str]
) -> None:
    """What the command line itself refuses is one line as well."""
    assert run(["train", "covid-next", str(texture_set), *flag]) == 2
    said = capsys.readouterr().err
    assert flag[0] in said
    assert said.count("\n") == 1


@pytest.fixture
def brains(tmp_path: Path) -> Path:
    """Write three classes of small volumes of several depths."""
    rng = np.random.default_rng(0)
    for label, mean in (("HGG", 150), ("LGG", 100), ("healthy", 50)):
        (tmp_path / "brains" / label).mkdir(parents=True)
        for index in range(2):
            array = np.clip(rng.normal(mean, 20, (20, 20, 3 + index)), 0, 255).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "brains" / label / f"{index}.nii")
    return tmp_path / "brains"


def test_a_trained_network_goes_into_a_study_by_its_name(
    brains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`train brain-tumor`, then `study --model brain-tumor --weights model.pt`: the answers of `model.onnx`.

    The labels are other ones than the paper's, in an order of their own, and come from the sidecar.
    """
    out = tmp_path / "run"
    options = ["--classes", "healthy=a,LGG=b,HGG=c", "--size", "16", "--epochs", "1", "--out", str(out)]
    assert run(["train", "brain-tumor", str(brains), *options]) == 0
    assert "class weights a 1, b 1, c 1" in capsys.readouterr().err
    (out / "last.pt").unlink()  # a hundred megabytes
    found = []
    for name, more in (
        ("weights", ["--model", "brain-tumor", "--weights", str(out / "model.pt")]),
        ("onnx", ["--model", str(out / "model.onnx")]),
    ):
        study = [
            "study",
            str(brains),
            *more,
            *options[:2],
            "--points",
            "jpeg:q10",
            "--out",
            str(tmp_path / name),
        ]
        assert run([*study, "--workers", "1", "--no-report"]) == 0
        table = read_table(tmp_path / name).sort("case_id", "point")
        assert table["status"].unique().to_list() == ["ok"]
        found.append(table.select("p_a", "p_b", "p_c").to_numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    np.testing.assert_allclose(found[0].sum(axis=1), 1, atol=1e-6)


def test_the_papers_labels_bring_the_papers_weights(
    brains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the published classes, published weights and order are the default; foreign files are refused."""
    wrong = tmp_path / "wrong.pt"
    import torch

    torch.save({"stem.0.weight": torch.zeros(64, 1, 3, 5, 5)}, wrong)
    base = [
        "train",
        "brain-tumor",
        str(brains),
        "--size",
        "16",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    assert run([*base, "--weights", str(wrong)]) == 2
    said = capsys.readouterr().err
    assert (
        "weights wrong.pt: do not fit the model: 'stem.0.weight': expected shape (64, 1, 3, 7, 7), got"
        in said
    )
    study = [
        "study",
        str(brains),
        "--model",
        "brain-tumor",
        "--weights",
        str(wrong),
        "--out",
        str(tmp_path / "s"),
    ]
    assert run(study) == 2
    assert "'stem.0.weight': expected shape (64, 1, 3, 7, 7), got (64, 1, 3, 5, 5)" in capsys.readouterr().err
    assert run(base) == 0
    captured = capsys.readouterr()
    assert "class weights healthy 1, LGG 3.54, HGG 1" in captured.err
    assert json.loads((tmp_path / "run" / "model.json").read_text())["labels"] == ["healthy", "LGG", "HGG"]
    (tmp_path / "run" / "last.pt").unlink()
