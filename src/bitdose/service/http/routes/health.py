"""Liveness, readiness and metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from bitdose.service.db.database import reading
from bitdose.service.db.migrate import is_current
from bitdose.service.exams.intake import NoProfileError, active_profile
from bitdose.service.http.access import Caller, require
from bitdose.service.http.context import Context, context_of
from bitdose.service.http.schemas import Health
from bitdose.service.problems import declared, refuse
from bitdose.wire import Role

router = APIRouter(tags=["health"])

Admin = Annotated[Caller, Depends(require(Role.ADMIN))]


@router.get("/healthz")
def healthz() -> Health:
    """Return that the process is alive."""
    return Health(status="ok")


@router.get("/readyz", responses=declared(503))
def readyz(request: Request) -> Health:
    """Return 200 if exams can be accepted, else 503 with the first obstacle."""
    if problem := _missing(context_of(request)):
        raise refuse(503, problem)
    return Health(status="ready")


@router.get("/metrics", response_class=Response, responses=declared(401, 403))
def metrics(request: Request, asking: Admin) -> Response:  # noqa: ARG001  # the dependency is the check
    """Return the metrics in Prometheus's text format; requires an admin's API token."""
    return Response(context_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _missing(context: Context) -> str:
    """Return the first obstacle to accepting exams; empty if ready."""
    try:
        with reading(context.engine) as session:
            current = is_current(session.connection())
        if not current:
            return "the database is of another version"
        active_profile(context.profiles)
    except SQLAlchemyError:
        return "the database does not respond"
    except NoProfileError as error:
        return str(error)
    return ""
