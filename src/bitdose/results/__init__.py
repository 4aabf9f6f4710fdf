"""The results table and its summary; knows no engine."""
