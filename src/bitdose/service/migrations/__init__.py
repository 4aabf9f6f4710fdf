"""The database's versions, for alembic; ``bitdose.service.migrate`` applies them."""
