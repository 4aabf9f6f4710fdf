"""The exceptions of BitDose: one root, translated only at the edges.

The command line turns a :class:`BitdoseError` into one line on stderr and its
``exit_code``; the study turns a :class:`CaseError` into failed rows and goes on.
"""


class BitdoseError(Exception):
    """Root of every error that BitDose raises on purpose.

    The message is one line for a person: which argument, what was expected, what
    came, what to do. ``exit_code`` is 1 where the work failed and 2 where the call
    was wrong.
    """

    exit_code = 1


class UsageError(BitdoseError):
    """The call was wrong: an argument, an option, a spec."""

    exit_code = 2


class MissingBackendError(BitdoseError):
    """An optional library is absent; the message holds the install command."""


class CaseError(BitdoseError):
    """One case cannot be read, coded or classified; the study goes on without it.

    Parameters
    ----------
    status : str
        Short machine-readable word for the ``status`` column, such as ``unreadable``.
    reason : str
        One line for a person, without patient data.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason

    def __reduce__(self) -> tuple[type["CaseError"], tuple[str, str]]:
        """Keep status and reason when the error crosses a process."""
        return type(self), (self.status, self.reason)
