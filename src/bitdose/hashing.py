"""Identity: canonical JSON and digests, the ground of resume keys and seeds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """Write a JSON value so that equal values give equal text.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": [1.0, "x"]})
    '{"a":[1.0,"x"],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value's canonical form, as hexadecimal text."""
    return hashlib.sha256(_canonical_bytes(value)).hexdigest()


def bytes_digest(data: bytes) -> str:
    """SHA-256 of bytes, as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in chunks; raises ``OSError`` as the file system does."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()


def rng_for(*names: str | int) -> np.random.Generator:
    """Return a generator seeded by names, so that order and worker count cannot matter.

    Examples
    --------
    >>> a, b = rng_for(7, "bootstrap", "jpeg:q30"), rng_for(7, "bootstrap", "jpeg:q30")
    >>> bool(a.random() == b.random())
    True
    """
    seed = int.from_bytes(hashlib.sha256(_canonical_bytes(list(names))).digest(), "big")
    return np.random.default_rng(seed)


def _canonical_bytes(value: Any) -> bytes:
    """Encode the canonical form; text that is no Unicode, as some file names, still has bytes of its own."""
    return canonical_json(value).encode("utf-8", "surrogatepass")
