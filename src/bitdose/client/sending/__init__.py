"""Sending: the outbox, its uploads and the server they go to."""
