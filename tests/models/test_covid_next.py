"""What COVID-Next promises: published counts and key names, any batch, other people's weights in place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bitdose.errors import UsageError
from bitdose.models import covid_next
from bitdose.models.load import ModelRef, probe
from bitdose.models.weights import load_start


@pytest.fixture(scope="module")
def net() -> covid_next.CovidNext:
    """Give the network with fresh weights, in evaluation mode."""
    torch.manual_seed(0)
    return covid_next.CovidNext().eval()


@pytest.fixture(scope="module")
def saved(net: covid_next.CovidNext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file in the form of the public checkpoint: the weights under ``state_dict``."""
    path = tmp_path_factory.mktemp("covid") / "public.pth"
    torch.save({"state_dict": net.state_dict(), "epoch": 40}, path)
    return path


def torchvision_resnext() -> dict[str, torch.Tensor]:
    """Give tensors named and shaped as torchvision's ``resnext50_32x4d``, each with a number of its own."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, n: int) -> None:
        shapes.update({f"{name}.{part}": (n,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    n_in = 64
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        width, n_out = 64 * 2**stage, 128 * 2**stage
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            convs = {"conv1": (width, n_in, 1, 1), "conv2": (width, width // 32, 3, 3)}
            for index, (conv, shape) in enumerate({**convs, "conv3": (n_out, width, 1, 1)}.items(), start=1):
                shapes[f"{prefix}.{conv}.weight"] = shape
                norm(f"{prefix}.bn{index}", shape[0])
            if block == 0:
                shapes[f"{prefix}.downsample.0.weight"] = (n_out, n_in, 1, 1)
                norm(f"{prefix}.downsample.1", n_out)
            n_in = n_out
    shapes |= {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
    return {name: torch.full(shape, 0.5 + index) for index, (name, shape) in enumerate(shapes.items())}


def test_the_counts_are_the_published_ones(net: covid_next.CovidNext) -> None:
    """37,665,603 parameters: trunk 22,979,904, final block 14,684,160, linear layer 1,539."""

    def count(*parts: torch.nn.Module) -> int:
        return sum(weights.numel() for part in parts for weights in part.parameters())

    assert count(net) == covid_next.PARAMETERS == 37_665_603
    assert count(net.block0, net.block1, net.block2, net.block3, net.block4) == 22_979_904
    assert count(net.backbone_end) == 14_684_160
    assert count(net.logits) == 1_539


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("block0.module.0.weight", (64, 3, 7, 7)),
        ("block0.module.1.running_mean", (64,)),
        ("block1.module.0.conv1.weight", (128, 64, 1, 1)),
        ("block1.module.0.conv2.weight", (128, 4, 3, 3)),
        ("block1.module.0.downsample.0.weight", (256, 64, 1, 1)),
        ("block4.module.2.bn3.bias", (2048,)),
        ("backbone_end.module.0.0.weight", (512, 2048, 3, 3)),
        ("backbone_end.module.1.0.weight", (1024, 512, 1, 1)),
        ("backbone_end.module.2.1.running_var", (512,)),
        ("logits.module.weight", (3, 512)),
        ("logits.module.bias", (3,)),
    ],
)
def test_the_keys_are_those_of_the_public_checkpoint(
    net: covid_next.CovidNext, key: str, shape: tuple[int, ...]
) -> None:
    """The public ``state_dict``'s names and shapes, so that it loads as it is."""
    assert tuple(net.state_dict()[key].shape) == shape


def test_a_batch_of_one_gives_what_it_gives_in_company(net: covid_next.CovidNext) -> None:
    """One image alone is classified as in a batch, in evaluation mode; the logits are ``(N, 3)``."""
    batch = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        both, alone = net(batch), net(batch[:1])
    assert both.shape == (2, 3)
    torch.testing.assert_close(alone, both[:1], atol=1e-4, rtol=1e-4)


def test_the_public_form_of_file_answers_under_the_networks_name(
    net: covid_next.CovidNext, saved: Path
) -> None:
    """``--model covid-next --weights FILE``: the paper's labels and input, logits made probabilities."""
    classifier = ModelRef("covid-next", weights=str(saved), flags={"size": [64, 64]}).load()
    assert classifier.spec.labels == ("normal", "pneumonia", "covid-19")
    assert (classifier.spec.channels, classifier.spec.output) == (3, "logits")
    probe(classifier)
    batch = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    with torch.inference_mode():
        wanted = net(torch.from_numpy(batch)).softmax(dim=1).numpy()
    np.testing.assert_allclose(classifier.predict(batch), wanted, atol=1e-5)
    assert ModelRef("covid-next", weights=str(saved)).load().spec.size == (256, 256)


