"""Classifiers from Python objects: torch modules, scikit-learn, ONNX, callables."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from bitdose.errors import UsageError
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.models.load import ModelRef, probe
from bitdose.models.objects import classifier_from
from bitdose.testing.classifier import check_classifier

RNG = np.random.default_rng(4)
LABELS = ("dark", "bright")
INPUT = {"size": [8, 8], "output": "logits"}
SAMPLES = RNG.random((30, 8, 8)).astype(np.float32)


def brightness(batch: Any) -> Any:
    """Give the mean of each input as the probability of the second class."""
    bright = batch.mean(axis=(1, 2, 3))
    return np.stack([1 - bright, bright], axis=1)


class Bright:
    """A callable object."""

    def __call__(self, batch: Any) -> Any:
        """Answer as the function does."""
        return brightness(batch)


def network(seed: int = 0) -> nn.Module:
    """Give a small network with what differs between training and evaluation."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(72, 2)
    )


def fitted(labels: Any = LABELS, side: int = 8) -> Any:
    """Give a scikit-learn classifier of flattened images."""
    samples = RNG.random((40, side * side))
    truth = np.array(labels)[(samples.mean(axis=1) > 0.5).astype(int)]
    return LogisticRegression().fit(samples, truth)


def test_paths_and_names_stay_references(texture_model: Path) -> None:
    """Worker processes load them by themselves; what is said beside them goes along."""
    for given in (texture_model, str(texture_model)):
        found = classifier_from(given, labels=("a", "b"), input={"channels": 1}, weights=Path("w.pt"))
        assert found == ModelRef(str(texture_model), "w.pt", {"channels": 1, "labels": ["a", "b"]})
    assert classifier_from(found) is found


def test_a_classifier_stays_itself() -> None:
    """It states its own labels and input; others beside them are refused."""
    given = CallableClassifier(brightness, InputSpec(labels=LABELS))
    assert classifier_from(given) is given
    with pytest.raises(UsageError, match="labels: a CallableClassifier states its own"):
        classifier_from(given, labels=LABELS)


def test_a_torch_module_answers_in_evaluation_mode_and_keeps_its_own() -> None:
    """Dropout and batch statistics are off while it answers, and each part is as it was afterwards."""
    module = network()
    module[1].eval()  # a part that its owner has frozen
    before = {name: value.clone() for name, value in module.state_dict().items()}
    classifier = classifier_from(module, labels=LABELS, input=INPUT)
    assert isinstance(classifier, CallableClassifier)
    check_classifier(classifier)
    batch = SAMPLES[:, None]
    np.testing.assert_array_equal(classifier.predict(batch), classifier.predict(batch))
    assert [part.training for part in module] == [True, False, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(weights.grad is None for weights in module.parameters())
    with torch.inference_mode():
        logits = network().eval()(torch.from_numpy(batch))
    np.testing.assert_allclose(classifier.predict(batch), torch.softmax(logits.double(), 1), rtol=1e-12)


def test_a_torch_modules_identity_is_its_weights_and_its_architecture() -> None:
    """The same weights give the same name; others, or another activation, another."""
    activated = [nn.Sequential(nn.Flatten(), activation()) for activation in (nn.ReLU, nn.Tanh)]
    modules = (network(), network(), network(1), *activated)
    names = [
        classifier_from(module, labels=LABELS, input=INPUT).name  # type: ignore[union-attr]
        for module in modules
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert names[0].startswith("Sequential@")


def test_a_torch_module_may_bring_its_spec() -> None:
    """``bitdose_spec`` is read as a factory's is, and a contradiction is refused."""
    module = network()
    module.bitdose_spec = {"labels": list(LABELS), "output": "logits", "input": {"size": [8, 8]}}
    assert classifier_from(module).spec.labels == LABELS  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=r"labels is \['dark', 'bright'\] in the model's bitdose_spec"):
        classifier_from(module, labels=("a", "b"))


def test_a_torch_module_in_bf16_has_the_fp32_one_beside_it() -> None:
    """It is another classifier by name, and a study compares the two."""
    plain = classifier_from(network(), labels=LABELS, input=INPUT)
    half = classifier_from(network(), labels=LABELS, input=INPUT, precision="bf16")
    assert isinstance(half, CallableClassifier)
    assert half.in_fp32 is not None
    assert half.in_fp32.name == plain.name != half.name  # type: ignore[union-attr]


def test_an_onnx_object_becomes_a_file_that_workers_load(texture_model: Path) -> None:
    """A model, or a session of its bytes, answers as its file does; a session of a file is that file."""
    proto = onnx.load(str(texture_model))
    by_bytes = onnxruntime.InferenceSession(proto.SerializeToString(deterministic=True))
    labels, fields = ("smooth", "grainy", "rough"), {"output": "probabilities"}
    batch = RNG.random((3, 1, 96, 96)).astype(np.float32)
    wanted = ModelRef(str(texture_model)).load().predict(batch)
    found = [classifier_from(one, labels=labels, input=fields) for one in (proto, by_bytes)]
    for one in found:
        assert isinstance(one, ModelRef)
        np.testing.assert_array_equal(one.load().predict(batch), wanted)
    assert found[0] == found[1]
    by_path = classifier_from(onnxruntime.InferenceSession(str(texture_model)))
    assert by_path == ModelRef(str(texture_model))


@pytest.mark.parametrize("names", [LABELS, (0, 1)])
def test_a_scikit_learn_classifier_brings_its_labels_and_size(names: Any) -> None:
    """Its classes are the labels, whole numbers as text; a square number of features is the size."""
    model = fitted(names)
    classifier = classifier_from(model)
    assert isinstance(classifier, CallableClassifier)
    check_classifier(classifier)
    assert (classifier.spec.labels, classifier.spec.size) == (tuple(sorted(map(str, names))), (8, 8))
    wanted = model.predict_proba(SAMPLES.reshape(len(SAMPLES), -1))
    np.testing.assert_allclose(classifier.predict(SAMPLES[..., None]), wanted, atol=1e-7)
    assert classifier_from(model).name == classifier.name  # type: ignore[union-attr]
    assert "pickle" in classifier.known_by


def test_a_scikit_learn_classifier_of_numbers_can_be_given_names() -> None:
    """In the order of its classes; as many as it has."""
    assert classifier_from(fitted((0, 1)), labels=LABELS).spec.labels == LABELS  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="labels: expected 2 as the model's classes_, got 3"):
        classifier_from(fitted((0, 1)), labels=("a", "b", "c"))
    with pytest.raises(UsageError, match="labels is .* in the model's classes_ and features"):
        classifier_from(fitted(), labels=("a", "b"))


