"""What samples promise: the integers of a study's input, coded for real, read once where memory allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bitdose.codecs.coding import decode_streams, encode_point
from bitdose.codecs.point import Point
from bitdose.data.load import load_cases
from bitdose.data.read import read_source
from bitdose.image import Image
from bitdose.models.base import InputSpec
from bitdose.models.prepare import prepare
from bitdose.training.device import Device
from bitdose.training.recipe import Recipe
from bitdose.training.samples import Sample, SampleReader, integer_input

from .conftest import LABELS

SPEC = InputSpec(labels=LABELS, size=(24, 24))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3), (3, 40, 30)])
def test_integers_stand_for_the_studys_input(bits: int, channels: int, shape: tuple[int, ...]) -> None:
    """A batch on the device equals ``prepare`` to the bit: depth, colour, volumes, mean and deviation."""
    rng = np.random.default_rng(bits)
    volume = shape[0] == 3
    kind = np.uint8 if bits == 8 else np.uint16
    photometric = "RGB" if shape[-1] == 3 else "MONOCHROME2"
    image = Image(rng.integers(0, 2**bits, shape).astype(kind), bits, photometric)
    spec = InputSpec(
        labels=("a", "b"), size=(24, 20), channels=channels, layout="NCDHW" if volume else "NCHW"
    )
    pixels = integer_input(image, spec)
    assert pixels.dtype == kind
    assert len(pixels) == (3 if len(shape) == 3 and not volume and channels == 3 else 1)
    batch = Device("cpu").batch([Sample(pixels, image.max_value, 0)], channels)
    np.testing.assert_array_equal(batch[0].numpy(), prepare(image, spec))


def test_mean_and_deviation_come_on_the_device() -> None:
    """Range, mean and standard deviation of the network give what ``prepare`` gives."""
    image = Image(np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8))
    spec = InputSpec(
        labels=("a", "b"), size=(24, 24), channels=3, range=(-1.0, 1.0), mean=(0.1, 0.2, 0.3), std=(0.5,)
    )
    device = Device("cpu")
    batch = device.batch([Sample(integer_input(image, spec), 255, 0)], 3)
    np.testing.assert_allclose(device.normalised(batch, spec)[0].numpy(), prepare(image, spec), atol=1e-6)


def test_grey_and_colour_and_depths_share_a_batch() -> None:
    """A grey 8-bit, a colour and a 16-bit sample stack, each scaled by its own white."""
    grey = Sample(np.full((1, 4, 4), 255, np.uint8), 255, 0)
    colour = Sample(np.stack([np.full((4, 4), v, np.uint8) for v in (0, 51, 255)]), 255, 1)
    deep = Sample(np.full((1, 4, 4), 65535, np.uint16), 65535, 0)
    batch = Device("cpu").batch([grey, colour, deep], 3)
    assert batch.shape == (3, 3, 4, 4)
    assert batch[0].unique().tolist() == batch[2].unique().tolist() == [1.0]
    assert batch[1, :, 0, 0].tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_codec_augmentation_codes_for_real_and_at_the_share_asked(table: Path) -> None:
    """Each drawn sample is the source coded and decoded at one of the points; the rest are pristine."""
    texts = ("jpeg:q5", "jpeg2000:20x", "jpeg:q20@16")
    recipe = Recipe("x", codec_augment=texts, codec_share=0.6, size=24)
    reader = SampleReader(SPEC, recipe, cache_bytes=2**20)
    counts: dict[str, int] = dict.fromkeys((*texts, "pristine"), 0)
    for case in load_cases(table, split="train").cases[:12]:
        image = read_source(case.path).image
        made = {"pristine": integer_input(image, SPEC)}
        for text in texts:
            point = Point.parse(text)
            coded = decode_streams(image, point, encode_point(image, point)).image
            made[text] = integer_input(coded, SPEC)
        for epoch in range(1, 21):
            sample = reader.training(case, epoch)
            matches = [name for name, pixels in made.items() if np.array_equal(pixels, sample.pixels)]
            assert len(matches) == 1
            counts[matches[0]] += 1
    assert 0.5 < 1 - counts["pristine"] / 240 < 0.7
    assert min(counts[text] for text in texts) > 25


def test_what_is_drawn_follows_from_seed_case_and_epoch(table: Path) -> None:
    """Another reader draws the same, in any order of cases; another seed or epoch draws otherwise."""
    cases = load_cases(table, split="train").cases
    recipe = Recipe("x", codec_augment=("jpeg:q5", "jpeg:q50"), size=24)

    def drawn(seed: int, epoch: int, *, backwards: bool = False) -> dict[str, bytes]:
        chosen = Recipe(**{**recipe.to_dict(), "seed": seed})
        reader = SampleReader(SPEC, chosen, cache_bytes=0)
        order = reversed(cases) if backwards else cases
        return {case.id: reader.training(case, epoch).pixels.tobytes() for case in order}

    assert drawn(0, 1) == drawn(0, 1, backwards=True)
    assert drawn(0, 1) != drawn(1, 1)
    assert drawn(0, 1) != drawn(0, 2)


def test_memory_keeps_no_more_than_its_budget(table: Path) -> None:
    """Samples are kept up to the budget in bytes; without one each is read again."""
    cases = load_cases(table, split="train").cases[:4]
    for budget, kept in ((0, 0), (2 * 24 * 24, 2), (2**20, 4)):
        reader = SampleReader(SPEC, Recipe("x", size=24), cache_bytes=budget)
        first = [reader.pristine(case) for case in cases]
        again = [reader.pristine(case) for case in cases]
        assert sum(a is b for a, b in zip(first, again, strict=True)) == kept
