"""The application: middlewares from the outside in, routers by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from bitdose import __version__
from bitdose.html_card import DISCLAIMER
from bitdose.service.db.database import make_engine
from bitdose.service.db.migrate import upgrade
from bitdose.service.exams.profiles import Profiles, install_profile
from bitdose.service.exams.storage import open_store
from bitdose.service.http import openapi
from bitdose.service.http.audit import Audited
from bitdose.service.http.context import Context
from bitdose.service.http.guards import Guards
from bitdose.service.http.headers import SecurityHeaders
from bitdose.service.http.metrics import Measured, Metrics
from bitdose.service.problems import CrashGuard, add_handlers
from bitdose.service.settings import Settings
from bitdose.wire import API

ROUTERS = (
    "bitdose.service.http.routes.health",
    "bitdose.service.http.routes.auth",
    "bitdose.service.http.routes.admin",
    "bitdose.service.http.routes.admin_reports",
    "bitdose.service.http.routes.profile",
    "bitdose.service.http.routes.uploads",
    "bitdose.service.http.routes.exams",
    "bitdose.service.web.web_pages",
)
"""Modules with a ``router`` each; routers use full paths, which appear in the audit."""


def create_app(settings: Settings, *, start_workers: bool = False) -> FastAPI:
    """Create the service's app: migrate the database, install the profile, assemble the parts.

    Parameters
    ----------
    settings : Settings
        Settings of the service.
    start_workers : bool
        Whether to run the housekeeping and ``settings.workers`` classifier processes beside the app.

    Raises
    ------
    UsageError
        If the database, the store or the profile cannot be used.
    """
    context = make_context(settings)
    app = FastAPI(
        title="BitDose",
        version=__version__,
        description=DISCLAIMER,
        openapi_url=f"{API}/openapi.json" if settings.docs else None,
        docs_url=None,  # its scripts come from a CDN, which the security headers forbid
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_with_workers if start_workers else None,
    )
    app.state.context = context
    add_handlers(app)
    for name in ROUTERS:
        app.include_router(import_module(name).router)
    openapi.use(app)
    _wrap(app, context)
    return app


def make_context(settings: Settings) -> Context:
    """Open and migrate the database, install the settings' profile, open the store."""
    engine = make_engine(settings.database_url)
    upgrade(engine)
    if settings.profile:
        install_profile(engine, _document(settings), settings)
    store = open_store(settings.storage_url)
    return Context(settings, engine, store, Profiles(engine), Metrics(engine))


def _document(settings: Settings) -> dict[str, Any]:
    from pathlib import Path

    from bitdose.profile.document import load_profile

    return load_profile(Path(settings.profile)).to_dict()


def _wrap(app: FastAPI, context: Context) -> None:
    """Add the middlewares, innermost first."""
    settings = context.settings
    app.add_middleware(Guards, settings=settings)
    app.add_middleware(CrashGuard)
    app.add_middleware(Audited, engine=context.engine)
    app.add_middleware(Measured, metrics=context.metrics)
    app.add_middleware(CrashGuard)  # of the audit itself
    app.add_middleware(SecurityHeaders, secure=settings.secure_cookies)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))


@asynccontextmanager
async def _with_workers(app: FastAPI) -> AsyncIterator[None]:
    from bitdose.service.exams.processes import running

    with running(app.state.context.settings):
        yield
