"""Checks that a plug-in passes: public, and used by our own tests."""

from bitdose.testing.classifier import check_classifier
from bitdose.testing.codec import check_codec
from bitdose.testing.failure import CheckFailedError
from bitdose.testing.images import textured_image

__all__ = ["CheckFailedError", "check_classifier", "check_codec", "textured_image"]
