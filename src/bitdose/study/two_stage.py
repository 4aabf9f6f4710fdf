"""One case in two stages, for codecs and classifier on different processors.

:func:`prepare_case` reads, codes and measures a case and keeps the classifier's inputs;
:func:`classify_case` adds the predictions. Together they return the rows of
:func:`~bitdose.study.worker.run_case`, from the same chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitdose.data.base import Case
from bitdose.errors import BitdoseError
from bitdose.models.base import Classifier, InputSpec
from bitdose.study.plan import StudyJob
from bitdose.study.rows import Row
from bitdose.study.worker import Chunk, ask, coded_chunks, crash, failed_rows, fill_predictions, in_order


@dataclass(frozen=True)
class CodedCase:
    """A prepared case, before classification.

    Parameters
    ----------
    case : Case
        The case.
    job : StudyJob
        Points and settings.
    chunks : list of Chunk
        Rows of the case, with the inputs of those that await a prediction.
    """

    case: Case
    job: StudyJob
    chunks: list[Chunk]

    @property
    def is_answered(self) -> bool:
        """Whether no row awaits the classifier: every point failed earlier."""
        return not any(chunk.waiting for chunk in self.chunks)

    @property
    def rows(self) -> list[Row]:
        """Rows of the case in the job's order, without pending predictions."""
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
        Input specification of the classifier.
    name : str
        Name of the classifier, for the rows.
    """
    try:
        return CodedCase(case, job, list(coded_chunks(case, job, name, spec)))
    except BitdoseError:
        raise
    except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
        rows = failed_rows(case, job, name, crash(unexpected))
        return CodedCase(case, job, [Chunk([], np.empty(0, np.float32), rows)])


def classify_case(prepared: CodedCase, classifier: Classifier) -> list[Row]:
    """Classify a prepared case and return its rows like :func:`~bitdose.study.worker.run_case`."""
    try:
        for chunk in prepared.chunks:
            if chunk.waiting:
                fill_predictions(chunk, ask(classifier, chunk.inputs, chunk.pristine), classifier.spec)
    except BitdoseError:
        raise
    except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
        return failed_rows(prepared.case, prepared.job, classifier.name, crash(unexpected))
    return prepared.rows
