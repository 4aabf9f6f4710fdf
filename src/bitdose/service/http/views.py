"""Views of exams, and their visibility."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, select, true
from sqlalchemy.orm import Session, aliased

from bitdose.profile.document import Profile
from bitdose.service.db.tables import AccountRow, AnswerRow, ExamRow, ReviewRow
from bitdose.service.exams.profiles import Profiles
from bitdose.service.http.access import Caller
from bitdose.wire import Answer, CertifiedLoss, ExamMeta, ExamState, ExamView, Review, Role

SETTLED = ("answered", "refused", "failed")


def visible_to(caller: Caller) -> Any:
    """Return the filter of exams visible to a caller: own exams for a clinic, all for other roles."""
    if caller.role is not Role.CLINIC:
        return true()
    return ExamRow.clinic == caller.clinic if caller.clinic else ExamRow.account_id == caller.id


def may_see(caller: Caller, account_id: int, clinic: str) -> bool:
    """Whether a caller may see an exam of an account and a clinic; the same rule as :func:`visible_to`."""
    if caller.role is not Role.CLINIC:
        return True
    return clinic == caller.clinic if caller.clinic else account_id == caller.id


def exam_views(session: Session, profiles: Profiles, rows: Sequence[ExamRow]) -> list[ExamView]:
    """Return views of exams with predictions, latest reviews, pairs and certified margins, in order."""
    ids = [row.id for row in rows]
    answers = {a.exam_id: a for a in session.scalars(select(AnswerRow).where(AnswerRow.exam_id.in_(ids)))}
    reviews, partners = _reviews(session, ids), _partners(session, ids)
    return [
        _view(row, answers.get(row.id), reviews.get(row.id), partners.get(row.id), profiles.get(row.profile))
        for row in rows
    ]


def certified_losses(profile: Profile | None) -> tuple[CertifiedLoss, ...]:
    """Return a profile's margins: accepted loss, observed loss, upper limit."""
    return tuple(
        CertifiedLoss(metric=proof.metric, margin=proof.limit, loss=proof.loss, upper=proof.upper)
        for proof in (profile.evidence.margins if profile else ())
    )


def _view(
    row: ExamRow,
    answer: AnswerRow | None,
    review: Review | None,
    partner: str | None,
    profile: Profile | None,
) -> ExamView:
    meta = ExamMeta.model_validate(row.meta)
    said = meta.model_dump(
        include={"kind", "point", "pseudonym", "modality", "rows", "columns", "slices", "bits"}
    )
    return ExamView(
        id=row.id,
        state=row.state,  # type: ignore[arg-type]  # pydantic reads the word
        reason=row.reason,
        clinic=row.clinic,
        payload_bytes=meta.payload_bytes,
        source_bytes=meta.source_bytes,
        received=row.received,
        answered=row.answered,
        answer=_answer(answer) if answer else None,
        pair=row.pair,
        pair_id=partner,
        profile=row.profile,
        certified=certified_losses(profile),
        review=review,
        **said,
    )


def _answer(row: AnswerRow) -> Answer:
    return Answer(
        predicted=row.predicted, probabilities=row.probabilities, model=row.model, seconds=row.seconds
    )


def _reviews(session: Session, ids: Sequence[str]) -> dict[str, Review]:
    named = select(ReviewRow, AccountRow.name).join(AccountRow, AccountRow.id == ReviewRow.account_id)
    rows = session.execute(named.where(ReviewRow.exam_id.in_(ids)).order_by(ReviewRow.id)).all()
    return {
        row.exam_id: Review.model_validate(
            {"verdict": row.verdict, "label": row.label, "by": name, "at": row.at}
        )
        for row, name in rows
    }


def _partners(session: Session, ids: Sequence[str]) -> dict[str, str]:
    """Return the partner of each exam: same sender and pair, the other kind."""
    other = aliased(ExamRow)
    same = and_(
        other.account_id == ExamRow.account_id, other.pair == ExamRow.pair, other.kind != ExamRow.kind
    )
    found = select(ExamRow.id, other.id).join(other, same).where(ExamRow.id.in_(ids))
    found = found.where(other.state != ExamState.REFUSED).order_by(other.received.desc())
    return {mine: theirs for mine, theirs in session.execute(found).all()}  # noqa: C416
