"""Pairs of predictions from the database, for the sentinel."""

from __future__ import annotations

from sqlalchemy import Engine, and_, select
from sqlalchemy.orm import aliased

from bitdose.profile.document import Profile
from bitdose.service.db.database import reading
from bitdose.service.db.tables import AnswerRow, ExamRow
from bitdose.service.exams.sentinel import Pair, Watch, certified_flips, watch
from bitdose.wire import ExamKind


def load_pairs(engine: Engine, profile_id: str) -> list[Pair]:
    """Return all pairs under a profile, each pristine prediction with its first coded one.

    A pseudonym is qualified by its clinic, since two clinics may draw the same one.
    """
    coded, pristine = aliased(ExamRow), aliased(ExamRow)
    first, second = aliased(AnswerRow), aliased(AnswerRow)
    same = and_(coded.account_id == pristine.account_id, coded.pair == pristine.pair)
    found = (
        select(pristine, coded.answered, first.predicted, second.predicted)
        .join(coded, same)
        .join(first, first.exam_id == coded.id)
        .join(second, second.exam_id == pristine.id)
        .where(coded.kind == ExamKind.CODED, pristine.kind == ExamKind.PRISTINE)
        .where(coded.profile == profile_id, pristine.profile == profile_id)
        .where(first.model == second.model)
        .order_by(coded.received.desc(), coded.id)
    )
    with reading(engine) as session:
        rows = session.execute(found).all()
    pairs = {
        exam.id: Pair(max(exam.answered, at), f"{exam.clinic}/{exam.meta['pseudonym']}", said, true)
        for exam, at, said, true in rows
        if exam.answered and at
    }
    return list(pairs.values())


def sentinel_of(engine: Engine, profile: Profile, *, alpha: float) -> Watch:
    """Compute the sentinel's statistics of a profile; ``alpha`` is the probability of any false alarm."""
    return watch(load_pairs(engine, profile.id), certified=certified_flips(profile)[0], alpha=alpha)
