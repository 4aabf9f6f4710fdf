"""Inspection of one file of a set: existence, readability, properties."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bitdose.data.base import Case
from bitdose.data.read import read_bytes
from bitdose.data.sniff import sniff
from bitdose.datasets.inputs import Watch, file_state
from bitdose.datasets.volume import VolumeLook, look_at_volume
from bitdose.errors import CaseError
from bitdose.hashing import bytes_digest

UNKNOWN = "unknown"
_THREADS = 4


@dataclass(frozen=True)
class FileLook:
    """Properties of one file.

    Parameters
    ----------
    status : str
        ``ok``, or a status of ``read.py``.
    digest : str
        SHA-256 of the file; empty if not read.
    format : str
        Format as named by the reader.
    lossy : bool or None
        Whether its pixels were lossily coded.
    shape : str
        ``HEIGHTxWIDTH``, or a volume's voxels as stored.
    orientation, skull_stripped : str
        For NIfTI volumes only, else empty.
    """

    status: str
    digest: str = ""
    format: str = ""
    lossy: bool | None = None
    shape: str = ""
    orientation: str = ""
    skull_stripped: str = ""


def look_at_all(cases: Sequence[Case], *, quick: bool, watch: Watch | None = None) -> list[FileLook]:
    """Inspect every case's file, several in parallel; return them in order.

    Parameters
    ----------
    cases : sequence of Case
        Cases to inspect.
    quick : bool
        Only check that each file exists and is not empty.
    watch : callable, optional
        Called after each file with the numbers of processed and of all files.
    """
    paths = [case.path for case in cases]
    looks: list[FileLook] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for look in pool.map(_present if quick else look_at_file, paths):
                looks.append(look)
                if watch is not None:
                    watch(len(looks), len(paths))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return looks


def look_at_file(path: Path) -> FileLook:
    """Read and decode a file; any error becomes a status."""
    if file_state(path) == "image file is missing":
        return FileLook("missing-file")
    try:
        data = path.read_bytes()
    except OSError:
        return FileLook("unreadable")
    digest = bytes_digest(data)
    try:
        if sniff(data) == "NIFTI":
            return _volume(digest, look_at_volume(data))
        source = read_bytes(data)
    except CaseError as error:
        return FileLook(error.status, digest)
    image = source.image
    sides = (image.n_slices, image.height, image.width) if image.is_volume else (image.height, image.width)
    return FileLook("ok", digest, source.format, source.lossy, "x".join(map(str, sides)))


def _volume(digest: str, look: VolumeLook) -> FileLook:
    shape = "x".join(map(str, look.shape))
    return FileLook("ok", digest, "NIFTI", False, shape, look.orientation, look.skull_stripped)  # noqa: FBT003


def _present(path: Path) -> FileLook:
    reason = file_state(path)
    status = {"image file is missing": "missing-file", "image file is empty": "empty-file", "": "ok"}
    return FileLook(status.get(reason, "unreadable"))
