"""Partial downloads: the received bytes of a file and their origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from bitdose.datasets.arrange import write_whole
from bitdose.hashing import file_digest


class Part:
    """Partial download of one file, with the URL and validators of its bytes."""

    def __init__(self, target: Path, gained: Callable[[int], None]) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self._gained = gained
        self.n_bytes = self.path.stat().st_size if self.path.exists() else 0
        self.joined = self.n_bytes > 0
        gained(self.n_bytes)

    def settle(self, n_bytes: int) -> None:
        """Truncate a part that is longer than the file."""
        if self.n_bytes > n_bytes:
            self.drop()

    def append(self, out: IO[bytes], chunk: bytes) -> None:
        """Append a chunk and count its bytes."""
        out.write(chunk)
        self.n_bytes += len(chunk)
        self._gained(len(chunk))

    def drop(self) -> None:
        """Restart from zero bytes."""
        self.path.unlink(missing_ok=True)
        self._gained(-self.n_bytes)
        self.n_bytes, self.joined = 0, False

    def remember(self, url: str, headers: Mapping[str, str]) -> None:
        """Record the URL and the validators of the received bytes."""
        etag = str(headers.get("ETag", ""))
        strong = (
            etag if etag.startswith('"') else ""
        )  # If-Range requires a strong validator (RFC 9110, 13.1.5)
        note = {"url": url, "validator": strong or str(headers.get("Last-Modified", ""))}
        write_whole(self._note, json.dumps(note).encode())

    def validator(self, url: str) -> str:
        """Return the validator from this URL; empty if it sent none or the bytes came from another URL."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            text = str(note["validator"]) if note["url"] == url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return text if text.isascii() and text.isprintable() else ""

    def set_aside(self) -> None:
        """Set a file with a wrong digest aside under another name."""
        set_file_aside(self.path, self.path.with_suffix(""))
        self._note.unlink(missing_ok=True)
        self._gained(-self.n_bytes)
        self.n_bytes, self.joined = 0, False

    def finish(self, target: Path) -> None:
        """Rename the complete file to its final name."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)


def set_file_aside(path: Path, name: Path | None = None) -> None:
    """Rename a wrong file to ``NAME.wrong``, ``NAME.wrong2``, …; duplicates are deleted."""
    base, number = (name or path), 1
    while (aside := base.with_name(f"{base.name}.wrong{number if number > 1 else ''}")).exists():
        if file_digest(aside) == file_digest(path):
            path.unlink()
            return
        number += 1
    path.rename(aside)
