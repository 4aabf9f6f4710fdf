"""Execution engines: this process, worker processes, a Ray cluster."""
