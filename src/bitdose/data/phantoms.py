"""Chest-like synthetic phantoms for demos and tests.

A phantom is a drawing. It shows no patient, its classes name the drawn features and are no
diagnoses, and an accuracy on phantoms says nothing about any clinical set. Their purpose is
a study that runs offline in a minute with a non-trivial outcome, because the classes differ
only in details that compression removes first:

- ``clear``: body, lungs, ribs, heart and vessels;
- ``nodules``: the same with a few faint blobs in the lungs;
- ``reticular``: the same with a faint net of fine lines in part of the lungs.

The contrast of the detail is random for each phantom, from plain to hardly visible, so that accuracy
falls gradually along a chain. Equal generators produce equal phantoms with equal versions of
numpy and OpenCV; another build may round a few samples differently by one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import UsageError
from bitdose.hashing import rng_for

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SIZE = 1024
"""Height and width of a phantom, in pixels."""

# Anatomy is smooth and is drawn on the coarse grid; vessels, the finest detail, on the half grid.
_COARSE = SIZE // 4
_FINE = SIZE // 2
_SUBPIXEL_BITS = 4
_INSIDE = 0.8
_NOISE = (0.45, 1.0)


class _Chest(NamedTuple):
    """One synthetic chest: geometry as fractions of the image side, grey in 8-bit steps."""

    body: Plane
    bones: Plane
    lungs: Plane
    hila: tuple[tuple[float, float], tuple[float, float]]


def draw_phantom(label: str, *, rng: np.random.Generator) -> Bytes:
    """Draw one phantom of a class.

    With equal generators the classes share one chest and its noise; the class's detail has a
    generator of its own and lies inside the lungs.

    Parameters
    ----------
    label : {"clear", "nodules", "reticular"}
        Class of the phantom.
    rng : numpy.random.Generator
        Source of geometry, contrast, difficulty and noise; it is advanced.

    Returns
    -------
    numpy.ndarray
        ``(1024, 1024) uint8`` in [0, 255], 0 is black, bone is bright.

    Raises
    ------
    UsageError
        If the label is not in :data:`LABELS`.

    Examples
    --------
    >>> import numpy as np
    >>> draw_phantom("clear", rng=np.random.default_rng(7)).shape
    (1024, 1024)
    """
    sign = _SIGNS.get(label)
    if sign is None:
        raise UsageError(f"unknown phantom label {label!r}: known: {', '.join(_SIGNS)}")
    sign_rng = rng.spawn(1)[0]
    chest = _chest(rng)
    lungs = np.clip(_grow(chest.lungs, _FINE), 0.0, 1.0)
    detail = _vessels(chest.hila, rng) + sign(lungs, sign_rng)
    image = _grow(chest.body, _FINE) + chest.bones + lungs * detail
    return _expose(_grow(image, SIZE), rng)


def write_phantoms(out: Path, *, n_per_class: int, seed: int) -> Path:
    """Write a set of phantoms as PNG files, one folder per class.

    Phantom ``i`` of a class is seeded by ``(seed, label, i)``: a larger set begins with the
    smaller one, and a repeated call writes the same pixels. Existing files of other
    seeds stay.

    Parameters
    ----------
    out : pathlib.Path
        Output folder, created if missing: ``out/<label>/s<seed>-<i>.png``.
    n_per_class : int
        Phantoms per class, 1 or more.
    seed : int
        Seed of the set.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    UsageError
        If ``n_per_class`` is below 1.
    """
    if n_per_class < 1:
        raise UsageError(f"n_per_class: expected 1 or more phantoms per class, got {n_per_class}")
    for label in LABELS:
        (out / label).mkdir(parents=True, exist_ok=True)

    def write(name: tuple[str, int]) -> None:
        label, i = name
        pixels = draw_phantom(label, rng=rng_for(seed, label, i))
        _write_png(out / label / f"s{seed}-{i:04d}.png", pixels)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, [(label, i) for label in LABELS for i in range(n_per_class)]))
    return out


def _write_png(path: Path, pixels: Bytes) -> None:
    import cv2

    # Noise does not repeat: run-length coding takes half the time of zlib's default and is smaller.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    part = path.with_suffix(".part")
    part.write_bytes(cv2.imencode(".png", pixels, options)[1].tobytes())
    part.replace(path)


def _chest(rng: np.random.Generator) -> _Chest:
    """Draw air, body, lungs, heart and spine on the coarse grid, bones on the fine one."""
    centre = 0.5 + rng.uniform(-0.03, 0.03)
    top, bottom = 0.14 + rng.uniform(-0.03, 0.03), 0.80 + rng.uniform(-0.05, 0.05)
    width = rng.uniform(0.145, 0.175)
    gap = width + rng.uniform(0.045, 0.065)
    sides = [(centre - gap, -1.0), (centre + gap, 1.0)]
    outlines = [_lung(x, side, width, top, bottom + rng.uniform(-0.02, 0.02)) for x, side in sides]
    lungs = _soft(outlines, 1.2)
    trunk = _soft([_trunk(centre, gap + width + rng.uniform(0.06, 0.10))], 3.0)
    heart = _soft([_heart(centre, bottom, rng)], 4.0)
    lungs = lungs * (1.0 - 0.95 * heart)
    rows = np.linspace(-1.0, 1.0, _COARSE, dtype=np.float32)[:, None]
    body = 14.0 + trunk * (rng.uniform(150, 172) + rng.uniform(5, 18) * rows)
    body += trunk * (rng.uniform(14, 24) * _soft([_spine(centre)], 5.0) + rng.uniform(8, 16) * heart)
    body += trunk * _tissue(rng)
    body -= lungs * rng.uniform(68, 92)
    bones = _grow(trunk, _FINE) * _ribs(centre, top, bottom, gap + width, rng)
    hilum_y = top + rng.uniform(0.38, 0.46) * (bottom - top)
    hila = ((centre - 0.45 * gap, hilum_y), (centre + 0.45 * gap, hilum_y))
    return _Chest(body.astype(np.float32), bones, lungs, hila)


def _lung(x: float, side: float, width: float, top: float, bottom: float) -> Plane:
    """Outline of a lung field ``(n, 2)``: narrow apex, broad base, domed diaphragm."""
    v = np.linspace(0.0, 1.0, 40)
    spread = np.sin(np.pi * (0.5 * v**0.75)) ** 0.8
    y = top + v * (bottom - top)
    lateral = x + side * width * (1.15 * spread - 0.15)
    medial = x - side * width * (0.35 + 0.45 * spread)
    u = np.linspace(0.0, 1.0, 20)[1:-1]
    dome = bottom - 0.07 * np.sin(np.pi * u) ** 0.8 + 0.03 * (1.0 - u)
    base = lateral[-1] + u * (medial[-1] - lateral[-1])
    xs = np.concatenate([lateral, base, medial[::-1]])
    ys = np.concatenate([y, dome, y[::-1]])
    return np.stack([xs, ys], axis=1).astype(np.float32)


def _trunk(centre: float, half: float) -> Plane:
    """Outline of neck, shoulders and trunk, open at the lower edge."""
    right = [(0.09, -0.1), (0.10, 0.05), (0.6 * half, 0.10), (half, 0.19), (1.08 * half, 0.45), (half, 1.1)]
    left = [(-x, y) for x, y in reversed(right)]
    return np.array([(centre + x, y) for x, y in right + left], np.float32)


def _heart(centre: float, bottom: float, rng: np.random.Generator) -> Plane:
    """Outline of the heart: a tilted ellipse, more on the image's right."""
    angle = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    long, short = rng.uniform(0.16, 0.20), rng.uniform(0.11, 0.14)
    tilt = rng.uniform(0.5, 0.8)
    x, y = long * np.cos(angle), short * np.sin(angle)
    shift = rng.uniform(0.03, 0.06)
    xs = centre + shift + x * np.cos(tilt) - y * np.sin(tilt)
    ys = bottom - 0.13 + x * np.sin(tilt) + y * np.cos(tilt)
    return np.stack([xs, ys], axis=1).astype(np.float32)


