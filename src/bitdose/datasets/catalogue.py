"""The sets that are known by name: those that can be fetched, and how to get the others by hand.

A set that can be fetched is a manifest in ``sets/``, made from real files by
``training/catalogue.py``. A set behind a registration, or without published digests, is
never fetched here: :data:`BY_HAND` says where it is and what to do with it then.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bitdose.datasets.manifest import Manifest, is_web_url, parse_manifest
from bitdose.datasets.web import PATIENT, How, read_url
from bitdose.errors import UsageError, command

FETCHED = ("cxr-public",)
_MAX_MANIFEST_BYTES = 1 << 26


@dataclass(frozen=True)
class ByHand:
    """A set that a person must get.

    Parameters
    ----------
    name : str
        The word on the command line.
    what : str
        What it is.
    licence : str
        Under which terms.
    how : str
        Where, and what to do with it then.
    """

    name: str
    what: str
    licence: str
    how: str


BY_HAND = (
    ByHand(
        "covid-chestxray",
        "COVID-19 image data collection (Cohen et al.), part of the paper's X-ray set",
        "per image, see its metadata.csv; research only",
        "git clone https://github.com/ieee8023/covid-chestxray-dataset; then 'bitdose data make "
        "covidx' arranges it",
    ),
    ByHand(
        "rsna-pneumonia",
        "RSNA Pneumonia Detection Challenge 2018, stage 2, part of the paper's X-ray set",
        "RSNA's terms of use and attribution; registration with Kaggle",
        "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge, Data, Download all, unzip; the "
        "mappings to NIH patients are on RSNA's page; then 'bitdose data make covidx' arranges it",
    ),
    ByHand(
        "ixi-t1",
        "IXI T1 volumes of healthy people, part of the paper's brain set",
        "CC BY-SA 3.0",
        "https://brain-development.org/ixi-dataset/, T1 images (a tar file without a published SHA-256), "
        "unpack; then 'bitdose data make brain' arranges it",
    ),
    ByHand(
        "brats2019",
        "BraTS 2019 training data, gliomas of high and low grade, part of the paper's brain set",
        "registration; research only",
        "https://www.med.upenn.edu/cbica/brats2019/registration.html, MICCAI_BraTS_2019_Data_Training, "
        "unzip; then 'bitdose data make brain' arranges it",
    ),
)


def find_manifest(name: str, *, how: How = PATIENT) -> Manifest:
    """Return the manifest of a name, a file or a URL.

    Parameters
    ----------
    name : str
        A name of the catalogue, a path to a JSON file, or its http(s) URL.
    how : How
        Patience, for a URL.

    Raises
    ------
    UsageError
        If it is none of these, must be got by hand, or is no sound manifest.
    FetchError
        If the URL does not respond.
    """
    if name in FETCHED:
        return parse_manifest(files(__package__).joinpath("sets", f"{name}.json").read_bytes(), name)
    for known in BY_HAND:
        if name == known.name:
            raise UsageError(f"{name} cannot be fetched by a program ({known.licence}): {known.how}")
    if is_web_url(name):
        return parse_manifest(read_url(name, max_bytes=_MAX_MANIFEST_BYTES, how=how), "of that URL")
    path = Path(name)
    if path.is_file():
        try:
            return parse_manifest(path.read_bytes(), path.name)
        except OSError as error:
            raise UsageError(f"manifest {path.name}: cannot be read: {error.strerror}") from None
    raise UsageError(_unknown(name))


def _unknown(name: str) -> str:
    known = (*FETCHED, *(each.name for each in BY_HAND))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"unknown set {name!r}: expected a name, a manifest's path or its URL; {hint}"
        f"{command('data get', python='bitdose.datasets.catalogue.FETCHED')} "
        "lists the names"
    )
