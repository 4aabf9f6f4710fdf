"""One case in two stages, for machines where the codecs have one processor and the classifier another.

:func:`prepare_case` reads, codes and measures a case and keeps the arrays that the classifier would
see; :func:`classify_case` answers them. Together they give the rows of
:func:`~bitdose.study.worker.run_case`, from the same batches: the first stage *is* ``run_case``, with a
stand-in for the classifier that keeps each batch and gives every array a ticket in place of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bitdose.data.base import Case
from bitdose.models.base import Batch, Classifier, InputSpec, Probabilities, answer
from bitdose.results.schema import OK, probability_columns
from bitdose.study.engines.local import run_in_process
from bitdose.study.plan import Job
from bitdose.study.worker import Row

_NO_ANSWER = {"status": "model-output", "reason": "the model returned NaN or values outside [0, 1]"}


@dataclass(frozen=True)
class Prepared:
    """A case on its way to the classifier.

    Parameters
    ----------
    case : Case
        The case.
    rows : list of dict
        One per point; a row that waits for an answer holds its ticket, the number of its array.
    batches : list of array
        What the classifier sees, ``(N, ...)`` float32 each, in the order of the tickets.
    """

    case: Case
    rows: list[Row]
    batches: list[Batch]

    @property
    def is_answered(self) -> bool:
        """Whether nothing waits for the classifier: every point failed before it."""
        return not self.batches


@dataclass
class _TicketOffice:
    """Stands in for the classifier: keeps what it is shown and answers with tickets."""

    spec: InputSpec
    name: str
    device: str = ""
    batches: list[Batch] = field(default_factory=list)
    given: int = 0

    def predict(self, batch: Batch) -> Probabilities:
        """Keep a batch; the answer's first column numbers its arrays through the case."""
        tickets = np.zeros((len(batch), len(self.spec.labels)))
        tickets[:, 0] = np.arange(self.given, self.given + len(batch))
        self.batches.append(np.array(batch))
        self.given += len(batch)
        return tickets


def prepare_case(case: Case, job: Job, spec: InputSpec, name: str) -> Prepared:
    """Read, code, decode and measure one case at every point; needs no classifier.

    Parameters
    ----------
    case : Case
        The case, by reference.
    job : Job
        Points and settings.
    spec : InputSpec
        What the classifier wants to see.
    name : str
        Its name, for the rows.
    """
    office = _TicketOffice(spec, name)
    ((_, rows),) = run_in_process([case], job, office)
    return Prepared(case, rows, office.batches)


def classify_case(prepared: Prepared, classifier: Classifier) -> list[Row]:
    """Answer a prepared case: its rows as :func:`~bitdose.study.worker.run_case` gives them."""
    if prepared.is_answered:
        return prepared.rows
    columns = probability_columns(classifier.spec.labels)
    probabilities = np.concatenate([classifier.predict(batch) for batch in prepared.batches])
    answers = answer(probabilities, classifier.spec)
    return [_answered(row, columns, probabilities, answers) for row in prepared.rows]


def _answered(row: Row, columns: list[str], probabilities: Probabilities, answers: list[str | None]) -> Row:
    """Give one row the answer that its ticket stands for."""
    if row["status"] != OK:
        return row
    ticket = int(row[columns[0]])
    label = answers[ticket]
    if label is None:
        measured = {k: v for k, v in row.items() if k not in columns and k != "predicted"}
        return measured | _NO_ANSWER
    return row | dict(zip(columns, probabilities[ticket].tolist(), strict=True)) | {"predicted": label}