def _spine(centre: float) -> Plane:
    """Outline of the spine and the upper mediastinum."""
    half = 0.045
    return np.array(
        [(centre - half, -0.1), (centre + half, -0.1), (centre + half, 1.1), (centre - half, 1.1)], np.float32
    )


def _tissue(rng: np.random.Generator) -> Plane:
    """Draw smooth unevenness of soft tissue, a few grey steps."""
    knots = rng.standard_normal((9, 9), dtype=np.float32) * np.float32(rng.uniform(2.0, 5.0))
    return _grow(knots, _COARSE)


def _ribs(centre: float, top: float, bottom: float, reach: float, rng: np.random.Generator) -> Plane:
    """Paint ribs and collar bones as bands with a brighter rim; grey steps on the half grid."""
    u = np.linspace(0.0, 1.0, 24)
    n_ribs = int(rng.integers(8, 10))
    steep, tilt = rng.uniform(0.8, 1.2), rng.uniform(-0.03, 0.02)
    bands = []
    for side in (-1.0, 1.0):
        xs = centre + side * reach * (0.08 + 0.95 * np.sin(0.5 * np.pi * u))
        for k in range(n_ribs):
            arch = -0.05 * np.sin(np.pi * 0.8 * u) + (0.03 + 0.012 * k) * u**2
            bands.append(np.stack([xs, top - 0.03 + (bottom - top) * k / n_ribs + steep * arch], 1))
        collar = top + 0.06 - 0.04 * u + tilt * np.sin(2.0 * np.pi * u)
        bands.append(np.stack([centre + side * (0.05 + reach * u), collar], 1))
    return np.float32(rng.uniform(14, 24)) * _bands(bands, int(rng.integers(10, 15)))


