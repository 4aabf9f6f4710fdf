"""What ONNX classifiers promise: their spec, any batch, and clear words for what does not load."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from bitdose.errors import UsageError
from bitdose.models.load import ModelRef, probe
from bitdose.models.onnx import load_onnx

from .conftest import WriteOnnx

LABELS = {"labels": ["a", "b"]}
METADATA = {"labels": '["a", "b"]', "output": "logits"}


def ramp(n: int, *shape: int) -> np.ndarray:
    """Give a batch whose i-th entry is i / 10 throughout."""
    return np.broadcast_to((np.arange(n) / 10).reshape(n, *[1] * len(shape)), (n, *shape)).astype(np.float32)


def test_a_graph_gives_size_channels_and_layout(write_onnx: WriteOnnx) -> None:
    """A static input shape needs no sidecar for size and channels; labels must come from somewhere."""
    spec = load_onnx(write_onnx(shape=(3, 6, 8)), flags=LABELS).spec
    assert (spec.layout, spec.channels, spec.size) == ("NCHW", 3, (6, 8))
    spec = load_onnx(write_onnx(shape=(1, "L", 6, 8)), flags=LABELS).spec
    assert (spec.layout, spec.size, spec.takes_volumes) == ("NCDHW", (6, 8), True)
    spec = load_onnx(write_onnx(shape=(6, 8, 3)), flags=LABELS | {"layout": "NHWC"}).spec
    assert (spec.layout, spec.channels, spec.size) == ("NHWC", 3, (6, 8))


def test_a_dynamic_size_is_left_open(write_onnx: WriteOnnx) -> None:
    """A graph of any size takes images as they come, unless a size is given."""
    path = write_onnx(shape=(1, "H", "W"))
    assert load_onnx(path, flags=LABELS).spec.size is None
    assert load_onnx(path, flags=LABELS | {"size": [9, 9]}).spec.size == (9, 9)


def test_metadata_in_the_file_suffice(write_onnx: WriteOnnx) -> None:
    """Labels, output and input keys can stand in the ONNX file itself."""
    metadata = METADATA | {"input": '{"mean": [0.5], "std": [0.25]}'}
    spec = load_onnx(write_onnx(metadata=metadata)).spec
    assert (spec.labels, spec.output, spec.mean, spec.std) == (("a", "b"), "logits", (0.5,), (0.25,))


def test_a_sidecar_that_contradicts_the_graph_is_refused(write_onnx: WriteOnnx) -> None:
    """The graph takes one channel; a sidecar that says three is wrong, and both are named."""
    path = write_onnx()
    path.with_suffix(".json").write_text(json.dumps({"input": {"channels": 3}} | LABELS))
    with pytest.raises(UsageError, match="channels is 3 in the model's sidecar but 1 in its graph"):
        load_onnx(path)


def test_a_layout_of_other_rank_is_refused(write_onnx: WriteOnnx) -> None:
    """A layout with slices does not go with an input of four axes."""
    with pytest.raises(UsageError, match=r"input of shape \['N', 1, 8, 8\] does not go with layout NCDHW"):
        load_onnx(write_onnx(), flags=LABELS | {"layout": "NCDHW"})


def test_predictions_by_hand(write_onnx: WriteOnnx) -> None:
    """The k-th output is k times the mean: here 0 and the mean, as probabilities."""
    found = load_onnx(write_onnx(), flags=LABELS).predict(ramp(4, 1, 8, 8))
    np.testing.assert_allclose(found, [[0, 0], [0, 0.1], [0, 0.2], [0, 0.3]], atol=1e-6)


@pytest.mark.parametrize("fixed", [1, 3, 8])
@pytest.mark.parametrize("n", [1, 3, 7, 40])
def test_a_fixed_batch_takes_any(write_onnx: WriteOnnx, fixed: int, n: int) -> None:
    """A graph exported with a fixed batch answers batches of any size, as the free one does."""
    batch = np.random.default_rng(n).random((n, 1, 8, 8), np.float32)
    free = load_onnx(write_onnx("free.onnx"), flags=LABELS).predict(batch)
    found = load_onnx(write_onnx("fixed.onnx", batch=fixed), flags=LABELS).predict(batch)
    np.testing.assert_allclose(found, free, atol=1e-7)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_float_inputs_are_cast(write_onnx: WriteOnnx, dtype: int) -> None:
    """Half and double precision inputs get what they ask for."""
    classifier = load_onnx(write_onnx(dtype=dtype), flags=LABELS)
    probe(classifier)
    np.testing.assert_allclose(classifier.predict(ramp(3, 1, 8, 8))[:, 1], [0, 0.1, 0.2], atol=1e-4)


def test_an_input_of_integers_is_refused(write_onnx: WriteOnnx) -> None:
    """A graph that wants bytes scales them itself; it is refused rather than fed zeros and ones."""
    with pytest.raises(UsageError, match=r"expected an input of floats, got tensor\(uint8\)"):
        load_onnx(write_onnx(dtype=TensorProto.UINT8), flags=LABELS)


def test_several_inputs_are_refused(write_onnx: WriteOnnx) -> None:
    """A graph with a second input is no image classifier: the error names the inputs."""
    with pytest.raises(UsageError, match=r"net\.onnx: expected one input, got \['image', 'age'\]"):
        load_onnx(write_onnx(extra_input=True), flags=LABELS)


def test_a_file_that_is_no_model_says_so(tmp_path: Path) -> None:
    """Text in an .onnx file: one line with the file's name."""
    (tmp_path / "net.onnx").write_text("<html>not found</html>")
    with pytest.raises(UsageError, match=r"net\.onnx: not an ONNX model that loads: ") as caught:
        load_onnx(tmp_path / "net.onnx", flags=LABELS)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """A path with nothing at its end: what is missing, and what to give."""
    with pytest.raises(UsageError, match=r"net\.onnx: No such file .*; give the path of an ONNX file"):
        load_onnx(tmp_path / "net.onnx", flags=LABELS)


