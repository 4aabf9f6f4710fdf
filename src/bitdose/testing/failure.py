"""How a check fails: one error that names the broken promise and what came instead."""

from __future__ import annotations

from bitdose.errors import BitdoseError


class CheckFailedError(BitdoseError):
    """A plug-in broke a promise of its contract."""


def expect(kept: object, promise: str, came: object = None) -> None:
    """Raise unless a promise is kept.

    Parameters
    ----------
    kept : object
        Taken for its truth.
    promise : str
        What the contract says, in one sentence.
    came : object
        What came instead; left out of the message if None.

    Raises
    ------
    CheckFailedError
        With promise and what came.

    Examples
    --------
    >>> expect(2 > 1, "two is more than one")
    >>> expect(1 > 2, "one is more than two", "one")
    Traceback (most recent call last):
        ...
    bitdose.testing.failure.CheckFailedError: broken promise: one is more than two; got one
    """
    if not kept:
        got = "" if came is None else f"; got {came}"
        raise CheckFailedError(f"broken promise: {promise}{got}")
