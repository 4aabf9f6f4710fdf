"""Identity: canonical JSON and digests, the ground of resume keys and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
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


def columns_digest(columns: Iterable[tuple[str, Iterable[str]]]) -> str:
    """SHA-256 as of :func:`digest` of a mapping from names to lists, each given in pieces, one after another.

    So that the text of a long table never stands in memory as a whole.

    Parameters
    ----------
    columns : iterable of tuple
        Names in ascending order, and the pieces of each one's list: the canonical JSON of its items, with
        commas between them.

    Examples
    --------
    >>> columns_digest([("a", ["1,2", "3"]), ("b", [])]) == digest({"a": [1, 2, 3], "b": []})
    True
    """
    state = hashlib.sha256(b"{")
    for number, (name, pieces) in enumerate(columns):
        state.update(b"," * bool(number) + _canonical_bytes(name) + b":[")
        filled = (piece for piece in pieces if piece)
        for place, piece in enumerate(filled):
            state.update(b"," * bool(place) + piece.encode("utf-8", "surrogatepass"))
        state.update(b"]")
    state.update(b"}")
    return state.hexdigest()


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
