"""What PyTorch classifiers promise: TorchScript files, factories with weights, and torch absent."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitdose.errors import UsageError
from bitdose.models.load import ModelRef, probe

FLAGS = {"labels": ["a", "b"], "size": [8, 8], "output": "logits"}

FACTORY = """
import torch

def build():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2),
    )
    return net

def described():
    net = build()
    net.bitdose_spec = {"input": {"size": [8, 8]}, "output": "logits", "labels": ["a", "b"]}
    return net

def misdescribed():
    net = build()
    net.bitdose_spec = {"input": {"sides": [8, 8]}}
    return net

def needs(width):
    return build()

def no_network():
    return dict()

def raises():
    raise RuntimeError("no device\\nsecond line")

def leaves():
    raise SystemExit(3)

def reads():
    open("weights-that-are-not-there.bin")
"""


@pytest.fixture(scope="module")
def module_name(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write a user's module of factories to a folder that Python imports from."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "user_networks.py").write_text(FACTORY)
    (folder / "broken_networks.py").write_text("def build(:\n")
    (folder / "failing_networks.py").write_text("raise RuntimeError('at import')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "user_networks"
    sys.modules.pop("user_networks", None)


@pytest.fixture
def network(module_name: str) -> torch.nn.Module:
    """Build the user's network."""
    return __import__(module_name).build()


def write_torchscript(network: torch.nn.Module, path: Path) -> Path:
    """Trace a network into a file; making TorchScript is what recent torch advises against."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.trace(network.eval(), torch.zeros(1, 1, 8, 8)).save(str(path))
    return path


def expected(network: torch.nn.Module, batch: np.ndarray) -> np.ndarray:
    """Run the network by hand, in evaluation mode."""
    with torch.inference_mode():
        return torch.softmax(network.eval()(torch.from_numpy(batch)), dim=1).numpy()


@pytest.fixture
def batch() -> np.ndarray:
    """Give five random entries."""
    return np.random.default_rng(0).random((5, 1, 8, 8), np.float32)


def test_a_torchscript_file(tmp_path: Path, network: torch.nn.Module, batch: np.ndarray) -> None:
    """A TorchScript file with a sidecar answers as the network did, and loads without a warning."""
    path = write_torchscript(network, tmp_path / "net.pt")
    path.with_suffix(".json").write_text(
        '{"input": {"size": [8, 8]}, "output": "logits", "labels": ["a", "b"]}'
    )
    classifier = ModelRef(str(path)).load()
    probe(classifier)
    np.testing.assert_allclose(classifier.predict(batch), expected(network, batch), atol=1e-6)
    assert classifier.name.startswith("net@")


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_what_is_no_torchscript_says_so(tmp_path: Path, content: bytes | None) -> None:
    """A missing or foreign file is one line with its name."""
    if content is not None:
        (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(UsageError, match=r"net\.pt: not a TorchScript module: ") as caught:
        ModelRef(str(tmp_path / "net.pt"), flags=FLAGS).load()
    assert "\n" not in str(caught.value)


def test_a_factory_with_its_weights(
    tmp_path: Path, module_name: str, network: torch.nn.Module, batch: np.ndarray
) -> None:
    """``module:factory`` with a state_dict answers as the trained network did, dropout and norm at rest."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    classifier = ModelRef(f"{module_name}:build", weights=str(tmp_path / "net.pth"), flags=FLAGS).load()
    np.testing.assert_allclose(classifier.predict(batch), expected(network, batch), atol=1e-6)
    np.testing.assert_array_equal(classifier.predict(batch), classifier.predict(batch))


def test_a_factory_describes_itself(module_name: str) -> None:
    """An attribute ``bitdose_spec`` is the network's metadata: no flag is needed, and none may differ."""
    classifier = ModelRef(f"{module_name}:described").load()
    assert (classifier.spec.labels, classifier.spec.size) == (("a", "b"), (8, 8))
    with pytest.raises(UsageError, match="in the model's metadata but .* in its flags"):
        ModelRef(f"{module_name}:described", flags={"labels": ["b", "a"]}).load()
    with pytest.raises(UsageError, match="user_networks:misdescribed.bitdose_spec: unknown input keys sides"):
        ModelRef(f"{module_name}:misdescribed").load()


def test_the_sidecar_of_a_factory_lies_beside_its_weights(
    tmp_path: Path, module_name: str, network: torch.nn.Module
) -> None:
    """``net.json`` beside ``net.pth`` serves the factory."""
    torch.save(network.state_dict(), tmp_path / "net.pth")
    (tmp_path / "net.json").write_text('{"output": "logits", "labels": ["no", "yes"]}')
    classifier = ModelRef(f"{module_name}:build", weights=str(tmp_path / "net.pth")).load()
    assert classifier.spec.labels == ("no", "yes")


def test_other_weights_are_another_name(tmp_path: Path, module_name: str, network: torch.nn.Module) -> None:
    """The name follows the weights, so that two trainings never share a run folder."""
    names = []
    for bias in (0.0, 1.0):
        network[-1].bias.data.fill_(bias)
        torch.save(network.state_dict(), tmp_path / "net.pth")
        ref = ModelRef(f"{module_name}:build", weights=str(tmp_path / "net.pth"), flags=FLAGS)
        names.append(ref.load().name)
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (torch.nn.Linear(4, 2), "'0.weight' is missing; the file begins with 'weight'"),
        (
            torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)),
            r"'0.weight': expected shape \(4, 1, 3, 3\), got \(4, 3, 3, 3\)",
        ),
    ],
)
def test_weights_of_another_architecture_name_the_first_mismatch(
    tmp_path: Path, module_name: str, other: torch.nn.Module, words: str
) -> None:
    """Weights that do not fit: the first key that differs, and how."""
    torch.save(other.state_dict(), tmp_path / "net.pth")
    with pytest.raises(UsageError, match=rf"weights net\.pth: do not fit the model: {words}$"):
        ModelRef(f"{module_name}:build", weights=str(tmp_path / "net.pth"), flags=FLAGS).load()


