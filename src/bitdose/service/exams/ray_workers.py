"""Classifier workers as Ray actors, on all machines of a cluster, with the same queue.

No exam data pass through Ray: like a worker process, an actor claims exams in the database, reads their
bytes from the store and stores the predictions, so the contract of ``queue.py`` holds. The driver process
releases a dead actor's claims at once; if the driver is killed, Ray ends its actors and their leases expire.

``main`` is the driver. It is separate from the web process, because Ray ends its driver when the cluster goes
down.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import secrets
import signal
import socket
import sys
import threading
from typing import Any

from bitdose.errors import BitdoseError, MissingBackendError, argument
from bitdose.service.db.database import make_engine
from bitdose.service.exams import worker
from bitdose.service.exams.supervisor import Workers
from bitdose.service.problems import where
from bitdose.service.settings import Settings

WATCH_S = 0.2
LOCAL_STORE_BYTES = 80_000_000
"""Size of Ray's object store on one machine: unused, Ray's minimum."""

_LOG = logging.getLogger("bitdose.service.exams.ray_workers")
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry from a service with patients' images
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # restricts Ray's ports to loopback on every system
    "RAY_AUTH_MODE": "token",
}
_KNOCK_S = 5.0
_HOST_AND_PORT = re.compile(r"\[?([0-9A-Za-z.:-]+?)\]?:([0-9]{1,5})")


class Actor:
    """Ray actor: a worker, with a second thread that can stop it.

    Parameters
    ----------
    settings : Settings
        The service's.
    name : str
        The worker's.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name
        self._told = threading.Event()

    def pid(self) -> int:
        """Return the process's id."""
        return os.getpid()

    def run(self) -> str:
        """Process exams until stopped; return the reason of a failure, or an empty text."""
        try:
            worker.work(self._settings, self._name, stopped=self._told.is_set)
        except BitdoseError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  its text may hold what an exam held
            return where(error)
        return ""

    def stop(self) -> None:
        """Stop after the current exams."""
        self._told.set()


class RayWorker:
    """A worker in an actor with one CPU, restarted by its supervisor instead of Ray.

    Parameters
    ----------
    settings : Settings
        The service's.
    name : str
        The worker's.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        ray = load_ray()
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": 2}
        self._actor: Any = ray.remote(Actor).options(**options).remote(settings, name)
        self._end = self._actor.run.remote()

    def pid(self) -> int | None:
        """Ask the actor, which may not have a process yet."""
        ray = load_ray()
        try:
            return int(ray.get(self._actor.pid.remote(), timeout=30))
        except ray.exceptions.RayError:
            return None

    def is_alive(self) -> bool:
        """Whether work and process are still running."""
        return not self.wait(0)

    def why_ended(self) -> str:
        """Describe how work or process ended, and remove remains of the actor."""
        ray = load_ray()
        try:
            said = str(ray.get(self._end, timeout=0))
        except ray.exceptions.RayError as error:
            said = type(error).__name__
        self.kill()
        return f"a Ray actor ({said or 'told to'})"

    def tell_to_stop(self) -> None:
        """Call the actor's stop method."""
        self._actor.stop.remote()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of its work."""
        return bool(load_ray().wait([self._end], timeout=seconds)[0])

    def kill(self) -> None:
        """End its process."""
        load_ray().kill(self._actor, no_restart=True)


def load_ray() -> Any:
    """Import Ray; raises ``MissingBackendError`` with the command to install it."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingBackendError(
            f"serve {argument('workers_on', 'ray')} needs ray: pip install 'bitdose[ray]' ({error})"
        ) from error
    return ray


def connect(address: str, n_workers: int) -> Any:
    """Connect to a cluster; an empty address starts one on this machine, reachable from it only.

    Raises
    ------
    BitdoseError
        If there is no cluster at the address.
    """
    if not address:
        os.environ.update(_ALONE, RAY_AUTH_TOKEN=secrets.token_hex(32))
    ray = load_ray()
    alone = {
        "address": "local",
        "num_cpus": n_workers,
        "include_dashboard": False,
        "object_store_memory": LOCAL_STORE_BYTES,
    }
    try:
        _knock(address)
        ray.init(logging_level=logging.ERROR, **({"address": address} if address else alone))
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        place = f"at {address}" if address else "on this machine"
        raise BitdoseError(f"{argument('workers_on')}: no Ray {place} ({type(error).__name__})") from error
    return ray


def _knock(address: str) -> None:
    """Check for a listener, since Ray retries for minutes."""
    if found := _HOST_AND_PORT.fullmatch(address):
        socket.create_connection((found[1], int(found[2])), timeout=_KNOCK_S).close()


def main(settings: Settings, _name: str) -> None:
    """Run the actors until stopped or the service is gone, as the driver process."""
    told = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        ray = connect(settings.ray_address or "", settings.workers)
    except BitdoseError as error:
        _LOG.error("%s", error)
        sys.exit(error.exit_code)
    signal.signal(signal.SIGTERM, lambda *_: told.set())  # Ray sets its own when it connects
    engine = make_engine(settings.database_url)
    workers = Workers(engine, lambda name: RayWorker(settings, name), settings.workers)
    parent = multiprocessing.parent_process()
    try:
        while not told.is_set() and (parent is None or parent.is_alive()):
            _look(workers)
            told.wait(WATCH_S)
        workers.stop()
    finally:
        engine.dispose()
        ray.shutdown()


def _look(workers: Workers) -> None:
    try:
        workers.look()
    except Exception as error:  # noqa: BLE001  a database that is away must not end the workers
        _LOG.error("looking after the workers failed: %s", where(error))
