"""Ray engine: the local engine's worker as Ray actors on many machines.

Actors rather than Ray Data: a case is small on the way in and on the way out (a path; a few dozen rows),
and the costly state is in the process (a loaded classifier). Ray Data's blocks would put many cases
into one task, so a lost node would repeat a block of them, and finished rows would wait for their
block's end; its own back-pressure counts bytes that do not apply here. So each actor takes
a case at a time and has one more queued, so that it never idles:

- the classifier runs on the CPU: one :class:`~bitdose.study.engines.ray_actors.CaseWorker` per CPU;
- it runs on a GPU: a :class:`~bitdose.study.engines.ray_actors.Coder` per CPU, which hands its arrays
  through Ray's store, not through this process, to a ``CaseWorker`` per GPU. The number of cases between
  the two stages is bounded by the classifiers' throughput, so the store does not grow.

An actor that dies, with its process or its node, is replaced while the cluster has room; the cases it
had run again elsewhere. A case on which three processes died is a failed row, as with the local
engine. New nodes get actors as they join.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError, UsageError, argument
from bitdose.study.engines.local import Finished
from bitdose.study.engines.ray_actors import CaseWorker, Coder, Order
from bitdose.study.engines.ray_session import connected, import_ray
from bitdose.study.plan import Plan
from bitdose.study.rows import Row
from bitdose.study.worker import failed_rows

_IN_HAND = 2  # cases queued at an actor: the current and the next one
_MAX_DEATHS = 3
_LOOK_S = 5.0  # between two checks of the cluster's size
_START_S = 300.0  # without any running actor: the cluster has no room


def check_ray(plan: Plan) -> None:
    """Reject, before anything is written, a plan that no Ray worker can run.

    Raises
    ------
    UsageError
        If the classifier is an object of this process.
    MissingBackendError
        If Ray is not installed.
    """
    if plan.job.model is None:
        raise UsageError(
            f"{argument('engine', 'ray')}: the classifier must be given by reference (a file, "
            "module:factory or a name): "
            "one handed over as an object runs in its own process only; use the local engine"
        )
    import_ray()


def run_in_ray(
    plan: Plan, cases: Sequence[Case], *, workers: int | None = None, split: bool | None = None
) -> Iterator[Finished]:
    """Run cases on a Ray cluster, or on this machine with a Ray of its own.

    Parameters
    ----------
    plan : Plan
        The study; ``plan.spec.address`` names the cluster.
    cases : sequence of Case
        Cases to run.
    workers : int, optional
        Actors that code; None takes one per CPU of the cluster.
    split : bool, optional
        Whether codecs and classifier have actors of their own; None: where the classifier is on a GPU.

    Yields
    ------
    tuple of Case and list of dict
        Each case with its rows, as they finish.

    Raises
    ------
    BitdoseError
        If there is no cluster, or no actor can start.
    """
    if not cases:
        return
    apart = plan.classifier.device != "cpu" if split is None else split
    with connected(plan.spec.address, workers=workers, small_store=not apart) as ray:
        team = Team(ray, plan, cases, workers=workers, split=apart)
        try:
            yield from team.run()
        finally:
            team.dismiss()


@dataclass(eq=False)
class _Member:
    """One actor and its queued cases, oldest first."""

    actor: Any
    codes: bool
    is_ready: bool = False
    is_gone: bool = False
    cases: dict[int, Case] = field(default_factory=dict)


@dataclass(frozen=True)
class _Event:
    """Result of one call: its case (None for the actor's start), its value, and the arrays' address."""

    member: _Member
    call: int
    future: Any
    arrays: Any = None


class Team:
    """The actors of one study, their queues, and their results.

    ``repeated`` counts the cases that were rescheduled because of a lost process or node.
    """

    def __init__(
        self, ray: Any, plan: Plan, cases: Sequence[Case], *, workers: int | None, split: bool
    ) -> None:
        self._ray, self._workers, self._split = ray, workers, split
        self._order = Order(plan.job, plan.classifier.name, plan.classifier.spec, plan.identity)
        self._waiting = deque(cases)
        self._coded: deque[tuple[Case, Any]] = deque()
        self._members: list[_Member] = []
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._deaths: Counter[str] = Counter()
        self._calls = 0
        self._failed_starts = 0
        self._looked_at = self._working_at = time.monotonic()
        self.repeated = 0

    def run(self) -> Iterator[Finished]:
        """Schedule cases and yield rows until none is left."""
        self._recruit()
        free = self._members
        while self._waiting or self._coded or any(member.cases for member in self._members):
            if time.monotonic() - self._looked_at > _LOOK_S:
                self._recruit()
            self._give_out(free)
            try:
                event = self._events.get(timeout=1.0)
            except queue.Empty:
                self._check_working()
                free = self._members
                continue
            yield from self._take(event)
            # After a normal result only its actor has become free; the shortcut matters with 1,000 actors.
            plain = event.member.is_ready and event.future.exception() is None and not self._split
            free = [event.member] if plain else self._members

    def dismiss(self) -> None:
        """End every actor."""
        for member in self._members:
            self._end(member)
        self._members = []

    def _recruit(self) -> None:
        """Start as many actors as the cluster has room for and the remaining cases need."""
        found = self._ray.cluster_resources()
        self._looked_at = time.monotonic()
        left = len(self._waiting) + len(self._coded) + sum(len(member.cases) for member in self._members)
        # At least one, even without room: a pending actor triggers autoscaling.
        coders = min(self._workers or max(1, int(found.get("CPU", 0))), left) - self._failed_starts
        wanted = {True: coders, False: min(max(1, int(found.get("GPU", 0))), left) if self._split else 0}
        for codes, count in wanted.items():
            have = sum(member.codes is codes for member in self._members)
            for _ in range(count - have):
                self._hire(codes=codes)

    def _hire(self, *, codes: bool) -> None:
        kind = Coder if self._split and codes else CaseWorker
        needs = {"num_cpus": 1} if codes else {"num_cpus": 0, "num_gpus": 1}
        remote = self._ray.remote(kind).options(**needs, max_restarts=0, scheduling_strategy="SPREAD")
        member = _Member(remote.remote(self._order), codes)
        self._members.append(member)
        self._await(member, None, member.actor.ready.remote())

    def _give_out(self, members: Sequence[_Member]) -> None:
        """Send ready actors their next cases; a coder too far ahead of the classifiers waits."""
        for member in members:
            # Near the end no actor queues a case that another could run.
            most = _IN_HAND if not member.codes or len(self._waiting) > len(self._members) else 1
            while member.is_ready and len(member.cases) < most:
                if not member.codes:
                    if not self._coded:
                        break
                    case, arrays = self._coded.popleft()
                    self._await(member, case, member.actor.read.remote(arrays))
                elif not self._waiting or self._is_ahead():
                    break
                else:
                    self._give(member, self._waiting.popleft())

    def _give(self, member: _Member, case: Case) -> None:
        if self._split:
            said, arrays = member.actor.code.options(num_returns=2).remote(case)
            self._await(member, case, said, arrays)
        else:
            self._await(member, case, member.actor.run.remote(case))

    def _is_ahead(self) -> bool:
        """Whether enough cases are in flight: being coded, coded, or being classified."""
        readers = sum(not member.codes for member in self._members)
        between = len(self._coded) + sum(len(m.cases) for m in self._members)
        coders = len(self._members) - readers
        return self._split and between >= _IN_HAND * (coders + readers)

    def _await(self, member: _Member, case: Case | None, ref: Any, arrays: Any = None) -> None:
        self._calls += 1
        call = self._calls
        if case is not None:
            member.cases[call] = case
        ref.future().add_done_callback(lambda done: self._events.put(_Event(member, call, done, arrays)))

    def _take(self, event: _Event) -> Iterator[Finished]:
        """Handle one event; events of a removed actor are ignored."""
        member, error = event.member, event.future.exception()
        if member.is_gone:
            return
        case = member.cases.get(event.call)
        if case is None:
            self._started(member, None if error else event.future.result(), error)
        elif error is None:
            del member.cases[event.call]
            self._working_at = time.monotonic()
            yield from self._finished(case, event)
        elif isinstance(error, self._ray.exceptions.RayActorError):
            yield from self._lost(member)
        else:
            del member.cases[event.call]
            yield from self._failed(case, error)

    def _started(self, member: _Member, wrong: BitdoseError | None, error: BaseException | None) -> None:
        if wrong is not None:
            raise wrong
        if error is None:
            member.is_ready = True
            self._working_at = time.monotonic()
            return
        self._leave(member)
        self._failed_starts += 1
        if not self._members:
            raise BitdoseError(
                f"{argument('engine', 'ray')}: no worker can start: {_last_line(error)}; BitDose "
                "must be installed on every "
                "machine of the cluster"
            ) from error

    def _finished(self, case: Case, event: _Event) -> Iterator[Finished]:
        result = event.future.result()
        if event.arrays is not None and result is None:
            self._coded.append((case, event.arrays))
            return
        if isinstance(result, BitdoseError):
            raise result
        yield case, result

    def _lost(self, member: _Member) -> Iterator[Finished]:
        """Replace an actor; its current case counts a death, its queued case does not."""
        cases = list(member.cases.values())
        member.cases.clear()
        self._leave(member)
        self._waiting.extendleft(reversed(cases[1:]))
        self.repeated += len(cases) - 1
        yield from self._again(cases[0])
        self._recruit()

    def _failed(self, case: Case, error: Exception) -> Iterator[Finished]:
        """Reschedule a case whose arrays were lost with a node; an actor's own error is a failed row."""
        if isinstance(getattr(error, "cause", error), self._ray.exceptions.RayError):
            yield from self._again(case)
        else:
            kind = type(getattr(error, "cause", error)).__name__
            yield case, self._failed_rows(case, "crashed", f"{kind} while the case was worked on")

    def _again(self, case: Case) -> Iterator[Finished]:
        self._deaths[case.id] += 1
        if self._deaths[case.id] >= _MAX_DEATHS:
            reason = f"the worker process ended {_MAX_DEATHS} times on this case"
            yield case, self._failed_rows(case, "worker-died", reason)
        else:
            self.repeated += 1
            self._waiting.appendleft(case)

    def _failed_rows(self, case: Case, status: str, reason: str) -> list[Row]:
        return failed_rows(case, self._order.job, self._order.model, CaseError(status, reason))

    def _check_working(self) -> None:
        if any(member.is_ready for member in self._members):
            self._working_at = time.monotonic()
        elif time.monotonic() - self._working_at > _START_S:
            raise BitdoseError(
                f"{argument('engine', 'ray')}: no worker could start in {_START_S:.0f} s: the "
                "cluster has no CPU "
                "(or GPU) free"
            )

    def _leave(self, member: _Member) -> None:
        self._members.remove(member)
        member.is_ready, member.is_gone = False, True
        self._end(member)

    def _end(self, member: _Member) -> None:
        with contextlib.suppress(Exception):  # the actor or the cluster is already gone
            self._ray.kill(member.actor)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