def _bands(lines: list[NDArray[np.float64]], thickness: int) -> Plane:
    """Paint lines as bands whose rim is brighter than their middle; ``(512, 512)`` in [0, 1]."""
    import cv2

    canvas = np.zeros((_FINE, _FINE), np.uint8)
    for grey, width in ((255, thickness), (150, thickness - 4)):
        for line in lines:
            points = _fixed(line, _FINE)
            cv2.polylines(
                canvas,
                [points],
                isClosed=False,
                color=grey,
                thickness=width,
                lineType=cv2.LINE_AA,
                shift=_SUBPIXEL_BITS,
            )
    return _blur(canvas.astype(np.float32) / np.float32(255.0), 0.8)


def _vessels(hila: tuple[tuple[float, float], ...], rng: np.random.Generator) -> Plane:
    """Paint branches that wander out from each hilum and thin out; 0 to about 22 grey steps."""
    import cv2

    canvas = np.zeros((_FINE, _FINE), np.uint8)
    for (x, y), side in zip(hila, (-1.0, 1.0), strict=True):
        for start in np.linspace(-1.25, 1.25, 8) + rng.uniform(-0.15, 0.15, 8):
            turns = start + np.cumsum(rng.normal(0.0, 0.18, 10))
            steps = rng.uniform(0.022, 0.032)
            xs = x + side * steps * np.cumsum(np.cos(turns))
            ys = y + steps * np.cumsum(np.sin(turns))
            points = _fixed(np.stack([xs, ys], 1), _FINE)
            for k in range(len(points) - 1):
                thick, grey = max(1, 5 - k // 2), 220 - 18 * k
                a, b = points[k].tolist(), points[k + 1].tolist()
                cv2.line(canvas, a, b, grey, thick, cv2.LINE_AA, _SUBPIXEL_BITS)
    return _blur(canvas.astype(np.float32), 1.2) * np.float32(rng.uniform(16, 24) / 255.0)


def _clear(lungs: Plane, _rng: np.random.Generator) -> Plane:
    """Add nothing beyond the vessels."""
    return np.zeros_like(lungs)


def _nodules(lungs: Plane, rng: np.random.Generator) -> Plane:
    """Paint three to eight faint blobs, 10 to 17 pixels of the full grid across at half height."""
    field = np.zeros_like(lungs)
    ys, xs = np.nonzero(lungs > _INSIDE)
    strength = _difficulty(rng, 8.0, 28.0)
    for pick in rng.integers(0, len(xs), int(rng.integers(3, 9))):
        sigma = rng.uniform(2.2, 3.6)
        reach = int(4 * sigma)
        y, x = int(ys[pick]), int(xs[pick])
        rows, columns = np.ogrid[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
        rows, columns = rows[rows[:, 0] < _FINE], columns[:, columns[0] < _FINE]
        blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2.0 * sigma**2))
        field[rows, columns] += np.float32(strength * rng.uniform(0.8, 1.2)) * blob.astype(np.float32)
    return field


