"""What the edge to third-party decoders promises."""

import logging
import pickle
import threading
import warnings

import pytest

from bitdose.data.guard import decoding
from bitdose.errors import CaseError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError("image file is truncated (3 bytes)"), "truncated"),
        (EOFError(), "truncated"),
        (NotImplementedError("x"), "unsupported"),
        (MemoryError(), "too-large"),
        (KeyError("Doe"), "unreadable"),
        (CaseError("no-pixels", "none"), "no-pixels"),
    ],
)
def test_every_exception_becomes_a_case_error(error: Exception, status: str) -> None:
    """Whatever a decoder raises fails its case with a status, and its words are not repeated."""
    with pytest.raises(CaseError) as caught, decoding("X"):
        raise error
    assert caught.value.status == status
    assert "Doe" not in caught.value.reason
    assert pickle.loads(pickle.dumps(caught.value)).status == status


def test_an_interrupt_passes() -> None:
    """Ctrl-C is nobody's damaged file."""
    with pytest.raises(KeyboardInterrupt), decoding("X"):
        raise KeyboardInterrupt


def test_quiet_in_this_thread_only(caplog: pytest.LogCaptureFixture) -> None:
    """While one thread decodes, it is silent, others still warn and log, and all is as before after."""
    before = list(warnings.filters)
    heard: list[str] = []

    def elsewhere() -> None:
        try:
            warnings.warn("loud", stacklevel=1)
        except UserWarning as warning:
            heard.append(str(warning))
        logging.getLogger("pydicom").warning("loud")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with decoding("X"), decoding("X"):
            warnings.warn("quiet", stacklevel=1)
            logging.getLogger("pydicom").warning("quiet")
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
        with pytest.raises(UserWarning, match="again"):
            warnings.warn("again", stacklevel=1)
    assert heard == ["loud"]
    assert caplog.messages == ["loud"]
    assert list(warnings.filters) == before
