"""Conversion of cases to integer samples for the network's input, optionally coded.

A sample is a ``(C, H, W)`` or ``(C, L, H, W)`` integer array at the network's size, exactly as
computed by ``models.prepare`` in a study, before range, mean and standard deviation. C is 1
where all three channels would be equal. Samples are cached in memory up to a budget; a coded
sample is computed each time, from the source at full size.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitdose.codecs.coding import decode_streams, encode_point
from bitdose.codecs.point import Point
from bitdose.data.base import Case
from bitdose.data.read import read_case
from bitdose.errors import CaseError
from bitdose.hashing import rng_for
from bitdose.image import Image, container
from bitdose.models.base import InputSpec
from bitdose.models.prepare import prepare
from bitdose.training.recipe import Recipe

Integers = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Sample:
    """One case, prepared for a batch.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(C, H, W)`` or ``(C, L, H, W)`` uint8 or uint16.
    max_value : int
        Sample value of white.
    label : int
        Index of the label.
    """

    pixels: Any
    max_value: int
    label: int


class SampleReader:
    """Thread-safe reader of samples.

    Parameters
    ----------
    spec : InputSpec
        Input specification of the network.
    recipe : Recipe
        Recipe with colour mode, points and seed.
    cache_bytes : int
        Cache size for pristine samples, in bytes.
    """

    def __init__(self, spec: InputSpec, recipe: Recipe, *, cache_bytes: int) -> None:
        self.spec = spec
        self._index: Mapping[str, int] = {label: index for index, label in enumerate(spec.labels)}
        self._recipe = recipe
        self._points = recipe.coding_points()
        self._kept: dict[str, Sample] = {}
        self._room = cache_bytes
        self._lock = threading.Lock()

    def pristine(self, case: Case) -> Sample:
        """Return a pristine case.

        Raises
        ------
        CaseError
            If it cannot be read, or does not fit the network's input.
        """
        kept = self._kept.get(case.id)
        return kept if kept is not None else self._keep(case, self._sample(case, None))

    def training(self, case: Case, epoch: int) -> Sample:
        """Return a case for an epoch of training: coded at a random point, or pristine.

        The choice depends on seed, case and epoch only.
        """
        if not self._points:
            return self.pristine(case)
        rng = rng_for("codec-augment", self._recipe.seed, case.id, epoch)
        if rng.random() >= self._recipe.codec_share:
            return self.pristine(case)
        try:
            return self._sample(case, self._points[int(rng.integers(len(self._points)))])
        except CaseError:  # a case that this codec cannot code is used pristine
            return self.pristine(case)

    def _keep(self, case: Case, sample: Sample) -> Sample:
        with self._lock:
            if sample.pixels.nbytes <= self._room and case.id not in self._kept:
                self._kept[case.id] = sample
                self._room -= sample.pixels.nbytes
        return sample

    def _sample(self, case: Case, point: Point | None) -> Sample:
        image = read_case(case, color=self._recipe.color).image
        if point is not None:
            image = decode_streams(image, point, encode_point(image, point)).image
        pixels = integer_input(image, self.spec)
        return Sample(pixels, image.max_value, self._index[case.label])


def integer_input(image: Image, spec: InputSpec) -> Integers:
    """Return the output of ``prepare`` for an image as integers, channels first.

    The resize gives integers and the range is [0, 1], so multiplying by the largest sample
    brings them back exactly.
    """
    values = prepare(image, _integer_spec(spec))
    pixels = np.rint(values * np.float32(image.max_value)).astype(container(image.bits))
    alike = len(pixels) > 1 and all(np.array_equal(pixels[0], plane) for plane in pixels[1:])
    return np.ascontiguousarray(pixels[:1] if alike else pixels)


def _integer_spec(spec: InputSpec) -> InputSpec:
    layout = "NCDHW" if spec.takes_volumes else "NCHW"
    return replace(spec, layout=layout, range=(0.0, 1.0), mean=(0.0,), std=(1.0,))
