"""Who stands behind a pseudonym: a database that never leaves the clinic.

A patient is known by issuer and patient id; where an object has neither, by name and birth date; a file
without any of these is its own patient. The same patient gets the same pseudonym and the same shift of
dates for ever. Pseudonyms and shifts are drawn, not computed: without the database nothing leads back.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitdose.client.data_dir import database
from bitdose.client.deidentify.dataset import Identity
from bitdose.hashing import digest

NAME = "patients.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS patients (
    pseudonym TEXT PRIMARY KEY, known_by TEXT NOT NULL UNIQUE, patient_id TEXT NOT NULL, name TEXT NOT NULL,
    birth_date TEXT NOT NULL, shift_days INTEGER NOT NULL, made REAL NOT NULL
)
"""
_KEY_BYTES = 32
_PSEUDONYM_BYTES = 8
_LEAST_SHIFT_DAYS, _MOST_SHIFT_DAYS = 30, 3650


@dataclass(frozen=True)
class Patient:
    """What a source says of its patient; ``repr`` shows nothing of it.

    Parameters
    ----------
    issuer, patient_id, name, birth_date : str
        Of DICOM; empty where the source names none.
    file : str
        What stands in for a patient where nothing is named: the file's digest.
    """

    issuer: str = ""
    patient_id: str = ""
    name: str = ""
    birth_date: str = ""
    file: str = ""

    def __repr__(self) -> str:
        """Say that it is one, and no more."""
        return "Patient(…)"

    def key(self) -> str:
        """Return the digest that this patient is known by."""
        if self.patient_id:
            return digest(["id", self.issuer, self.patient_id])
        if self.name:
            return digest(["name", self.name, self.birth_date])
        return digest(["file", self.file])


def patient_of(dataset: Any, file: str) -> Patient:
    """Read the patient of a DICOM data set."""

    def text(name: str) -> str:
        return str(dataset.get(name) or "").strip()

    return Patient(
        text("IssuerOfPatientID"), text("PatientID"), text("PatientName"), text("PatientBirthDate"), file
    )


class Pseudonyms:
    """The database of one clinic; safe to use from several threads and processes.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder; gets ``patients.sqlite``, which the clinic should back up.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def identity(self, patient: Patient) -> Identity:
        """Return a patient's identity, made at first; raises ``BitdoseError`` if it cannot be kept."""
        with database(self._path, _SCHEMA) as db:
            secret = db.execute("SELECT key FROM secret").fetchone()
            if secret is None:
                db.execute("INSERT INTO secret VALUES (?)", [secrets.token_bytes(_KEY_BYTES)])
                secret = db.execute("SELECT key FROM secret").fetchone()
            values = [
                secrets.token_hex(_PSEUDONYM_BYTES),
                patient.key(),
                patient.patient_id,
                patient.name,
                patient.birth_date,
                -_LEAST_SHIFT_DAYS - secrets.randbelow(_MOST_SHIFT_DAYS - _LEAST_SHIFT_DAYS),
                time.time(),
            ]
            db.execute("INSERT OR IGNORE INTO patients VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            found = db.execute("SELECT * FROM patients WHERE known_by = ?", [patient.key()]).fetchone()
            return Identity(found["pseudonym"], found["shift_days"], secret["key"])

    def who(self, pseudonym: str) -> Patient | None:
        """Return whom a pseudonym stands for; None where it is not of this clinic."""
        with database(self._path, _SCHEMA) as db:
            found = db.execute("SELECT * FROM patients WHERE pseudonym = ?", [pseudonym]).fetchone()
        if found is None:
            return None
        return Patient("", found["patient_id"], found["name"], found["birth_date"])