def test_a_wrong_number_of_labels_is_found_before_the_study(write_onnx: WriteOnnx) -> None:
    """A network of three outputs with two labels loads, but the probe refuses it."""
    classifier = load_onnx(write_onnx(outputs=3), flags=LABELS)
    with pytest.raises(UsageError, match=r"outputs of shape \(1, 2\) for labels \['a', 'b'\], got \(1, 3\)"):
        probe(classifier)


def test_an_input_the_graph_cannot_take_is_found_before_the_study(write_onnx: WriteOnnx) -> None:
    """A graph that claims any size but works at 8x8 alone fails in the probe, in one line."""
    path = write_onnx(shape=(1, "H", "W"), reshape=(-1, 1, 8, 8))
    probe(load_onnx(path, flags=LABELS | {"size": [8, 8]}))
    with pytest.raises(
        UsageError, match=r"cannot take an input of shape \(1, 1, 9, 9\) as its spec"
    ) as caught:
        probe(load_onnx(path, flags=LABELS | {"size": [9, 9]}))
    assert "\n" not in str(caught.value)


def test_nan_answers_pass_the_probe(write_onnx: WriteOnnx) -> None:
    """A network that answers NaN to a blank image is not refused: NaN is the failure of a row."""
    classifier = load_onnx(write_onnx(nan=True), flags=LABELS)
    probe(classifier)
    assert np.isnan(classifier.predict(ramp(2, 1, 8, 8))).all()


def test_the_name_follows_the_weights(write_onnx: WriteOnnx) -> None:
    """The name holds the start of the file's digest: the same file the same name, other weights another."""
    names = [load_onnx(write_onnx(outputs=k), flags=LABELS).name for k in (2, 2, 3)]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("net@")


def test_weights_beside_the_file_count_for_the_name(write_onnx: WriteOnnx) -> None:
    """Exports that keep their weights in ``net.onnx.data`` are named by both files."""
    path, flags = write_onnx(outputs=64), {"labels": [f"class-{k}" for k in range(64)]}
    alone = load_onnx(path, flags=flags).name
    model = onnx.load(path)
    onnx.save(model, str(path), save_as_external_data=True, location="net.onnx.data", size_threshold=128)
    batch = ramp(2, 1, 8, 8) / 10
    first = load_onnx(path, flags=flags)
    before = first.predict(batch)[1, 1]
    data = path.with_name("net.onnx.data")
    data.write_bytes(data.read_bytes().replace(np.float32(1).tobytes(), np.float32(0.5).tobytes()))
    second = load_onnx(path, flags=flags)
    assert len({alone, first.name, second.name}) == 3
    assert (before, second.predict(batch)[1, 1]) == pytest.approx((0.01, 0.005), abs=1e-7)


def test_models_are_found_by_reference(write_onnx: WriteOnnx) -> None:
    """A path ending in .onnx loads as such, whatever its case; flags travel with the reference."""
    path = write_onnx("NET.ONNX")
    assert ModelRef(str(path), flags=LABELS).load().spec.labels == ("a", "b")