def _reticular(_lungs: Plane, rng: np.random.Generator) -> Plane:
    """Paint a net of fine closed lines: the zero crossings of smooth noise, stronger in patches."""
    noise = rng.standard_normal((_COARSE, _COARSE), dtype=np.float32)
    smooth = _blur(noise, rng.uniform(1.8, 2.4))
    net = np.exp(-((_grow(smooth / smooth.std(), _FINE) / np.float32(0.28)) ** 2))
    knots = _blur(rng.standard_normal((32, 32), dtype=np.float32), 4.0)
    weight = 1.0 / (1.0 + np.exp(-2.0 * _grow(knots / knots.std(), _FINE)))
    strength = np.float32(_difficulty(rng, 4.5, 17.0))
    return np.asarray(strength * weight * (net - np.float32(0.3)))


_SIGNS: dict[str, Callable[[Plane, np.random.Generator], Plane]] = {
    "clear": _clear,
    "nodules": _nodules,
    "reticular": _reticular,
}
LABELS: tuple[str, ...] = tuple(_SIGNS)
"""The phantom classes, in the order of the shipped classifier's outputs."""


def _difficulty(rng: np.random.Generator, faint: float, plain: float) -> float:
    """Draw a contrast in grey steps, log-uniform between hardly visible and plain."""
    return float(np.exp(rng.uniform(np.log(faint), np.log(plain))))


def _expose(image: Plane, rng: np.random.Generator) -> Bytes:
    """Vary contrast and brightness, add quantum noise (stronger where dark) and film grain."""
    import cv2

    gain, shift = rng.uniform(0.88, 1.10), 110.0 + rng.uniform(-10, 10)
    image = (image - np.float32(110.0)) * np.float32(gain) + np.float32(shift)
    amount = _difficulty(rng, *_NOISE)
    quantum = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    quantum *= np.float32(1.5 * amount) * (np.float32(1.25) - image * np.float32(0.5 / 255.0))
    image += quantum + _grow(np.float32(amount) * _grain(rng), SIZE)
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0.0)))


def _grain(rng: np.random.Generator) -> Plane:
    """Draw film grain on the half grid: noise of several sizes, as tissue and screen give it."""
    grain = np.zeros((_FINE, _FINE), np.float32)
    for side, deviation in ((_COARSE // 2, 1.3), (_COARSE, 1.3), (_FINE, 1.0)):
        layer = rng.standard_normal((side, side), dtype=np.float32) * np.float32(deviation)
        grain += layer if side == _FINE else _grow(layer, _FINE)
    return grain


def _soft(outlines: list[Plane], sigma: float) -> Plane:
    """Fill outlines on the coarse grid and blur their edge; ``(256, 256) float32`` in [0, 1]."""
    import cv2

    canvas = np.zeros((_COARSE, _COARSE), np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [_fixed(outline, _COARSE)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return _blur(canvas.astype(np.float32) / 255.0, sigma)


def _grow(plane: Plane, side: int) -> Plane:
    """Enlarge to ``(side, side)`` by cubic interpolation."""
    import cv2

    return cast("Plane", cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC))


def _blur(plane: Plane, sigma: float) -> Plane:
    """Blur with a Gaussian of ``sigma`` samples."""
    import cv2

    return cast("Plane", cv2.GaussianBlur(plane, (0, 0), sigma))


def _fixed(points: NDArray[np.floating], side: int) -> NDArray[np.int32]:
    """Convert points ``(n, 2)``, as fractions of the side, to OpenCV's fixed-point pixels."""
    return np.round(points * (side << _SUBPIXEL_BITS)).astype(np.int32)
