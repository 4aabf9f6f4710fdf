"""Accounts: passwords, sessions, tokens, throttling."""
