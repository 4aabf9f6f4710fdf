"""The two Ray actors, wrappers of the worker's functions.

Each checks before its first case that this machine has the planned classifier and the planned library
versions: rows of another JPEG library are rows of another study. An error that stops the study is
returned, not raised, so that it arrives as one line and not as Ray's traceback.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError, argument
from bitdose.models.base import Classifier, InputSpec
from bitdose.study.engines.local import run_in_process
from bitdose.study.plan import StudyJob, codec_libraries
from bitdose.study.rows import Row
from bitdose.study.two_stage import CodedCase, classify_case, prepare_case
from bitdose.study.worker import failed_rows

Result = list[Row] | BitdoseError


@dataclass(frozen=True)
class Order:
    """Initial order of an actor: the job, and the properties that must be equal on every machine."""

    job: StudyJob
    model: str
    spec: InputSpec
    identity: Mapping[str, Any]


class CaseWorker:
    """Actor with the classifier: runs whole cases, or classifies prepared ones."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._classifier: Classifier | None = None

    def ready(self) -> BitdoseError | None:
        """Load the classifier; return a mismatch of this machine, or None."""
        try:
            _prepare_process(self._order)
            self._classifier = _load(self._order)
        except BitdoseError as error:
            return error
        return None

    def run(self, case: Case) -> Result:
        """Return a case's rows."""
        if self._classifier is None:
            return BitdoseError("a Ray worker was given a case before it was ready")
        try:
            ((_, rows),) = run_in_process([case], self._order.job, self._classifier)
        except BitdoseError as error:
            return error
        return rows

    def read(self, prepared: CodedCase) -> Result:
        """Return the rows of a case that a coder prepared."""
        order = self._order
        if self._classifier is None:
            return BitdoseError("a Ray worker was given a case before it was ready")
        try:
            return classify_case(prepared, self._classifier)
        except BitdoseError as error:
            return error
        except Exception as unexpected:  # noqa: BLE001
            # The edge of the engine, as in the local one: only the type of the error is retained.
            failure = CaseError("crashed", f"{type(unexpected).__name__} while the case was worked on")
            return failed_rows(prepared.case, order.job, order.model, failure)


class Coder:
    """Actor of the coding stage: needs a CPU and no classifier."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def ready(self) -> BitdoseError | None:
        """Return a mismatch of this machine, or None."""
        try:
            _prepare_process(self._order)
        except BitdoseError as error:
            return error
        return None

    def code(self, case: Case) -> tuple[Result | None, CodedCase | None]:
        """Return the rows of a case that needs no classification, or else its arrays."""
        order = self._order
        try:
            prepared = prepare_case(case, order.job, order.spec, order.model)
        except BitdoseError as error:
            return error, None
        return (prepared.rows, None) if prepared.is_answered else (None, prepared)


def _prepare_process(order: Order) -> None:
    """Limit the process to one thread, and compare its library versions with the plan's."""
    import cv2

    cv2.setNumThreads(1)
    here = {"libraries": {name: _version(name) for name in order.identity["libraries"]}}
    here["codecs"] = codec_libraries(order.job.points)
    for table, found in here.items():
        for name, planned in order.identity[table].items():
            if found.get(name) != planned:
                raise BitdoseError(
                    f"{argument('engine', 'ray')}: the machine {socket.gethostname()} has {name} "
                    f"{found.get(name)}, this "
                    f"study was planned with {planned}: install the same on every machine"
                )


def _load(order: Order) -> Classifier:
    """Load the classifier and check that it is the planned one, on the planned device."""
    if order.job.model is None:
        raise BitdoseError("a worker process needs a classifier by reference")
    classifier = order.job.model.load()
    if classifier.name != order.model:
        raise BitdoseError(
            f"model: it comes out different each time it is loaded ({order.model}, then {classifier.name}): "
            f"save its weights and give them with {argument('weights')}"
        )
    if classifier.device != order.identity["device"]:
        raise BitdoseError(
            f"{argument('engine', 'ray')}: the machine {socket.gethostname()} runs the classifier "
            f"on {classifier.device}, "
            f"this study was planned on {order.identity['device']}: start it on a machine like the workers'"
        )
    return classifier


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
