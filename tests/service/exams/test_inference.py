"""Payloads become the answers that the study would have given; one bad exam costs only itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bitdose.codecs.coding import code_points
from bitdose.codecs.point import Point
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.models.load import ModelRef
from bitdose.models.prepare import prepare
from bitdose.service.exams.admission import meta_refusal, payload_refusal
from bitdose.service.exams.inference import code_pristine, prepared, read_batch, read_image
from bitdose.wire import pack_streams

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def classifier() -> CallableClassifier:
    """Give the shipped classifier."""
    return ModelRef("phantom").load()


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("point", ["jpeg:q30@256", "jpeg2000:20x@256", "jpeg:q30", "jpeg:q30@128:area:none"])
def test_the_image_is_that_of_a_study(point: str, bits: int, draw: Make, coded: Make) -> None:
    """A payload decodes to exactly the pixels that a study classifies at the point."""
    image = draw(1, bits=bits)
    parcel = coded(image, point)
    ((_, studied),) = code_points(image, [Point.parse(point)], exact=True)
    assert read_image(parcel.meta, parcel.payload) == studied.image


def test_a_pristine_exam_is_read_as_its_file(draw: Make, pristine: Make) -> None:
    """The pixels of a PNG come back as they were."""
    parcel = pristine(draw(2))
    assert read_image(parcel.meta, parcel.payload) == draw(2)


def test_a_batch_answers_as_each_alone(draw: Make, coded: Make, classifier: CallableClassifier) -> None:
    """Exams read together get the probabilities of the classifier called for each by itself."""
    parcels = [coded(draw(seed)) for seed in range(4)]
    reads = read_batch([prepared(p.meta, p.payload, classifier) for p in parcels], classifier)
    for parcel, read in zip(parcels, reads, strict=True):
        alone = classifier.predict(prepare(read_image(parcel.meta, parcel.payload), classifier.spec)[None])[0]
        assert list(read.answer.probabilities) == list(classifier.spec.labels)
        assert list(read.answer.probabilities.values()) == pytest.approx(list(alone), abs=1e-5)
        assert read.answer.model == classifier.name
        assert read.answer.seconds > 0


def test_a_damaged_exam_costs_only_itself(draw: Make, coded: Make, classifier: CallableClassifier) -> None:
    """A stream that does not decode has a reason; its neighbours have answers."""
    good = coded(draw(1))
    bad = good.holding(pack_streams([b"\xff\xd8 no image"]))
    reads = read_batch([prepared(p.meta, p.payload, classifier) for p in (good, bad, good)], classifier)
    assert [read.answer is None for read in reads] == [False, True, False]
    assert "cannot be decoded" in reads[1].reason


def test_an_image_that_breaks_the_classifier_costs_only_itself(draw: Make, coded: Make) -> None:
    """A classifier that raises, or answers NaN, for one image still answers for the others."""
    spec = InputSpec(labels=("a", "b"), size=(8, 8), layout="NHWC")

    def touchy(batch: Any) -> Any:
        if (batch.mean(axis=(1, 2, 3)) > 0.9).any():
            raise RuntimeError("Doe^Jane")
        dark = batch.mean(axis=(1, 2, 3)) < 0.1
        return np.where(dark[:, None], np.nan, [[0.25, 0.75]])

    classifier = CallableClassifier(touchy, spec)
    image = draw(1)
    white, black = (coded(image.with_pixels(np.full_like(image.pixels, v))) for v in (255, 0))
    parcels = [coded(image), white, black, coded(draw(2))]
    reads = read_batch([prepared(p.meta, p.payload, classifier) for p in parcels], classifier)
    assert [read.answer and read.answer.predicted for read in reads] == ["b", None, None, "b"]
    assert reads[1].reason == "the classifier cannot take this image (RuntimeError)"
    assert reads[2].reason == "the classifier gave no probability for this image"


def test_the_servers_coding_is_a_clinics(draw: Make, coded: Make, pristine: Make, profile: Any) -> None:
    """A pristine exam coded by the service has the bytes of a client's upload, and would be accepted."""
    image = draw(3)
    parcel = pristine(image)
    made = code_pristine(parcel.meta, parcel.payload, Point.parse(profile.point), "pair-0001")
    assert made.payload == coded(image, profile.point).payload
    assert (made.meta.pair, made.meta.point, made.meta.client) == ("pair-0001", profile.point, "service")
    assert meta_refusal(made.meta, profile) == ""
    assert payload_refusal(made.meta, made.payload, profile) == ""
