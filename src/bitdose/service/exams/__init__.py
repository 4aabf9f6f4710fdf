"""Exams: admission, storage, queue and inference."""
