"""Files that are either the old version or the new one, never half of it."""

from __future__ import annotations

import secrets
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> Path:
    """Write bytes beside their place, then move them there; return the path.

    Raises
    ------
    OSError
        As the file system does; the old file then stands as it was and nothing is left over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half_done = path.with_name(f".tmp-{secrets.token_hex(6)}-{path.name}")
    try:
        half_done.write_bytes(data)
        half_done.replace(path)
    except BaseException:
        half_done.unlink(missing_ok=True)
        raise
    return path
