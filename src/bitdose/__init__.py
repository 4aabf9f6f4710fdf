"""BitDose: how few bits can a diagnosis survive on? Research use only, not a medical device."""

from bitdose.door import open_door

__version__ = "0.2.0"
__all__ = [
    "BitdoseError",
    "CaseError",
    "Classifier",
    "Image",
    "InputSpec",
    "Link",
    "Point",
    "Profile",
    "Rule",
    "Run",
    "UsageError",
    "__version__",
    "compress",
    "load_results",
    "open_image",
    "open_run",
    "search",
    "study",
]

open_door(__name__)
