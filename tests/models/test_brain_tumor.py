"""What the brain-tumour net promises: the published count, any number of slices, a video net's weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bitdose.errors import UsageError
from bitdose.models import brain_tumor
from bitdose.models.load import ModelRef
from bitdose.models.weights import load_start


@pytest.fixture(scope="module")
def net() -> brain_tumor.MixedConvNet:
    """Give the network with fresh weights, in evaluation mode."""
    torch.manual_seed(0)
    return brain_tumor.MixedConvNet().eval()


def test_the_counts_are_the_published_ones(net: brain_tumor.MixedConvNet) -> None:
    """11,472,963 with one channel and three classes; torchvision's own mc3_18 has 11,695,440."""
    assert sum(w.numel() for w in net.parameters()) == brain_tumor.PARAMETERS == 11_472_963
    video = brain_tumor.MixedConvNet(400, channels=3)
    assert sum(w.numel() for w in video.parameters()) == 11_695_440


def test_the_stem_and_stages_are_mixed(net: brain_tumor.MixedConvNet) -> None:
    """A stem over three slices, one stage of 3x3x3 kernels, three of 1x3x3; torchvision's key names."""
    state = net.state_dict()
    assert tuple(state["stem.0.weight"].shape) == (64, 1, 3, 7, 7)
    depths = [state[f"layer{stage}.0.conv1.0.weight"].shape[2] for stage in (1, 2, 3, 4)]
    assert depths == [3, 1, 1, 1]
    assert {"layer2.0.downsample.0.weight", "layer4.1.conv2.1.running_var", "fc.weight"} <= set(state)


def test_any_number_of_slices_and_a_batch_of_one(net: brain_tumor.MixedConvNet) -> None:
    """1, 3 or 10 slices give logits ``(N, 3)``; a volume alone is classified as in a batch."""
    batch = torch.rand(2, 1, 10, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        for slices in (1, 3, 10):
            both, alone = net(batch[:, :, :slices]), net(batch[:1, :, :slices])
            assert both.shape == (2, 3)
            torch.testing.assert_close(alone, both[:1], atol=1e-5, rtol=1e-4)


def test_slices_never_shrink_before_the_pooling(net: brain_tumor.MixedConvNet) -> None:
    """The stages halve height and width; the number of slices stays."""
    with torch.inference_mode():
        x = net.stem(torch.zeros(1, 1, 7, 64, 64))
        sides = [x.shape[2:]] + [
            (x := stage(x)).shape[2:] for stage in (net.layer1, net.layer2, net.layer3, net.layer4)
        ]
    assert [tuple(side) for side in sides] == [(7, 32, 32), (7, 32, 32), (7, 16, 16), (7, 8, 8), (7, 4, 4)]


def test_a_video_nets_file_starts_it(tmp_path: Path) -> None:
    """The colour stem is summed, the 400 actions are left out, all else lands where its name says."""
    torch.manual_seed(3)
    video = brain_tumor.MixedConvNet(400, channels=3)
    torch.save(video.state_dict(), tmp_path / "mc3_18.pth")
    net = brain_tumor.MixedConvNet()
    fresh = net.fc.weight.detach().clone()
    load_start(net, tmp_path / "mc3_18.pth", brain_tumor.TRUNK)
    theirs, ours = video.state_dict(), net.state_dict()
    assert torch.equal(ours["stem.0.weight"], theirs["stem.0.weight"].sum(dim=1, keepdim=True))
    same = [key for key in ours if key not in ("stem.0.weight", "fc.weight", "fc.bias")]
    assert all(torch.equal(ours[key], theirs[key]) for key in same)
    assert torch.equal(net.fc.weight, fresh)
    grey = torch.rand(1, 1, 2, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(net.stem[0](grey), video.stem[0](grey.expand(-1, 3, -1, -1, -1)))


def test_its_own_weights_load_whole(tmp_path: Path, net: brain_tumor.MixedConvNet) -> None:
    """A ``state_dict`` of the network itself is taken as it is, its last layer too."""
    torch.save(net.state_dict(), tmp_path / "own.pt")
    other = brain_tumor.MixedConvNet()
    load_start(other, tmp_path / "own.pt", brain_tumor.TRUNK)
    assert torch.equal(other.fc.weight, net.fc.weight)
    classifier = ModelRef("brain-tumor", weights=str(tmp_path / "own.pt"), flags={"size": [32, 32]}).load()
    assert classifier.spec.labels == ("healthy", "LGG", "HGG")
    assert classifier.predict(np.zeros((1, 1, 4, 32, 32), np.float32)).shape == (1, 3)


def test_another_video_net_names_the_first_mismatch(tmp_path: Path) -> None:
    """r3d_18 has 3x3x3 kernels in all stages; a file of 400 actions without a stem is refused as well."""
    state = brain_tumor.MixedConvNet(400, channels=3).state_dict()
    r3d = state | {"layer2.0.conv1.0.weight": torch.zeros(128, 64, 3, 3, 3)}
    torch.save(r3d, tmp_path / "r3d_18.pth")
    words = r"'layer2\.0\.conv1\.0\.weight': expected shape \(128, 64, 1, 3, 3\), got \(128, 64, 3, 3, 3\)"
    with pytest.raises(UsageError, match=words):
        load_start(brain_tumor.MixedConvNet(), tmp_path / "r3d_18.pth", brain_tumor.TRUNK)
    torch.save({"fc.weight": torch.zeros(400, 512)}, tmp_path / "head.pth")
    with pytest.raises(UsageError, match=r"'stem\.0\.weight' is missing"):
        load_start(brain_tumor.MixedConvNet(), tmp_path / "head.pth", brain_tumor.TRUNK)
