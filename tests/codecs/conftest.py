"""Images and builds that the tests of the codecs share."""

from __future__ import annotations

import numpy as np
import pytest

from bitdose.hashing import rng_for
from bitdose.image import Image
from bitdose.testing import textured_image


@pytest.fixture(scope="session")
def texture() -> Image:
    """Give 512x512 grey texture of 8 bits."""
    return textured_image(512, 512, rng=rng_for("tests", "grey"))


@pytest.fixture(scope="session")
def colour_texture() -> Image:
    """Give 256x320 RGB texture of 8 bits."""
    return textured_image(256, 320, rng=rng_for("tests", "colour"), colour=True)


@pytest.fixture(scope="session")
def arithmetic() -> Image:
    """Give 96x128 grey samples by integer arithmetic, the same on every machine: for golden bytes."""
    y, x = np.mgrid[:96, :128]
    return Image(((x * x + 3 * y * y) // 64 + (x ^ y) // 8).astype(np.uint8))
