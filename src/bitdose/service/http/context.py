"""Shared context of the routes, one per process: ``app.state.context``."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from sqlalchemy import Engine

from bitdose.profile.document import Profile
from bitdose.service.exams.profiles import Profiles
from bitdose.service.exams.storage import BlobStore
from bitdose.service.http.metrics import Metrics
from bitdose.service.settings import Settings


@dataclass(frozen=True)
class Context:
    """Context of a web process.

    Parameters
    ----------
    settings : Settings
        What it was told.
    engine : sqlalchemy.Engine
        The tables.
    store : BlobStore
        The exams' bytes.
    profiles : Profiles
        The profiles.
    metrics : Metrics
        The figures.
    """

    settings: Settings
    engine: Engine
    store: BlobStore
    profiles: Profiles
    metrics: Metrics

    @property
    def profile(self) -> Profile | None:
        """The active profile from the database, since another process may have changed it."""
        return self.profiles.active()


def context_of(request: Request) -> Context:
    """Return the context of the app that serves a request."""
    context = request.app.state.context
    if not isinstance(context, Context):
        raise TypeError("app.state.context: expected a Context; make the app by create_app")
    return context
