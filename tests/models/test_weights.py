"""What reading weights promises: several forms of file, no code of it run, the first mismatch named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bitdose.errors import UsageError
from bitdose.models.weights import load_start, load_weights, mismatch, read_state


def small() -> torch.nn.Module:
    """Build a network of two layers."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


@pytest.mark.parametrize(
    "form",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "best": 0.5},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=["plain", "checkpoint", "parallel", "parallel checkpoint"],
)
def test_the_usual_forms_of_file_load(tmp_path: Path, form: Any) -> None:
    """A ``state_dict``, one inside a checkpoint, and each with the prefix of ``DataParallel``."""
    net = small()
    torch.nn.init.constant_(net[0].weight, 0.25)
    torch.save(form(net.state_dict()), tmp_path / "w.pth")
    other = small()
    load_weights(other, tmp_path / "w.pth")
    assert all(
        torch.equal(a, b) for a, b in zip(other.state_dict().values(), net.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("content", [{1: torch.zeros(1)}, torch.zeros(3), [torch.zeros(1)], {("a",): 1}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    """A tensor, a list, or keys that are no names: said in one line, by every way in."""
    torch.save(content, tmp_path / "odd.pth")
    for load in (
        lambda: load_weights(small(), tmp_path / "odd.pth"),
        lambda: load_start(small(), tmp_path / "odd.pth", None),
    ):
        with pytest.raises(UsageError, match="weights odd.pth: expected a state_dict, got"):
            load()


def test_a_training_checkpoint_is_not_the_weights(tmp_path: Path) -> None:
    """``last.pt`` given for ``model.pt`` names the key that is missing and what the file begins with."""
    torch.save({"progress": {"epoch": 1}, "module": small().state_dict()}, tmp_path / "last.pt")
    with pytest.raises(UsageError, match="'0.weight' is missing; the file begins with 'progress'"):
        load_weights(small(), tmp_path / "last.pt")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """A file cut short is no ``state_dict``."""
    torch.save(small().state_dict(), tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:300])
    with pytest.raises(UsageError, match="weights w.pth: not a state_dict saved by torch") as caught:
        read_state(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_the_first_mismatch_in_the_networks_order_is_named() -> None:
    """Missing before misshapen before surplus, in the order of the network's keys; nothing where all fit."""
    wanted = small().state_dict()
    assert mismatch(wanted, wanted) == ""
    assert mismatch({**wanted, "9.bias": 0}, wanted) == "the model has no '9.bias'"
    text = mismatch({**wanted, "0.bias": torch.zeros(5), "9.bias": 0}, wanted)
    assert text == "'0.bias': expected shape (2,), got (5,)"
    assert mismatch({}, wanted) == "'0.weight' is missing; the file begins with None"
