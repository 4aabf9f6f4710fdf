"""The database's versions, for alembic; ``bitdose.service.db.migrate`` applies them."""
