"""Hold-out of patients: a share of each class, by a hash of names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

from bitdose.hashing import digest


def held_out(patients: Mapping[str, Collection[str]], share: float, *, seed: int, name: str) -> set[str]:
    """Choose the patients of the test split, stratified by class.

    A patient with several labels counts for the one that the fewest patients
    have. Of n patients of a class ``floor(share * n + 1/2)`` are held out, and at least one
    if there are two.

    Parameters
    ----------
    patients : mapping of str to collection of str
        Each patient's labels.
    share : float
        In [0, 1].
    seed : int
        Seed of the choice, which is independent of the order of ``patients``.
    name : str
        The set's name, part of the hash.

    Returns
    -------
    set of str
        The held-out patients.

    Examples
    --------
    >>> people = {f"p{number}": ["sick"] for number in range(20)}
    >>> len(held_out(people, 0.1, seed=0, name="doctest"))
    2
    """
    sizes = Counter(label for labels in patients.values() for label in set(labels))
    strata: dict[str, list[str]] = {}
    for patient, labels in patients.items():
        stratum = min(set(labels), key=lambda label: (sizes[label], label))
        strata.setdefault(stratum, []).append(patient)
    chosen: set[str] = set()
    for same in strata.values():
        ranked = sorted(same, key=lambda patient: rank(seed, name, "test", patient))
        chosen.update(ranked[: _n_test(len(same), share)])
    return chosen


def rank(seed: int, *names: str) -> str:
    """Return a sort key that depends on seed and names only."""
    return digest([seed, *names])


def _n_test(n_patients: int, share: float) -> int:
    rounded = math.floor(share * n_patients + 0.5)
    return max(rounded, 1) if n_patients > 1 and share > 0 else rounded
