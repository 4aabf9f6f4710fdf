"""Identity of the service's classifier: name and digest, cached per process."""

from __future__ import annotations

import json
from functools import lru_cache

from bitdose.errors import UsageError
from bitdose.models.load import ModelRef
from bitdose.profile.document import Profile
from bitdose.service.settings import Settings


def classifier_name(settings: Settings, profile: Profile) -> str:
    """Return the classifier's ``name@digest``; a missing input spec is taken from the profile.

    Raises
    ------
    UsageError
        If it does not load.
    """
    spec = {name: value for name, value in profile.classifier.input.to_dict().items() if value is not None}
    return _name(settings.model, settings.weights, json.dumps(spec))


@lru_cache(maxsize=8)
def _name(model: str, weights: str, spec: str) -> str:
    try:
        return ModelRef(model, weights).load().name
    except UsageError:
        return ModelRef(model, weights, json.loads(spec)).load().name
