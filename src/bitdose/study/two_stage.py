"""One case in two stages, for machines where the codecs have one processor and the classifier another.

:func:`prepare_case` reads, codes and measures a case and keeps what the classifier is to see;
:func:`classify_case` answers it. Together they give the rows of :func:`~bitdose.study.worker.run_case`,
from the same chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitdose.data.base import Case
from bitdose.errors import BitdoseError
from bitdose.models.base import Classifier, InputSpec
from bitdose.study.plan import StudyJob
from bitdose.study.rows import Row
from bitdose.study.worker import Chunk, ask, coded_chunks, crash, failed_rows, fill_answers, in_order


@dataclass(frozen=True)
class CodedCase:
    """A case on its way to the classifier.

    Parameters
    ----------
    case : Case
        The case.
    job : StudyJob
        Points and settings.
    chunks : list of Chunk
        Its rows, with the inputs of those that wait for an answer.
    """

    case: Case
    job: StudyJob
    chunks: list[Chunk]

    @property
    def is_answered(self) -> bool:
        """Whether nothing waits for the classifier: every point failed before it."""
        return not any(chunk.waiting for chunk in self.chunks)

    @property
    def rows(self) -> list[Row]:
        """The case's rows in the job's order, as far as they are known."""
        return in_order([row for chunk in self.chunks for row in chunk.waiting + chunk.settled], self.job)


def prepare_case(case: Case, job: StudyJob, spec: InputSpec, name: str) -> CodedCase:
    """Read, code, decode and measure one case at every point; needs no classifier.

    Parameters
    ----------
    case : Case
        The case, by reference.
    job : StudyJob
        Points and settings.
    spec : InputSpec
        What the classifier wants to see.
    name : str
        Its name, for the rows.
    """
    try:
        return CodedCase(case, job, list(coded_chunks(case, job, name, spec)))
    except BitdoseError:
        raise
    except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
        rows = failed_rows(case, job, name, crash(unexpected))
        return CodedCase(case, job, [Chunk([], np.empty(0, np.float32), rows)])


def classify_case(prepared: CodedCase, classifier: Classifier) -> list[Row]:
    """Answer a prepared case: its rows as :func:`~bitdose.study.worker.run_case` gives them."""
    try:
        for chunk in prepared.chunks:
            if chunk.waiting:
                fill_answers(chunk, ask(classifier, chunk.inputs, chunk.pristine), classifier.spec)
    except BitdoseError:
        raise
    except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
        return failed_rows(prepared.case, prepared.job, classifier.name, crash(unexpected))
    return prepared.rows
