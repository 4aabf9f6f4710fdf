"""Accounts and roles. A change of rights or password ends every login and token of the account."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from bitdose.errors import BitdoseError, UsageError
from bitdose.service.accounts.passwords import check_password, hash_password
from bitdose.service.db.tables import AccountRow, ExamRow, ReviewRow, SessionRow, TokenRow
from bitdose.wire import Role

_NAME = re.compile(r"[0-9a-z][0-9a-z._@-]{0,98}[0-9a-z]")
_CLINIC = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


class AccountError(BitdoseError):
    """A conflict with the existing accounts."""


def find_account(session: Session, name: str) -> AccountRow | None:
    """Return the account of a name, ignoring case."""
    return session.scalar(select(AccountRow).where(AccountRow.name == name.lower()))


def add_account(
    session: Session, *, name: str, role: Role, password: str, now: datetime, clinic: str = ""
) -> AccountRow:
    """Add an account.

    Parameters
    ----------
    session : sqlalchemy.orm.Session
        A writer.
    name : str
        2 to 100 letters, digits and ``. _ @ -``; stored in lower case.
    role : Role
        ``clinic`` needs a clinic, no other role has one.
    password : str
        See :mod:`bitdose.service.accounts.passwords`.
    now : datetime.datetime
        With a time zone.
    clinic : str
        Clinic whose exams it sends and sees; may be shared by several accounts.

    Raises
    ------
    UsageError
        If a value is invalid.
    AccountError
        If the name is taken.
    """
    name = name.lower()
    if not _NAME.fullmatch(name):
        raise UsageError("name: expected 2 to 100 letters, digits and . _ @ - (first and last no sign)")
    _check_clinic(role, clinic)
    check_password(password, name=name)
    if find_account(session, name):
        raise AccountError(f"name: there is an account {name!r} already")
    row = AccountRow(name=name, role=role.value, clinic=clinic, password=hash_password(password), created=now)
    row.disabled = False
    session.add(row)
    session.flush()
    return row


def change_account(
    session: Session,
    row: AccountRow,
    *,
    role: Role | None = None,
    clinic: str | None = None,
    disabled: bool | None = None,
    password: str | None = None,
) -> None:
    """Apply the given changes; any change ends every login and token.

    Raises
    ------
    UsageError
        As for :func:`add_account`.
    AccountError
        For the last admin.
    """
    new_role = Role(row.role) if role is None else role
    new_clinic = row.clinic if clinic is None else clinic
    if new_role is not Role.CLINIC and clinic is None:
        new_clinic = ""
    _check_clinic(new_role, new_clinic)
    if row.role == Role.ADMIN and (new_role is not Role.ADMIN or disabled):
        _keep_an_admin(session, row)
    if password is not None:
        check_password(password, name=row.name)
        row.password = hash_password(password)
    row.role, row.clinic = new_role.value, new_clinic
    row.disabled = row.disabled if disabled is None else disabled
    if session.is_modified(row):
        end_everywhere(session, row.id)


def remove_account(session: Session, row: AccountRow) -> None:
    """Remove an account without exams and reviews; raises ``AccountError`` for any other."""
    if row.role == Role.ADMIN:
        _keep_an_admin(session, row)
    for table in (ExamRow, ReviewRow):
        if session.scalar(select(table.account_id).where(table.account_id == row.id).limit(1)):
            raise AccountError("account: it has sent or judged exams, which name it; disable it instead")
    session.delete(row)


def end_everywhere(session: Session, account_id: int) -> None:
    """End every login and revoke every token of an account."""
    session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))
    session.execute(update(TokenRow).where(TokenRow.account_id == account_id).values(revoked=True))


def _check_clinic(role: Role, clinic: str) -> None:
    if role is Role.CLINIC and not (_CLINIC.fullmatch(clinic) and clinic.strip()):
        raise UsageError("clinic: expected the clinic's name, 1 to 100 characters, for the role 'clinic'")
    if role is not Role.CLINIC and clinic:
        raise UsageError(f"clinic: expected none for the role {role.value!r}, which sees every clinic")


def _keep_an_admin(session: Session, row: AccountRow) -> None:
    others = select(func.count()).where(
        AccountRow.role == Role.ADMIN.value, AccountRow.disabled.is_(False), AccountRow.id != row.id
    )
    if not session.scalar(others):
        raise AccountError("account: it is the last admin; make another one first")
