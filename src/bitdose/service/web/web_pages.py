"""Web pages: small templates that the browser fills through the API, and their static files.

The JavaScript, the styles and the codecs are built from ``web/`` into ``web/static`` beside this module; a
wheel ships them. Every string is in ``web/locale``, one file per language, for pages and scripts alike.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict
from functools import cache, partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select

from bitdose import __version__
from bitdose.codecs.base import BrowserCodec
from bitdose.codecs.point import Point
from bitdose.links import LINKS
from bitdose.metrics.catalogue import METRICS
from bitdose.profile.document import Profile
from bitdose.service.db.database import reading
from bitdose.service.db.tables import ExamRow
from bitdose.service.http.access import Caller, find_caller
from bitdose.service.http.context import context_of
from bitdose.service.http.views import visible_to
from bitdose.service.problems import refuse
from bitdose.wire import Role

router = APIRouter(include_in_schema=False)

LANGUAGES = ("en", "pt")
LINKS_BY_ROLE = (
    ("send", (Role.CLINIC,)),
    ("worklist", tuple(Role)),
    ("admin", (Role.ADMIN,)),
)
"""Pages in the order of the menu, and who has them."""

_HOME = {Role.CLINIC: "/send", Role.PHYSICIAN: "/worklist", Role.ADMIN: "/admin"}
_LANGUAGE_COOKIE = "lang"
_YEAR_S = 31_536_000
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".json": "application/json",
}
_NOT_BUILT = "the pages are not built here: run 'make web', or install a wheel"


@router.get("/")
def home(request: Request) -> Response:
    """Redirect to the start page of the caller's role."""
    found = find_caller(request)
    return RedirectResponse(_HOME[found.role] if found else "/login", 303)


@router.get("/login")
def login(request: Request) -> Response:
    """Show the login."""
    return _page(request, "login", find_caller(request))


@router.get("/send")
def send(request: Request) -> Response:
    """Show the page for coding and sending exams."""
    return _page_for(request, "send", Role.CLINIC)


@router.get("/worklist")
def worklist(request: Request) -> Response:
    """Show the list of exams."""
    return _page_for(request, "worklist", *Role)


@router.get("/exams/{exam_id}")
def exam(request: Request, exam_id: str) -> Response:
    """Show one exam; access is checked by the API."""
    return _page_for(request, "exam", *Role, exam_id=exam_id, profile=_profile_of(request, exam_id))


@router.get("/admin")
def admin(request: Request) -> Response:
    """Show accounts, profiles, the sentinel and the savings."""
    return _page_for(request, "admin", Role.ADMIN, roles=tuple(Role))


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """Return one built file, cacheable indefinitely since its name contains a digest."""
    return _file(request, name, f"public, max-age={_YEAR_S}, immutable")


@router.get("/sw.js")
def service_worker(request: Request) -> Response:
    """Return the service worker for offline use, at the root so that its scope is every page."""
    return _file(request, "sw.js", "no-cache")


def _page_for(request: Request, name: str, *roles: Role, **values: Any) -> Response:
    found = find_caller(request)
    if found is None:
        return RedirectResponse(f"/login?{urlencode({'next': request.url.path})}", 303)
    if found.role not in roles:
        raise refuse(403, f"this page is for: {', '.join(roles)}; you are logged in as: {found.role}")
    return _page(request, name, found, **values)


def _page(request: Request, name: str, caller: Caller | None, **values: Any) -> Response:
    assets = _assets()
    if not assets:
        raise refuse(503, _NOT_BUILT)
    language, context = _language(request), context_of(request)
    profile = values.pop("profile", None) or (context.profile if caller else None)
    html = _template(name).render(
        page=name,
        caller=caller,
        language=language,
        t=_strings(language),
        assets=assets,
        links=LINKS_BY_ROLE,
        profile=profile,
        for_sending=_for_sending(profile, context.settings.sentinel_share) if profile else None,
        certified=partial(_certified, language),
        level=partial(_level, language),
        metrics=partial(_metrics, language),
        share_text=partial(_percent, language),
        **values,
    )
    response = _packed(request, html) if name != "exam" else HTMLResponse(html)
    if "lang" in request.query_params:
        response.set_cookie(_LANGUAGE_COOKIE, language, max_age=_YEAR_S, httponly=True, samesite="lax")
    return response


def _packed(request: Request, html: str) -> Response:
    """Compress a page if accepted, except pages that reflect their address beside a secret (BREACH)."""
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return HTMLResponse(html, headers=headers)
    return HTMLResponse(gzip.compress(html.encode(), mtime=0), headers=headers | {"Content-Encoding": "gzip"})