def test_weights_with_a_surplus_name_it(tmp_path: Path, module_name: str, network: torch.nn.Module) -> None:
    """A file with one layer more than the model names that layer's first key."""
    torch.save(network.state_dict() | {"9.weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(UsageError, match=r"do not fit the model: the model has no '9\.weight'$"):
        ModelRef(f"{module_name}:build", weights=str(tmp_path / "net.pth"), flags=FLAGS).load()


def test_weights_are_read_without_running_code(
    tmp_path: Path, module_name: str, network: torch.nn.Module
) -> None:
    """A pickled network, whose reading would run its code, is refused; so are a list and a missing file."""
    for name, content in [("pickled.pth", network), ("list.pth", [1, 2])]:
        torch.save(content, tmp_path / name)
    for name, words in [
        ("pickled.pth", r"pickled\.pth: not a state_dict saved by torch\.save"),
        ("list.pth", r"list\.pth: expected a state_dict, got list"),
        ("missing.pth", r"missing\.pth: No such file"),
    ]:
        with pytest.raises(UsageError, match=words) as caught:
            ModelRef(f"{module_name}:build", weights=str(tmp_path / name), flags=FLAGS).load()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module_of_mine:build", "No module named"),
        ("user_networks:nothing", "has no attribute 'nothing'"),
        ("user_networks:needs", "missing 1 required positional argument"),
        (":build", "Empty module name"),
        ("user_networks:no_network", "a torch.nn.Module, got dict"),
        ("user_networks:raises", "RuntimeError: no device$"),
        ("user_networks:leaves", "SystemExit: 3"),
        ("user_networks:reads", "FileNotFoundError: .*weights-that-are-not-there.bin"),
        ("broken_networks:build", "SyntaxError: "),
        ("failing_networks:build", "RuntimeError: at import$"),
    ],
)
def test_a_factory_that_does_not_build_says_why(module_name: str, target: str, words: str) -> None:
    """No such module or factory, arguments wanted, no network built, or anything raised: one line."""
    with pytest.raises(UsageError, match=f"model '{target}': expected .*{words}"):
        ModelRef(target, flags=FLAGS).load()


@pytest.mark.parametrize("model", ["net.pt", "user_networks:build"])
def test_without_torch_the_install_command_is_given(tmp_path: Path, model: str) -> None:
    """Where torch is absent, everything imports, and use raises with the command that installs it."""
    code = f"""
import sys
sys.modules["torch"] = None
import bitdose.models.load, bitdose.models.torch
from bitdose.errors import MissingBackendError
try:
    bitdose.models.load.ModelRef({model!r}).load()
except MissingBackendError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.startswith("PyTorch classifiers need torch: pip install 'bitdose[torch]' (")
    assert done.stdout.count("\n") == 1


def test_another_network_under_the_same_name_is_another_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name holds a digest of weights and source, so that an edited network cannot resume a run."""
    import importlib
    import sys

    monkeypatch.syspath_prepend(str(tmp_path))
    names = []
    for slope in (1.0, 2.0):
        (tmp_path / "twice_edited.py").write_text(
            "import torch\n"
            "class Net(torch.nn.Module):\n"
            "    bitdose_spec = {'labels': ['a', 'b'], 'input': {'size': [8, 8]}}\n"
            "    def forward(self, x):\n"
            f"        return torch.full((len(x), 2), {slope} / 4)\n"
        )
        sys.modules.pop("twice_edited", None)
        importlib.invalidate_caches()
        names.append(ModelRef("twice_edited:Net").load().name)
    assert names[0] != names[1]


def test_the_same_factory_and_weights_are_the_same_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded twice, a factory with its weights has one name."""
    (tmp_path / "steady.py").write_text(
        "import torch\n"
        "def net():\n"
        "    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))\n"
        "    made.bitdose_spec = {'labels': ['a', 'b'], 'input': {'size': [8, 8]}}\n"
        "    return made\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import steady  # type: ignore[import-not-found]
    import torch

    torch.save(steady.net().state_dict(), tmp_path / "w.pt")
    names = {ModelRef("steady:net", str(tmp_path / "w.pt")).load().name for _ in range(2)}
    assert len(names) == 1
    assert ModelRef("steady:net").load().name not in names


def test_bf16_is_asked_for_by_name(tmp_path: Path, module_name: str, network: torch.nn.Module) -> None:
    """In bf16 the answers differ a little and the name does; the same network in fp32 stands beside it."""
    torch.save(network.state_dict(), tmp_path / "net.pth")
    usual = ModelRef(f"{module_name}:build", weights=str(tmp_path / "net.pth"), flags=FLAGS)
    plain, rough = usual.load(), replace(usual, precision="bf16").load()
    batch = np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
    gap = np.abs(plain.predict(batch) - rough.predict(batch)).max()
    assert 0 < gap < 0.05
    assert rough.name.partition("@")[0] == f"{module_name}:build-bf16"
    assert rough.in_fp32 is not None
    np.testing.assert_array_equal(rough.in_fp32.predict(batch), plain.predict(batch))
    assert plain.in_fp32 is None
