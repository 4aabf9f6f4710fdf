"""Administration: accounts and profiles; reports are in ``admin_reports``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from bitdose.errors import UsageError
from bitdose.profile.document import Profile, profile_of
from bitdose.profile.verify import WARNING, Finding
from bitdose.service import clock
from bitdose.service.accounts.accounts import AccountError, add_account, change_account, remove_account
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AccountRow, ProfileRow
from bitdose.service.exams import profiles
from bitdose.service.http.access import Caller, require
from bitdose.service.http.context import context_of
from bitdose.service.http.schemas import (
    AccountChange,
    AccountList,
    AccountNew,
    AccountView,
    KnownProfile,
    KnownProfiles,
)
from bitdose.service.problems import declared, refuse
from bitdose.wire import API, Role

router = APIRouter(prefix=f"{API}/admin", tags=["admin"])

Admin = Annotated[Caller, Depends(require(Role.ADMIN, token=False))]
AccountId = Annotated[int, Path(ge=1, le=2**31 - 1)]
ProfileId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]
Document = Annotated[dict[str, Any], Body(description="A profile, as 'bitdose decide' writes it.")]


@router.get("/accounts", responses=declared(401, 403))
def list_accounts(request: Request, admin: Admin) -> AccountList:  # noqa: ARG001
    """List all accounts by name."""
    with reading(context_of(request).engine) as session:
        rows = session.scalars(select(AccountRow).order_by(AccountRow.name)).all()
    return AccountList(accounts=tuple(map(_account, rows)))


@router.post("/accounts", status_code=201, responses=declared(401, 403, 409))
def make_account(given: AccountNew, request: Request, admin: Admin) -> AccountView:  # noqa: ARG001
    """Make an account."""
    try:
        with sessions(context_of(request).engine).begin() as session:
            row = add_account(session, now=clock.now(), **dict(given))
    except (AccountError, UsageError) as error:
        raise _refused(error) from error
    request.state.target = str(row.id)
    return _account(row)


@router.patch("/accounts/{account_id}", responses=declared(401, 403, 404, 409))
def edit_account(
    account_id: AccountId,
    given: AccountChange,
    request: Request,
    admin: Admin,  # noqa: ARG001
) -> AccountView:
    """Change an account's role, clinic, password or disabled state; ends all its sessions."""
    try:
        with sessions(context_of(request).engine).begin() as session:
            row = _row(session, account_id)
            change_account(session, row, **dict(given))
    except (AccountError, UsageError) as error:
        raise _refused(error) from error
    request.state.detail = "changed: " + ", ".join(sorted(given.model_fields_set))
    return _account(row)


@router.delete("/accounts/{account_id}", status_code=204, responses=declared(401, 403, 404, 409))
def delete_account(account_id: AccountId, request: Request, admin: Admin) -> Response:  # noqa: ARG001
    """Remove an account without exams and reviews; others can be disabled."""
    try:
        with sessions(context_of(request).engine).begin() as session:
            remove_account(session, _row(session, account_id))
    except AccountError as error:
        raise _refused(error) from error
    return Response(status_code=204)


@router.get("/profiles", responses=declared(401, 403))
def list_profiles(request: Request, admin: Admin) -> KnownProfiles:  # noqa: ARG001
    """List all profiles, newest first."""
    with reading(context_of(request).engine) as session:
        rows = session.scalars(select(ProfileRow).order_by(ProfileRow.added.desc())).all()
    return KnownProfiles(profiles=tuple(_profile(profile_of(row.document), row) for row in rows))


@router.post("/profiles", status_code=201, responses=declared(401, 403))
def add_profile(document: Document, request: Request, admin: Admin) -> KnownProfile:  # noqa: ARG001
    """Verify and add a profile; it takes effect once activated."""
    context = context_of(request)
    try:
        added, findings = profiles.add_profile(context.engine, document, context.settings)
    except UsageError as error:
        raise refuse(422, str(error)) from error
    request.state.target = added.id
    with reading(context.engine) as session:
        return _profile(added, session.get(ProfileRow, added.id), findings)


@router.post("/profiles/{profile_id}/activate", responses=declared(401, 403, 404))
def activate_profile(profile_id: ProfileId, request: Request, admin: Admin) -> KnownProfile:  # noqa: ARG001
    """Activate a profile after verifying it again."""
    context = context_of(request)
    try:
        found = profiles.activate_profile(context.engine, profile_id, context.settings)
    except profiles.UnknownProfileError as error:
        raise refuse(404, "there is no such profile") from error
    except UsageError as error:
        raise refuse(422, str(error)) from error
    with reading(context.engine) as session:
        return _profile(found, session.get(ProfileRow, found.id))


def _row(session: Session, account_id: int) -> AccountRow:
    row = session.get(AccountRow, account_id, with_for_update=True)
    if row is None:
        raise refuse(404, "there is no such account")
    return row


def _refused(error: AccountError | UsageError) -> Exception:
    return refuse(409 if isinstance(error, AccountError) else 422, str(error))


def _account(row: AccountRow) -> AccountView:
    return AccountView(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        clinic=row.clinic,
        disabled=row.disabled,
        created=row.created,
    )


def _profile(found: Profile, row: ProfileRow | None, findings: list[Finding] | None = None) -> KnownProfile:
    return KnownProfile(
        id=found.id,
        point=found.point,
        classifier=f"{found.classifier.name}@{found.classifier.digest}",
        expires=found.expires,
        active=bool(row and row.active),
        added=row.added if row else None,
        warnings=tuple(finding.text for finding in findings or [] if finding.level == WARNING),
    )