def test_a_pipeline_with_oblong_images_needs_their_size() -> None:
    """Its features are no square: the size is asked for, and checked."""
    samples = RNG.random((40, 24))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(samples, samples[:, 0] > 0.5)
    with pytest.raises(UsageError, match=r"give input=\{\"size\": \[height, width\]\}"):
        classifier_from(model)
    with pytest.raises(UsageError, match="size and channels: the model has 24 features, got 4x5 with 1"):
        classifier_from(model, input={"size": [4, 5]})
    probe(classifier_from(model, input={"size": [4, 6]}))  # type: ignore[arg-type]
    probe(classifier_from(model, input={"size": [2, 4], "channels": 3}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="this LogisticRegression has no classes_; fit it first"):
        classifier_from(LogisticRegression())


@pytest.mark.parametrize("function", [brightness, Bright(), functools.partial(brightness), Bright().__call__])
def test_a_callable_needs_labels_alone(function: Any) -> None:
    """It sees ``(n, C, H, W)`` float32 of images at their own size; its digest is that of its source."""
    classifier = classifier_from(function, labels=LABELS)
    assert isinstance(classifier, CallableClassifier)
    assert (classifier.spec.layout, classifier.spec.size) == ("NCHW", None)
    check_classifier(classifier)
    assert classifier.known_by.startswith("the function's qualified name and source")
    with pytest.raises(UsageError, match="labels are missing"):
        classifier_from(function)


def test_a_callables_identity_is_its_source() -> None:
    """Two functions of one name and another text differ, also where there is no source to read."""

    def of(code: str) -> Any:
        space: dict[str, Any] = {}
        exec(code, space)  # as in ``python - < script``: no source to be had
        return classifier_from(space["f"], labels=LABELS)

    texts = ("def f(x): return x * 1", "\n\ndef f(x):\n  return x * 1", "def f(x): return x * 2")
    first, again, other = map(of, texts)
    assert first.name == again.name != other.name
    assert "bytecode" in first.known_by
    one, two = (classifier_from(f, labels=LABELS) for f in (lambda x: x, lambda x: x + 0))
    assert one.name != two.name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "w.pt"}, "weights: they go with a model's name"),
        ({"runtime": "openvino"}, "runtime 'openvino': it runs ONNX models, got function"),
        ({"precision": "bf16"}, "precision 'bf16': it goes with ONNX and torch, got function"),
        ({"input": {"labels": ["a", "b"]}}, "labels: expected those of input"),
        ({"input": {"side": 3}}, "model input spec: .*side"),
    ],
)
def test_what_does_not_go_with_an_object_is_refused(options: dict[str, Any], message: str) -> None:
    """One line says which argument and what it goes with."""
    with pytest.raises(UsageError, match=message):
        classifier_from(brightness, labels=LABELS, **options)
    with pytest.raises(UsageError, match="model: expected a path, a Classifier, .* got int"):
        classifier_from(7)
