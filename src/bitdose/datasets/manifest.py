"""Manifests: the files of a set, their locations, sizes and digests.

A JSON object:

| key | meaning |
| --- | --- |
| ``name`` | the set's name; also the folder it goes to |
| ``licence`` | text, or a list of texts: shown before the download |
| ``source``, ``citation`` | the same, optional |
| ``bases`` | optional: word to one URL template or a list of them, with ``{path}`` or ``{name}`` |
| ``files`` | a list of ``{path, url, bytes, sha256}`` and optionally ``case`` |

``url`` is a URL, a list of URLs of the same bytes, or ``word:path`` with a base. Only
``http`` and ``https`` are accepted. ``path`` is the file's path in the folder: relative,
with ``/``, nothing hidden. ``case`` (label, and optionally patient, split and further
columns) makes the file a row of ``cases.csv``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from bitdose.data.base import Scalar
from bitdose.errors import UsageError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_RESERVED = frozenset({"cases.csv", "provenance.json"})
_OWN_SUFFIXES = (".part", ".part.json", ".wrong")
_MAX_PATH_CHARS = 240
_MAX_BYTES = 1 << 42


@dataclass(frozen=True)
class RemoteFile:
    """One file of a manifest.

    Parameters
    ----------
    number : int
        Position in the manifest, from 1; used in messages instead of a name.
    path : str
        Relative, with ``/``.
    urls : tuple of str
        URLs of the same bytes, tried in order.
    n_bytes : int
        Its size.
    sha256 : str
        Lower-case hexadecimal.
    case : mapping of str to scalar, optional
        Label, patient, split and further columns, where the file is a case.
    """

    number: int
    path: str
    urls: tuple[str, ...]
    n_bytes: int
    sha256: str
    case: Mapping[str, Scalar] | None = None


@dataclass(frozen=True)
class Manifest:
    """A downloadable set, with the texts to show before the download."""

    name: str
    licence: tuple[str, ...]
    source: tuple[str, ...]
    citation: tuple[str, ...]
    files: tuple[RemoteFile, ...]

    @property
    def n_bytes(self) -> int:
        """Total size of the files in bytes."""
        return sum(file.n_bytes for file in self.files)


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse and validate an untrusted manifest.

    Parameters
    ----------
    data : bytes
        The JSON text.
    where : str
        Name of the manifest in messages.

    Raises
    ------
    UsageError
        If it does not have the form at the top of this module. The message names the key, and the
        file by its number.

    Examples
    --------
    >>> parse_manifest(b'{"name": "x", "licence": "CC0", "files": []}', "m.json")
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: manifest m.json: files: expected a list with at least one file
    """
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UsageError(f"manifest {where}: expected JSON in UTF-8, got something else") from None
    try:
        return _manifest(document)
    except _WrongError as error:
        raise UsageError(f"manifest {where}: {error}") from None


class _WrongError(ValueError):
    """Error in a manifest, without its name."""


def _manifest(document: Any) -> Manifest:
    if not isinstance(document, dict):
        raise _WrongError("expected a JSON object")
    name = document.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _WrongError("name: expected letters, digits, '.', '_' and '-', at most 64")
    licence = _texts(document, "licence")
    if not licence:
        raise _WrongError("licence: expected what the files may be used for, got nothing")
    entries = document.get("files")
    if not isinstance(entries, list) or not entries:
        raise _WrongError("files: expected a list with at least one file")
    bases = _bases(document.get("bases", {}))
    files = tuple(_file(number, entry, bases) for number, entry in enumerate(entries, 1))
    _check_distinct(files)
    return Manifest(name, licence, _texts(document, "source"), _texts(document, "citation"), files)


