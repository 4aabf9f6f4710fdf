"""Push of DICOM objects to an archive, optionally coded at a point and de-identified."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bitdose.client.deidentify.dataset import deidentify
from bitdose.client.deidentify.pseudonyms import Pseudonyms, patient_of
from bitdose.client.dicom_node.stow import store
from bitdose.client.sending.connection import LaterError
from bitdose.codecs.point import Point
from bitdose.compress.apply import Check
from bitdose.compress.dicom import Uids, compress_dicom
from bitdose.data.dicom import parse_dicom
from bitdose.data.guard import decoding
from bitdose.data.sniff import sniff
from bitdose.errors import CaseError
from bitdose.hashing import bytes_digest

if TYPE_CHECKING:
    import httpx

_TRIES = 5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0


class Pusher:
    """Push of the objects of one run.

    Parameters
    ----------
    client : httpx.Client
        Client of the archive's DICOMweb root.
    point : Point, optional
        Operating point; None leaves the pixels unchanged.
    check : callable, optional
        Called with the object's ``SourceFacts``; raises ``CaseError`` to reject it.
    pseudonyms : Pseudonyms, optional
        Pseudonyms for the de-identification; None keeps the patient.
    """

    def __init__(
        self,
        client: httpx.Client,
        *,
        point: Point | None = None,
        check: Check | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._client, self._point, self._check, self._pseudonyms = client, point, check, pseudonyms
        self._uids = Uids()

    def push(self, path: Path) -> tuple[int, int]:
        """Push one file; return its size and the number of pushed bytes.

        Raises
        ------
        CaseError
            If it is not a supported DICOM object.
        BitdoseError
            If the archive rejects it, or is unreachable for too long.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CaseError("unreadable", f"the file cannot be opened ({type(error).__name__})") from None
        if sniff(data) != "DICOM":
            raise CaseError("unsupported", "STOW-RS stores DICOM objects only")
        ready = self.make_ready(data)
        self._store(ready)
        return len(data), len(ready)

    def make_ready(self, data: bytes) -> bytes:
        """Return the object to push: first de-identified, then coded."""
        made = data
        if self._pseudonyms is not None:
            with decoding("DICOM"):
                patient = patient_of(parse_dicom(data), bytes_digest(data))
            made = deidentify(data, self._pseudonyms.identity(patient))
        if self._point is None:
            return made
        options = {"uids": self._uids, "now": datetime.now(UTC), "check": self._check}
        return compress_dicom(made, self._point, **options).data  # type: ignore[arg-type]

    def _store(self, data: bytes) -> None:
        for turn in range(_TRIES):
            try:
                store(self._client, data)
            except LaterError as error:
                if turn == _TRIES - 1:
                    raise
                longest = min(_FIRST_WAIT_S * 2.0**turn, _LONGEST_WAIT_S)
                time.sleep(random.uniform(0.0, longest) + (error.after_s or 0.0))  # noqa: S311  no secret
            else:
                return
