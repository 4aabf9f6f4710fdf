"""DICOM node of the clinic: receives objects by C-STORE from modalities and archives into the queue.

Success is returned only after the coded exam has reached the disk; from then on delivery is guaranteed.
Statuses are those of PS3.4, table B.2-1:

| status | meaning |
| --- | --- |
| 0000 | in the queue, newly or already |
| A700 | not stored, for instance on a full disk; the sender should retry |
| C000 | unreadable or outside the profile; the reason is in the error comment |
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bitdose.client.sending.intake import Intake, Taken
from bitdose.data.guard import decoding
from bitdose.errors import BitdoseError, CaseError, MissingBackendError, UsageError, argument

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
# Supported transfer syntaxes; no video, no JPIP (PS3.5, section 10).
_SYNTAXES = (
    *(f"1.2.840.10008.1.2{tail}" for tail in (".1", "", ".1.99", ".2", ".5")),
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)),
)
_MOST_ASSOCIATIONS = 8
_COMMENT_SIGNS = 64
_MOST_PDU_BYTES = 1 << 16
_LONGEST_TITLE = 16


@dataclass(frozen=True)
class Node:
    """Address and title of the node.

    Parameters
    ----------
    title : str
        Application entity title, 1 to 16 characters; callers must use it.
    host : str
        Local address to listen at.
    port : int
        TCP port; 0 takes a free one.
    callers : tuple of str
        Allowed calling titles; empty allows all.

    Raises
    ------
    UsageError
        If a title or the port is invalid.
    """

    title: str = "BITDOSE"
    host: str = "127.0.0.1"
    port: int = 11112
    callers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check titles and port (PS3.5 6.2, AE)."""
        for option, title in (
            (argument("title"), self.title),
            *((argument("callers"), one) for one in self.callers),
        ):
            plain = title.isascii() and title.isprintable() and "\\" not in title
            if not (plain and title.strip() and len(title) <= _LONGEST_TITLE):
                raise UsageError(f"{option} {title!r}: expected 1 to {_LONGEST_TITLE} signs, no backslash")
        if not 0 <= self.port < 1 << 16:
            raise UsageError(f"{argument('port', self.port)}: expected 0 to 65535")


@contextmanager
def listening(
    node: Node,
    intake: Intake,
    *,
    on_taken: Callable[[Taken], None] | None = None,
    on_refused: Callable[[str], None] | None = None,
) -> Iterator[int]:
    """Listen for C-STORE and C-ECHO while the block runs; yield the port.

    Parameters
    ----------
    node : Node
        Address and title.
    intake : Intake
        Intake of the objects, one at a time, so that memory is bounded by one exam.
    on_taken, on_refused : callable, optional
        Called for each accepted object, or with the reason of a rejection; called from other threads.

    Raises
    ------
    MissingBackendError
        If pynetdicom is not installed.
    BitdoseError
        If the port is taken.
    """
    library = import_pynetdicom()
    one_at_a_time = threading.Lock()

    def store(event: Any) -> Any:
        try:
            with one_at_a_time:
                taken = _take(event, intake)
        except BitdoseError as error:
            if on_refused is not None:
                on_refused(str(error))
            return _status(
                CANNOT_UNDERSTAND if isinstance(error, CaseError) else OUT_OF_RESOURCES, str(error)
            )
        if on_taken is not None:
            on_taken(taken)
        return SUCCESS

    entity = _entity(library, node)
    try:
        handlers = [(library.evt.EVT_C_STORE, store)]
        server = entity.start_server((node.host, node.port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise BitdoseError(
            f"{argument('port', node.port)}: cannot listen at {node.host} ({error.strerror})"
        ) from error
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        entity.shutdown()


def import_pynetdicom() -> Any:
    """Import pynetdicom; raises ``MissingBackendError`` with the install command if it is missing."""
    try:
        import pynetdicom
    except ImportError as error:
        raise MissingBackendError(
            f"listening needs pynetdicom: pip install 'bitdose[send]' ({error})"
        ) from error
    return pynetdicom


def _entity(library: Any, node: Node) -> Any:
    entity = library.AE(ae_title=node.title)
    for context in library.AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, list(_SYNTAXES))
    entity.add_supported_context("1.2.840.10008.1.1")  # Verification: C-ECHO
    entity.require_called_aet = True
    entity.require_calling_aet = list(node.callers)
    entity.maximum_associations = _MOST_ASSOCIATIONS
    entity.maximum_pdu_size = _MOST_PDU_BYTES
    return entity


def _take(event: Any, intake: Intake) -> Taken:
    with decoding("DICOM"):
        data = event.encoded_dataset()
    return intake.add(data, f"C-STORE from {event.assoc.requestor.ae_title}")


def _status(code: int, comment: str) -> Any:
    from pydicom.dataset import Dataset

    status = Dataset()
    status.Status = code
    status.ErrorComment = comment.encode("ascii", "replace").decode("ascii")[:_COMMENT_SIGNS]
    return status
