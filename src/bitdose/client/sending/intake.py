"""Intake of a file: read, coded at the profile's point, and queued on disk before it is acknowledged.

For a random share of the exams, selected by the file's digest, the pristine image is queued as well: the
sentinel's half of a pair, sent with the lowest priority.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bitdose.client.deidentify.pseudonyms import Pseudonyms
from bitdose.client.sending.outbox import Outbox
from bitdose.client.sending.prepare import coded_exam, open_exam, pristine_exam
from bitdose.data.folder import image_files, plain_text
from bitdose.errors import BitdoseError, CaseError, UsageError, argument
from bitdose.profile.document import Profile
from bitdose.wire import ExamMeta

_PAIR_BYTES = 8
_SHARE_DIGITS = 13  # 52 bits, exact in a float
_LARGEST_FILE_BYTES = 1 << 31
_LARGEST_WARM_BYTES = 1 << 24  # a second read costs less than the loading of libraries


@dataclass(frozen=True)
class Taken:
    """Outcome of the intake of a file.

    Parameters
    ----------
    source : str
        Name of the file.
    meta : ExamMeta
        Metadata to send.
    is_new : bool
        False if it was already in the queue.
    has_pair : bool
        Whether the pristine image is queued as well.
    warnings : tuple of str
        Signs of burnt-in text; the reason of a missing pristine half.
    """

    source: str
    meta: ExamMeta
    is_new: bool
    has_pair: bool
    warnings: tuple[str, ...]


class Intake:
    """Intake of files for one service.

    Parameters
    ----------
    outbox : Outbox
        The queue.
    pseudonyms : Pseudonyms
        Pseudonyms of the patients.
    profile : Profile
        Profile with the point and its limits.
    server : str
        Address of the service.
    sentinel_share : float
        Share of the exams whose pristine image is queued as well, 0 to 1.
    """

    def __init__(
        self,
        outbox: Outbox,
        pseudonyms: Pseudonyms,
        profile: Profile,
        *,
        server: str,
        sentinel_share: float = 0.0,
    ) -> None:
        self._outbox, self._pseudonyms, self._profile = outbox, pseudonyms, profile
        self._server, self._share = server, sentinel_share

    def add_file(self, path: Path) -> Taken:
        """Queue a file; raises ``CaseError`` if it cannot be read or sent, ``BitdoseError`` if not stored."""
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST_FILE_BYTES:
                raise CaseError("unsupported", "not a regular file of at most 2 GiB")
            data = path.read_bytes()
        except OSError as error:
            raise CaseError("unreadable", f"the file cannot be opened ({type(error).__name__})") from None
        return self.add(data, plain_text(path.name))

    def add(self, data: bytes, source: str) -> Taken:
        """Queue the bytes of a file, like :meth:`add_file`."""
        opened = open_exam(data)
        identity = self._pseudonyms.identity(opened.patient)
        pair = secrets.token_hex(_PAIR_BYTES) if is_drawn(opened.source.digest, self._share) else None
        exams = [coded_exam(opened, self._profile, pseudonym=identity.pseudonym, pair=pair)]
        warnings = list(opened.signs)
        if pair:
            try:
                exams.append(pristine_exam(opened, identity=identity, profile=self._profile.id, pair=pair))
            except CaseError as error:
                exams = [exams[0].alone()]
                warnings.append(f"no pristine half for the sentinel: {error}")
        where = {"server": self._server, "source": source, "source_digest": opened.source.digest}
        is_new = self._outbox.add_all(exams, **where)
        return Taken(source, exams[0].meta, is_new, len(exams) > 1, tuple(warnings))


def warm(paths: Sequence[Path]) -> None:
    """Read the first of some files to load libraries while the link is busy."""
    if not paths:
        return
    with suppress(BitdoseError, OSError):
        if paths[0].stat().st_size <= _LARGEST_WARM_BYTES:
            open_exam(paths[0].read_bytes())


def is_drawn(source_digest: str, share: float) -> bool:
    """Whether a file is in the sentinel's share; deterministic per file.

    Examples
    --------
    >>> is_drawn("00" * 32, 0.01), is_drawn("ff" * 32, 0.99), is_drawn("00" * 32, 0.0)
    (True, False, False)
    """
    return bool(int(source_digest[:_SHARE_DIGITS], 16) / 16**_SHARE_DIGITS < share)


def files_of(places: list[Path]) -> list[Path]:
    """List the files of files and folders, in order; raises ``UsageError`` for a missing one."""
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            found.extend(image_files(place))
        elif place.exists():
            found.append(place)
        else:
            raise UsageError(f"{argument('places', place)}: expected a file or folder, found nothing there")
    return found


class Watched:
    """Watched folder, whose files are queued once they no longer grow.

    Parameters
    ----------
    folder : pathlib.Path
        Existing folder.
    outbox : Outbox
        Queue, which records processed files across restarts.
    """

    def __init__(self, folder: Path, outbox: Outbox) -> None:
        if not folder.is_dir():
            raise UsageError(f"{argument('watch')}: expected a folder, got {folder}")
        self._folder, self._outbox = folder, outbox
        self._before: dict[Path, str] = {}

    def settled(self) -> list[Path]:
        """Return the new files that have not changed since the previous call."""
        try:
            now = {path: _mark(path) for path in image_files(self._folder)}
        except OSError as error:
            raise BitdoseError(
                f"{argument('watch', self._folder)}: cannot be read ({error.strerror})"
            ) from error
        ready = [path for path, mark in now.items() if mark and self._before.get(path) == mark]
        self._before = now
        return [path for path in ready if not self._outbox.is_seen(self._name(path), now[path])]

    def done(self, path: Path) -> None:
        """Mark a file as processed, successfully or not, until it changes."""
        self._outbox.note_seen(self._name(path), self._before[path])

    def _name(self, path: Path) -> str:
        return plain_text(str(path.resolve()))


def _mark(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size} {state.st_mtime_ns}" if state.st_size else ""
