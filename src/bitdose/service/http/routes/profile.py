"""The active profile, for uploaders."""

from __future__ import annotations

import gzip
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from bitdose.links import LINKS, seconds
from bitdose.profile.document import Profile
from bitdose.service.exams.intake import NoProfileError, active_profile
from bitdose.service.http.access import Caller, caller
from bitdose.service.http.context import context_of
from bitdose.service.problems import declared, refuse
from bitdose.wire import PROFILE, LinkSeconds, ProfileView

router = APIRouter(tags=["profile"])


@router.get(PROFILE, responses=declared(304, 503), response_model=ProfileView)
def profile(
    request: Request, response: Response, _who: Annotated[Caller, Depends(caller)]
) -> ProfileView | Response:
    """Return the active profile and an exam's expected time on the named links; 304 if unchanged.

    Compressed if accepted, which saves a second on GPRS before the first exam.
    """
    context = context_of(request)
    try:
        found = active_profile(context.profiles)
    except NoProfileError as error:
        raise refuse(503, str(error)) from error
    share = context.settings.sentinel_share
    headers = {"ETag": f'"{found.id}-{share:g}"', "Cache-Control": "private, no-cache"}
    headers["Vary"] = "Accept-Encoding"
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    view = ProfileView(id=found.id, profile=found.to_dict(), links=link_seconds(found), sentinel_share=share)
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = gzip.compress(view.model_dump_json().encode(), mtime=0)
        return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type="application/json")
    response.headers.update(headers)
    return view


def link_seconds(found: Profile) -> tuple[LinkSeconds, ...]:
    """Return the expected seconds of an exam of the study's mean bytes on every named link."""
    mean_bytes = found.rate.mean_bytes
    return tuple(
        LinkSeconds(link=name, coded_bytes=mean_bytes, seconds=float(seconds(link, mean_bytes)))
        for name, link in LINKS.items()
    )
