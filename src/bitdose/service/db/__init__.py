"""The database: tables and migrations."""
