"""Signs of text burnt into the pixels: detected and reported, never removed automatically.

- Burned In Annotation (0028,0301) is ``YES`` (PS3.3 C.7.6.1.1);
- it is absent, and burnt-in text is usual in the modality: ultrasound, endoscopy, photographs, secondary
  capture, fluoroscopy, angiography, other (PS3.15 E.3.1);
- Image Type is ``SCREEN SAVE``, or Conversion Type ``SI``, ``DF``, ``SD``, ``DI``: captured from a screen
  or film (PS3.3 C.8.6.1.1);
- Recognizable Visual Features (0028,0302) is ``YES`` (PS3.15 E.3.2).
"""

from __future__ import annotations

from typing import Any

_USUALLY = frozenset({"US", "IVUS", "ES", "GM", "XC", "OP", "OT", "SC", "RF", "XA", "DOC", "HC", "SR"})
_CAPTURED = frozenset({"SI", "DF", "SD", "DI"})


def burnt_in_signs(dataset: Any) -> tuple[str, ...]:
    """Return one line per sign that the pixels may identify the patient; empty without signs.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Attributes of the object; pixels are not analysed.

    Examples
    --------
    >>> from pydicom.dataset import Dataset
    >>> echo = Dataset()
    >>> echo.Modality = "US"
    >>> burnt_in_signs(echo)
    ('modality US usually has text burnt into its pixels, and the object does not say that it has none',)
    """
    signs = []
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    modality = str(dataset.get("Modality") or "").strip().upper()
    if said == "YES":
        signs.append("the object says that text is burnt into its pixels")
    elif said != "NO" and modality in _USUALLY:
        signs.append(
            f"modality {modality} usually has text burnt into its pixels, "
            "and the object does not say that it has none"
        )
    image_type = " ".join(map(str, dataset.get("ImageType") or ())).upper()
    if said != "NO" and ("SCREEN SAVE" in image_type or dataset.get("ConversionType") in _CAPTURED):
        signs.append("the image was captured from a screen or film, which may show text")
    if str(dataset.get("RecognizableVisualFeatures") or "").strip().upper() == "YES":
        signs.append("the object says that the patient can be recognised in the image")
    return tuple(signs)
