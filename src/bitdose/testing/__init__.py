"""Checks that a plug-in passes: public, and used by our own tests."""