def test_flags_may_not_contradict_the_network(saved: Path) -> None:
    """What the network is made for cannot be overruled; nor is it loaded without weights."""
    with pytest.raises(UsageError, match="channels is 3 in the model's network but 1 in its flags"):
        ModelRef("covid-next", weights=str(saved), flags={"channels": 1}).load()
    with pytest.raises(UsageError, match="model='covid-next': give its weights with weights='FILE'"):
        ModelRef("covid-next").load()


def test_torchvisions_resnext_starts_the_trunk(tmp_path: Path) -> None:
    """Every tensor of torchvision's file lands in its place; the final block stays fresh, fc is left out."""
    theirs = torchvision_resnext()
    torch.save(theirs, tmp_path / "resnext50.pth")
    net = covid_next.CovidNext(2)
    fresh = net.logits.module.weight.detach().clone()
    load_start(net, tmp_path / "resnext50.pth", covid_next.TRUNK)
    ours = net.state_dict()
    places = {"conv1": "block0.module.0", "bn1": "block0.module.1"} | {
        f"layer{i}": f"block{i}.module" for i in range(1, 5)
    }
    moved = {key for key in theirs if not key.startswith("fc.")}
    for key in moved:
        head, _, rest = key.partition(".")
        there = ours[f"{places[head]}.{rest}"]
        assert torch.equal(there, theirs[key].to(there.dtype)), key
    trunk = [key for key in ours if not key.startswith(("backbone_end.", "logits."))]
    assert len(trunk) == len(moved)
    assert torch.equal(net.logits.module.weight, fresh)


@pytest.mark.parametrize(
    ("dropped", "says"),
    [
        ("layer4.2.conv3.weight", "'block4.module.2.conv3.weight' is missing"),
        ("bn1.weight", "'block0.module.1.weight' is missing"),
    ],
)
def test_a_trunk_with_a_hole_is_refused(tmp_path: Path, dropped: str, says: str) -> None:
    """A tensor of the trunk that the file lacks is named, not left fresh without a word."""
    theirs = torchvision_resnext()
    del theirs[dropped]
    torch.save(theirs, tmp_path / "cut.pth")
    with pytest.raises(UsageError, match=f"weights cut.pth: do not fit the model: {says}"):
        load_start(covid_next.CovidNext(), tmp_path / "cut.pth", covid_next.TRUNK)


def test_another_resnet_names_the_first_mismatch(tmp_path: Path) -> None:
    """A ResNet-18's first block is another one: its key and both shapes."""
    theirs = torchvision_resnext() | {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}
    torch.save(theirs, tmp_path / "resnet18.pth")
    words = r"'block1\.module\.0\.conv1\.weight': expected shape \(128, 64, 1, 1\), got \(64, 64, 3, 3\)"
    with pytest.raises(UsageError, match=words):
        load_start(covid_next.CovidNext(), tmp_path / "resnet18.pth", covid_next.TRUNK)


def test_a_trunk_alone_does_not_classify(tmp_path: Path) -> None:
    """Torchvision's file has no layer for these classes: a study refuses it by its first missing key."""
    torch.save(torchvision_resnext(), tmp_path / "resnext50.pth")
    with pytest.raises(
        UsageError, match=r"'block0\.module\.0\.weight' is missing; the file begins with 'conv1"
    ):
        ModelRef("covid-next", weights=str(tmp_path / "resnext50.pth")).load()


def test_labels_come_from_the_sidecar_of_the_weights(tmp_path: Path) -> None:
    """Weights for other classes bring their labels along; an ONNX file's sidecar beside them is no trap."""
    torch.save(covid_next.CovidNext(2).state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.onnx").write_bytes(b"")
    fields = {"input": {"size": [64, 64]}, "output": "probabilities", "labels": ["no", "yes"]}
    (tmp_path / "model.json").write_text(json.dumps(fields))
    classifier = ModelRef("covid-next", weights=str(tmp_path / "model.pt")).load()
    assert (classifier.spec.labels, classifier.spec.output) == (("no", "yes"), "logits")
    probabilities = classifier.predict(np.zeros((1, 3, 64, 64), np.float32))
    assert probabilities.sum() == pytest.approx(1)