def _profile_of(request: Request, exam_id: str) -> Profile | None:
    """Return an exam's profile; None if the exam is not visible to the caller."""
    found, context = find_caller(request), context_of(request)
    if found is None:
        return None
    chosen = select(ExamRow.profile).where(ExamRow.id == exam_id.replace("\0", ""), visible_to(found))
    with reading(context.engine) as session:
        name = session.scalar(chosen)
    return context.profiles.get(name) if name else None


def _for_sending(profile: Profile, share: float) -> dict[str, Any]:
    """Return the profile's parameters for the browser, and the sentinel's share."""
    links = [{"name": name, **asdict(link)} for name, link in LINKS.items()]
    limits = asdict(profile.limits)
    return {
        "id": profile.id,
        "point": profile.point,
        "in_browser": _browser_codes(Point.parse(profile.point)),
        "limits": limits,
        "client": profile.client.name,
        "sentinel_share": share,
        "links": links,
        "version": __version__,
    }


def _browser_codes(point: Point) -> bool:
    """Whether the pages' own encoders code a point: its codec says which of its own they do."""
    codec = point.build_codec()
    if not isinstance(codec, BrowserCodec):
        return False
    return point.unit in codec.browser.units and set(point.options) <= set(codec.browser.options)


def _certified(language: str, profile: Profile) -> list[dict[str, str]]:
    """Return the certified margins as text: metric, observed loss, upper limit, accepted loss."""
    rows = []
    for proof in profile.evidence.margins:
        kind, _, label = proof.metric.partition("[")
        metric = METRICS[kind]
        name = metric.page_names[language] + (f" ({label.rstrip(']')})" if label else "")
        say = partial(_percent if metric.percent else _number, language)
        found = {"loss": proof.loss, "upper": proof.upper, "margin": proof.limit}
        rows.append({"metric": name} | {key: say(value) for key, value in found.items()})
    return rows


def _metrics(language: str) -> dict[str, dict[str, Any]]:
    """Return what a script needs to tell of a metric: its name, and whether it is told in percent."""
    return {
        kind: {"name": metric.page_names[language], "percent": metric.percent}
        for kind, metric in METRICS.items()
    }


def _level(language: str, profile: Profile) -> str:
    """Return the lowest confidence level of the margins' one-sided limits as text."""
    return _percent(language, 1 - max(proof.alpha for proof in profile.evidence.margins))


def _percent(language: str, share: float) -> str:
    return f"{_number(language, 100 * share, digits=1)}%"


def _number(language: str, value: float, *, digits: int = 3) -> str:
    text = f"{value:.{digits}f}"
    return text.replace(".", ",") if language == "pt" else text


def _language(request: Request) -> str:
    """Return the requested, stored or preferred language; English by default."""
    accepted = [part.strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")]
    wishes = [request.query_params.get("lang"), request.cookies.get(_LANGUAGE_COOKIE), *accepted]
    return next((wish for wish in wishes if wish in LANGUAGES), LANGUAGES[0])


def _file(request: Request, name: str, keep: str) -> Response:
    found = _built(name)
    if found is None:
        raise refuse(404, "there is no such file")
    plain, packed = found
    suffix = name[name.rfind(".") :]
    headers = {"Cache-Control": keep, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=_TYPES[suffix])
    return Response(plain, headers=headers, media_type=_TYPES[suffix])


def _folder(name: str) -> Traversable:
    return files("bitdose.service").joinpath("web", name)


@cache
def _names() -> frozenset[str]:
    folder = _folder("static")
    return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()


@cache
def _read(name: str) -> tuple[bytes, bytes]:
    plain = _folder("static").joinpath(name).read_bytes()
    return plain, gzip.compress(plain, 9, mtime=0)


def _built(name: str) -> tuple[bytes, bytes] | None:
    """Return a built file, plain and compressed; unknown names are rejected."""
    return _read(name) if name in _names() and name[name.rfind(".") :] in _TYPES else None


@cache
def _assets() -> dict[str, Any]:
    if "assets.json" not in _names():
        return {}
    found: dict[str, Any] = json.loads(_read("assets.json")[0])
    return found


@cache
def _strings(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(_folder("locale").joinpath(f"{language}.json").read_text("utf-8"))
    return found


@cache
def _template(name: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("bitdose.service", "web/templates")
    places = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return places.get_template(f"{name}.html.j2")
