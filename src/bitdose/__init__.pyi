from bitdose.api import compress as compress
from bitdose.api import load_results as load_results
from bitdose.api import open_run as open_run
from bitdose.api import search as search
from bitdose.api import study as study
from bitdose.codecs.point import Point as Point
from bitdose.data.read import open_image as open_image
from bitdose.errors import BitdoseError as BitdoseError
from bitdose.errors import CaseError as CaseError
from bitdose.errors import UsageError as UsageError
from bitdose.image import Image as Image
from bitdose.links import Link as Link
from bitdose.models.base import CallableClassifier as Classifier
from bitdose.models.base import InputSpec as InputSpec
from bitdose.profile.document import Profile as Profile
from bitdose.rule.rule import Rule as Rule
from bitdose.run import Run as Run

__version__: str
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
