"""The paper's brain set from IXI (healthy) and the training data of BraTS 2019.

| source | files | label | patient |
| --- | --- | --- | --- |
| IXI | ``IXI<number>-<site>-<scan>-T1.nii[.gz]``, anywhere below | healthy | the number |
| BraTS 2019 | ``<name>_t1ce.nii[.gz]`` below a folder ``HGG`` or ``LGG`` | HGG, LGG | the name |

Every volume is opened once: an unreadable one is excluded and counted, and the columns
give orientation, shape, spacing and skull stripping. The paper cannot have used all of
IXI's 581 volumes (``paper.py``): 259 are selected by a hash of their numbers, and a
damaged one is replaced by the next.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bitdose.data.base import Case, Scalar
from bitdose.datasets.arrange import Arranged
from bitdose.datasets.inputs import Watch, existing_folder
from bitdose.datasets.paper import absent_warning, paper_set
from bitdose.datasets.split import held_out, rank
from bitdose.datasets.volume import VolumeLook, look_at_volume
from bitdose.errors import CaseError, argument

IXI_SOURCE, BRATS_SOURCE = "ixi", "brats2019"
HEALTHY = "healthy"
PAPER_HEALTHY = paper_set("brain").inferred[HEALTHY]
_IXI_NAME = re.compile(r"IXI(\d{1,6})-[\w.+-]*T1\.nii(?:\.gz)?", re.ASCII)
_BRATS_NAME = re.compile(r"([\w.+-]+)_t1ce\.nii(?:\.gz)?", re.ASCII)
_CONFOUND = (
    "healthy volumes are T1 of one project, tumours contrast-enhanced T1 of another: a network can learn the "
    "source; report per case_source"
)
_GRADES = {"hgg": "HGG", "lgg": "LGG"}


@dataclass(frozen=True)
class _Found:
    """File of one volume, before it is opened."""

    label: str
    patient: str
    path: Path


def make_brain(
    ixi: Path,
    brats: Path,
    *,
    healthy: int | None = PAPER_HEALTHY,
    seed: int = 0,
    watch: Watch | None = None,
) -> Arranged:
    """Arrange the two downloads as the paper's brain set.

    Parameters
    ----------
    ixi, brats : pathlib.Path
        The folders of the two downloads; files may lie deeper.
    healthy : int or None
        Number of IXI volumes; None for all.
    seed : int
        Seed of the selection and of the hold-out.
    watch : callable, optional
        Called after each volume with the numbers of processed and of all volumes.

    Returns
    -------
    Arranged
        Cases of ``train`` and ``test``, with the exclusions by reason.

    Raises
    ------
    UsageError
        If ``ixi`` or ``brats`` is not a folder.
    """
    ixi = existing_folder(argument("ixi"), ixi, "a folder of IXI's T1 volumes (IXI*-T1.nii.gz)")
    brats = existing_folder(argument("brats"), brats, "the training data of BraTS 2019 (HGG/ and LGG/)")
    dropped: Counter[str] = Counter()
    whole = _one_per_patient(sorted(_ixi_files(ixi, dropped), key=_by_patient), "IXI", dropped)
    tumours = _one_per_patient(sorted(_brats_files(brats, dropped), key=_by_patient), "BraTS", dropped)
    whole.sort(key=lambda found: rank(seed, "brain", HEALTHY, found.patient))
    wanted = len(whole) if healthy is None else min(healthy, len(whole))
    total = wanted + len(tumours)
    cases, _ = _opened(tumours, len(tumours), dropped, watch, (0, total))
    taken, n_beyond = _opened(whole, wanted, dropped, watch, (len(tumours), total))
    cases += taken
    if n_beyond:
        dropped["IXI: not needed (more than the healthy volumes asked for)"] = n_beyond
    share = paper_set("brain").test_share
    test = held_out({case.patient: [case.label] for case in cases}, share, seed=seed, name="brain")
    cases = [replace(case, split="test" if case.patient in test else "train") for case in cases]
    cases.sort(key=lambda case: (case.columns["source"] != IXI_SOURCE, case.label, case.id))
    options = {"seed": seed, "test_share": share, "healthy": "all" if healthy is None else healthy}
    inputs = {"ixi": {"volumes": len(whole)}, "brats": {"volumes": len(tumours)}}
    warnings = _warnings(cases, wanted if healthy is None else healthy, len(taken))
    return Arranged("brain", tuple(cases), dict(dropped.most_common()), warnings, options, inputs)


def stripping_warning(states: dict[str, Counter[str]]) -> str | None:
    """Return a warning if skull stripping is confounded with the class, else None.

    Parameters
    ----------
    states : dict of str to Counter of str
        Label to numbers of ``true``, ``false`` and ``unknown``.

    Examples
    --------
    >>> stripping_warning({"healthy": Counter(true=3), "HGG": Counter(true=2)}) is None
    True
    """
    kinds = {label: set(counts) - {"unknown"} for label, counts in states.items()}
    told = {label: next(iter(found)) for label, found in kinds.items() if len(found) == 1}
    if len(set(told.values())) < 2:  # noqa: PLR2004
        return None
    stripped = ", ".join(sorted(label for label, state in told.items() if state == "true"))
    whole = ", ".join(sorted(label for label, state in told.items() if state == "false"))
    return (
        f"skull stripping is confounded with the class (stripped: {stripped}; not: {whole}): a network can "
        "classify by the skull; strip the other volumes too before interpreting an accuracy"
    )


def _ixi_files(folder: Path, dropped: Counter[str]) -> Iterator[_Found]:
    for path in _nifti_files(folder, dropped, "IXI"):
        name = _IXI_NAME.fullmatch(path.name)
        if name is None:
            dropped["IXI: NIfTI file is not named IXI<number>-…-T1"] += 1
        else:
            yield _Found(HEALTHY, f"{IXI_SOURCE}:{int(name[1]):03d}", path)


def _brats_files(folder: Path, dropped: Counter[str]) -> Iterator[_Found]:
    for path in _nifti_files(folder, dropped, "BraTS"):
        name = _BRATS_NAME.fullmatch(path.name)
        if name is None:
            continue  # the other sequences and the segmentation
        above = [_GRADES[part.lower()] for part in path.parent.parts if part.lower() in _GRADES]
        if above:
            yield _Found(above[-1], f"{BRATS_SOURCE}:{name[1]}", path)
        else:
            dropped["BraTS: volume lies below neither HGG nor LGG"] += 1


def _nifti_files(folder: Path, dropped: Counter[str], source: str) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        below.sort()
        for name in sorted(names):
            if name.startswith(".") or not name.lower().endswith((".nii", ".nii.gz")):
                continue
            path = Path(place, name)
            if path.as_posix().isprintable():
                yield path
            else:  # non-UTF-8 names cannot be stored in a table
                dropped[f"{source}: file name is no plain text"] += 1


def _by_patient(found: _Found) -> tuple[str, str]:
    return found.patient, found.path.as_posix()


def _one_per_patient(volumes: list[_Found], source: str, dropped: Counter[str]) -> list[_Found]:
    """Keep one volume per patient, none of a patient with two labels."""
    labels: dict[str, set[str]] = {}
    for found in volumes:
        labels.setdefault(found.patient, set()).add(found.label)
    kept: dict[str, _Found] = {}
    for found in volumes:
        if len(labels[found.patient]) > 1:
            dropped[f"{source}: patient has two labels"] += 1
        elif found.patient in kept:
            dropped[f"{source}: a second volume of a patient"] += 1
        else:
            kept[found.patient] = found
    return list(kept.values())


def _opened(
    volumes: list[_Found], wanted: int, dropped: Counter[str], watch: Watch | None, bar: tuple[int, int]
) -> tuple[list[Case], int]:
    """Open volumes in order until enough are valid; also return the number of unused ones."""
    cases: list[Case] = []
    for tried, found in enumerate(volumes):
        if len(cases) == wanted:
            return cases, len(volumes) - tried
        try:
            look = look_at_volume(_bytes_of(found.path))
        except CaseError as error:
            name = "IXI" if found.label == HEALTHY else "BraTS"
            dropped[f"{name}: volume is {error.status}"] += 1
            continue
        cases.append(_case(found, look))
        if watch is not None:
            watch(bar[0] + len(cases), bar[1])
    return cases, 0


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaseError("unreadable", f"the file cannot be opened ({type(error).__name__})") from None


def _case(found: _Found, look: VolumeLook) -> Case:
    source, _, name = found.patient.partition(":")
    columns: dict[str, Scalar] = {
        "source": source,
        "sequence": "T1" if found.label == HEALTHY else "T1ce",
        "orientation": look.orientation,
        "shape": "x".join(map(str, look.shape)),
        "spacing_mm": "x".join(f"{side:g}" for side in look.spacing_mm),
        "skull_stripped": look.skull_stripped,
        "zero_share": round(look.zero_share, 4),
        "border_zero_share": round(look.border_zero_share, 4),
        "original": found.path.name,
    }
    return Case(f"{source}/{name}", found.label, found.path, found.patient, columns=columns)


def _warnings(cases: list[Case], wanted: int, n_healthy: int) -> tuple[str, ...]:
    found = [_CONFOUND]
    states: dict[str, Counter[str]] = {}
    for case in cases:
        states.setdefault(case.label, Counter())[str(case.columns["skull_stripped"])] += 1
    confound = stripping_warning(states)
    if confound:
        found.append(confound)
    if n_healthy < wanted:
        found.append(f"{n_healthy} sound IXI volumes, {wanted} asked for")
    return (*found, *absent_warning("brain", states))
