"""Migration of a database to this version's tables, by ``migrations/versions`` in order."""

from __future__ import annotations

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 8_231_005  # arbitrary key of the advisory lock


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Apply the missing migrations atomically; safe for concurrent processes.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Output of :func:`bitdose.service.db.database.make_engine`.
    revision : str
        Target version.
    """
    script = ScriptDirectory(str(_FOLDER))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        steps = {"fn": lambda at, _context: script._upgrade_revs(revision, at)}  # noqa: SLF001
        context = MigrationContext.configure(connection, opts=steps)
        with Operations.context(context):
            context.run_migrations()


def is_current(connection: Connection) -> bool:
    """Whether the database is at this version's tables."""
    heads = set(ScriptDirectory(str(_FOLDER)).get_heads())
    return set(MigrationContext.configure(connection).get_current_heads()) == heads