def _texts(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = document.get(key, [])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _WrongError(f"{key}: expected a text or a list of texts")
    return tuple(" ".join(text.split()) for text in texts if text.strip())


def _bases(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        raise _WrongError("bases: expected an object of URL templates")
    return {word: _texts_of(word, templates) for word, templates in value.items()}


def _texts_of(word: str, templates: Any) -> list[str]:
    found = [templates] if isinstance(templates, str) else templates
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise _WrongError(f"bases: {word}: expected a URL template or a list of them")
    return found


def _file(number: int, entry: Any, bases: Mapping[str, list[str]]) -> RemoteFile:
    if not isinstance(entry, dict):
        raise _WrongError(f"file {number}: expected an object with path, url, bytes and sha256")
    n_bytes, sha256 = entry.get("bytes"), entry.get("sha256")
    if not isinstance(n_bytes, int) or isinstance(n_bytes, bool) or not 0 < n_bytes <= _MAX_BYTES:
        raise _WrongError(f"file {number}: bytes: expected a size of 1 byte to 4 TiB")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.lower()):
        raise _WrongError(f"file {number}: sha256: expected 64 hexadecimal digits")
    path = entry.get("path")
    if not isinstance(path, str) or not is_safe_path(path):
        raise _WrongError(f"file {number}: path: expected a plain relative path that stays inside the folder")
    urls = _urls(entry.get("url"), bases)
    if not urls:
        raise _WrongError(f"file {number}: url: expected http:// or https://, or word:path of a base")
    return RemoteFile(number, path, urls, n_bytes, sha256.lower(), _case_of(number, entry.get("case")))


def is_safe_path(path: str) -> bool:
    """Whether a path stays inside the folder on every system and is not a reserved name.

    Examples
    --------
    >>> [is_safe_path(p) for p in ("a/b.png", "../b", "/b", "a//b", "C:b", ".ssh/b", "cases.csv", "a/nul")]
    [True, False, False, False, False, False, False, False]
    """
    if not path.isprintable() or _FORBIDDEN.search(path) or len(path) > _MAX_PATH_CHARS:
        return False
    parts = path.split("/")
    plain = all(
        part and not part.startswith(".") and not part.endswith((".", " ")) and not _DEVICES.fullmatch(part)
        for part in parts
    )
    own = path.lower() in _RESERVED or path.lower().endswith(_OWN_SUFFIXES)
    return plain and not own and str(PurePosixPath(path)) == path


def is_web_url(url: str) -> bool:
    """Tell whether a URL is one that is fetched: ``http`` or ``https``, with a host.

    Examples
    --------
    >>> is_web_url("https://example.org/a"), is_web_url("file:///etc/passwd")
    (True, False)
    """
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _urls(value: Any, bases: Mapping[str, list[str]]) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return ()
    urls = [url for text in texts for url in _expanded(text, bases)]
    sound = all(is_web_url(url) and url.isascii() and url.isprintable() and " " not in url for url in urls)
    return tuple(urls) if sound else ()


def _expanded(text: str, bases: Mapping[str, list[str]]) -> list[str]:
    word, _, path = text.partition(":")
    if word not in bases:
        return [text]
    name = path.rpartition("/")[2]
    return [
        template.replace("{path}", quote(path)).replace("{name}", quote(name)) for template in bases[word]
    ]


def _case_of(number: int, value: Any) -> dict[str, Scalar] | None:
    if value is None:
        return None
    plain = isinstance(value, dict) and all(
        isinstance(cell, str | int | float | bool | None) for cell in value.values()
    )
    if not plain or not isinstance(value.get("label"), str) or not value["label"].strip():
        raise _WrongError(f"file {number}: case: expected an object of texts and numbers with a label")
    if {"path", "id"} & set(value):
        raise _WrongError(f"file {number}: case: path and id are the file's own; leave them out")
    return dict(value)


def _check_distinct(files: tuple[RemoteFile, ...]) -> None:
    """Reject duplicate paths, ignoring case, and a file below another file."""
    seen: dict[str, int] = {}
    for file in files:
        key = file.path.lower()
        if key in seen:
            raise _WrongError(f"file {file.number}: path: the same as that of file {seen[key]}")
        seen[key] = file.number
    for file in files:
        for parent in PurePosixPath(file.path.lower()).parents:
            if str(parent) in seen:
                other = seen[str(parent)]
                raise _WrongError(f"file {file.number}: path: lies below file {other}, which is no folder")
