"""Pseudonyms of patients, in a database that never leaves the clinic.

A patient is identified by issuer and patient id; without these, by name and birth date; a file without any
of these is its own patient. A patient's pseudonym and date shift never change. Both are random, not
computed: without the database re-identification is impossible.
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
    """Patient attributes of a source; hidden from ``repr``.

    Parameters
    ----------
    issuer, patient_id, name, birth_date : str
        DICOM attributes; empty where missing.
    file : str
        Substitute identity without any attribute: the file's digest.
    """

    issuer: str = ""
    patient_id: str = ""
    name: str = ""
    birth_date: str = ""
    file: str = ""

    def __repr__(self) -> str:
        """Hide all attributes."""
        return "Patient(…)"

    def key(self) -> str:
        """Return the digest that identifies this patient."""
        if self.patient_id:
            return digest(["id", self.issuer, self.patient_id])
        if self.name:
            return digest(["name", self.name, self.birth_date])
        return digest(["file", self.file])


def patient_of(dataset: Any, file: str) -> Patient:
    """Read the patient attributes of a DICOM data set."""

    def text(name: str) -> str:
        return str(dataset.get(name) or "").strip()

    return Patient(
        text("IssuerOfPatientID"), text("PatientID"), text("PatientName"), text("PatientBirthDate"), file
    )


class Pseudonyms:
    """Pseudonym database of one clinic; safe for several threads and processes.

    Parameters
    ----------
    folder : pathlib.Path
        Existing folder for ``patients.sqlite``, which the clinic should back up.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def identity(self, patient: Patient) -> Identity:
        """Return a patient's identity, created on first use; raises ``BitdoseError`` on failure."""
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
        """Return the patient of a pseudonym; None if it is not of this clinic."""
        with database(self._path, _SCHEMA) as db:
            found = db.execute("SELECT * FROM patients WHERE pseudonym = ?", [pseudonym]).fetchone()
        if found is None:
            return None
        return Patient("", found["patient_id"], found["name"], found["birth_date"])
