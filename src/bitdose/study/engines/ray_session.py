"""A connection to Ray: a cluster's, this process's own, or a local Ray that ends with the study.

A study's output contains none of Ray's messages: stdout and stderr of Ray are silenced, no dashboard starts
and no usage statistics leave the machine. Ray's log files stay in their usual place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from bitdose.errors import BitdoseError, MissingBackendError, argument

INSTALL = "pip install 'bitdose[ray]'"

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_ANSWER_S = 10.0
_STDERR = 2
_STORE_BYTES = 256 * 2**20  # of a local Ray without a GPU, whose store holds only rows


def import_ray() -> Any:
    """Import Ray; raises ``MissingBackendError`` with the install command where it is absent."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingBackendError(
            f"{argument('engine', 'ray')}: Ray is missing: {INSTALL} ({error})"
        ) from error
    return ray


@contextlib.contextmanager
def connected(address: str, *, workers: int | None = None, small_store: bool = True) -> Iterator[Any]:
    """Connect to Ray, and restore its state afterwards.

    Parameters
    ----------
    address : str
        A cluster's address; empty takes that of ``RAY_ADDRESS`` (a submitted job has it), else starts
        Ray on this machine and stops it at the end. A process that is already connected stays connected.
    workers : int, optional
        CPUs of a local Ray; None takes the machine's.
    small_store : bool
        Whether a local Ray's store holds only rows, no arrays.

    Yields
    ------
    module
        Ray, connected.

    Raises
    ------
    MissingBackendError
        If Ray is not installed.
    BitdoseError
        If no cluster responds at the address, or Ray does not start.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    muted: Any = _Muted(sys.stdout)
    with contextlib.redirect_stdout(muted):
        try:
            _start(ray, target, workers, small_store=small_store)
            yield ray
        finally:
            with _own_signals():
                ray.shutdown()


def _start(ray: Any, target: str, workers: int | None, *, small_store: bool) -> None:
    options: dict[str, Any] = {
        "address": target, "logging_level": logging.CRITICAL, "configure_logging": False,
        "log_to_driver": False,
    }  # fmt: skip
    if target == "local":
        options |= {"num_cpus": workers or os.cpu_count() or 1, "include_dashboard": False}
        options |= {"object_store_memory": _STORE_BYTES} if small_store else {}
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    _check_answers(target)
    try:
        with _own_signals(), _silent():
            ray.init(**options)
    except Exception as error:  # Ray raises many types of error: only their text is used
        said = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        if target == "local":
            raise BitdoseError(
                f"{argument('engine', 'ray')}: Ray does not start on this machine: {said}"
            ) from error
        raise BitdoseError(
            f"{argument('address', target)}: no Ray cluster that this BitDose can join: {said}; is "
            "it of the same Ray, "
            "and where it asks for a token, is RAY_AUTH_MODE=token set here?"
        ) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence stderr at file-descriptor level while Ray starts: part of its output bypasses Python."""
    with open(os.devnull, "w", encoding="utf-8") as nothing, contextlib.redirect_stderr(nothing):
        try:
            before = os.dup(_STDERR)
        except OSError:  # this process has no stderr
            yield
            return
        os.dup2(nothing.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(before, _STDERR)
            os.close(before)


def _check_answers(target: str) -> None:
    """Reject an address without a listener: Ray would retry for a long time."""
    host, sign, port = target.removeprefix("ray://").rpartition(":")
    if not sign:  # "local", "auto": resolved by Ray
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise BitdoseError(
            f"{argument('address', target)}: expected HOST:PORT of a Ray cluster's head, and "
            "nothing answers there "
            f"({error}); 'ray start --head' prints it"
        ) from error


class _Muted:
    """Stdout without the messages of Ray's threads about lost workers, which Ray cannot disable."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless called from a thread of Ray."""
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Preserve this process's handlers of Ctrl-C and termination, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
