"""Classifiers: what a study asks."""
