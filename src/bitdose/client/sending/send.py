"""Sender: uploads the queue, resumes after interruptions, polls for predictions, backs off.

Priorities: coded exams, then predictions, then the sentinel's pristine images, which are sent in pieces that
can be preempted. After a failure the next try waits a random time of up to twice the previous limit, at most
a minute, or as long as the service asks; any progress resets the backoff.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ValidationError

from bitdose.client.sending.connection import (
    GoneError,
    LaterError,
    RefusedError,
    Server,
    check,
    over_the_link,
)
from bitdose.client.sending.outbox import Item, ItemState, Outbox, can_wait
from bitdose.client.sending.tus import PendingUpload, announce, append, find
from bitdose.errors import BitdoseError, command
from bitdose.wire import EXAMS, ExamState, ExamView

if TYPE_CHECKING:
    import httpx

SMALL_BYTES = 16_384
"""Largest exam that is sent with the creating request, at the first try."""
PIECE_BYTES = 65_536
"""Of a pristine image, between two checks of the queue."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_ASK_S, _ASK_AGAIN_S = 20, 30.0
_HOLD_S = 5
"""How long the service may delay the acknowledgement of an exam, to include the prediction."""
_LOOK_S = 2.0
_ENDS = {
    ExamState.ANSWERED: ItemState.ANSWERED,
    ExamState.REFUSED: ItemState.REFUSED,
    ExamState.FAILED: ItemState.FAILED,
}


class Event(NamedTuple):
    """Progress event for display.

    Parameters
    ----------
    what : str
        Type of the event.
    item : Item or None
        The exam before the event; None for the connection.
    text : str
        Reason, or id of the exam.
    n_bytes : int
        Number of payload bytes passed to the connection.
    view : ExamView or None
        The prediction.
    """

    what: Literal["bytes", "resumed", "sent", "answered", "refused", "failed", "waiting"]
    item: Item | None = None
    text: str = ""
    n_bytes: int = 0
    view: ExamView | None = None


class Sender:
    """Sender of the queue's exams for one service.

    Parameters
    ----------
    outbox : Outbox
        The queue; allows one sender at a time.
    server : Server
        Service and credentials.
    client : httpx.Client
        Output of :func:`bitdose.client.sending.connection.connect`.
    say : callable, optional
        Called for each event.
    rng : random.Random, optional
        Random generator of the waiting times.
    """

    def __init__(
        self,
        outbox: Outbox,
        server: Server,
        client: httpx.Client,
        *,
        say: Callable[[Event], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._outbox, self._server, self._client = outbox, server.name, client
        self._say = say or (lambda _event: None)
        self._rng = rng or random.Random()  # noqa: S311  waiting times are no secret
        self._failures, self._not_before = 0, 0.0
        self._last_progress = time.monotonic()

    def run(
        self,
        *,
        idle: bool = False,
        forever: bool = False,
        patience_s: float = 600.0,
        take_in: Callable[[], None] | None = None,
    ) -> None:
        """Send until no urgent exam is left.

        Parameters
        ----------
        idle : bool
            Send the sentinel's pristine images too before returning.
        forever : bool
            Do not return; pristine images are sent when idle.
        patience_s : float
            Without ``forever``: timeout without progress, in seconds.
        take_in : callable, optional
            Called between two steps, at least every two seconds, to look for new files.

        Raises
        ------
        StopError
            Someone has to set something right.
        BitdoseError
            No progress for ``patience_s`` seconds; unsent exams stay in the queue.
        """
        self._last_progress = time.monotonic()
        while True:
            if take_in is not None:
                take_in()
            wait = self.step(idle=idle or forever, ask_s=1 if take_in else _ASK_S)
            if wait is None and not forever:
                return
            stuck = time.monotonic() - self._last_progress
            if not forever and stuck > patience_s:
                raise BitdoseError(
                    f"no progress for {stuck:.0f} s; unsent exams stay in the queue: "
                    f"{command('send', python='sending again')} goes on"
                )
            time.sleep(min(_LOOK_S if wait is None else wait, _LOOK_S))

    def step(self, *, idle: bool = True, ask_s: int = 0) -> float | None:
        """Perform the next step.

        Parameters
        ----------
        idle : bool
            Whether to include pristine images.
        ask_s : int
            How long the service may delay a pending prediction, in seconds.

        Returns
        -------
        float or None
            Seconds until the next step; None if nothing is left.

        Raises
        ------
        StopError
            Someone has to set something right.
        """
        early = self._not_before - time.monotonic()
        if early > 0:
            return early
        try:
            return self._next(idle=idle, ask_s=ask_s)
        except LaterError as error:
            wait = self._backoff(error.after_s)
            self._say(Event("waiting", None, f"{error}; trying again in {wait:.0f} s"))
            return wait

    def _next(self, *, idle: bool, ask_s: int) -> float | None:
        waiting = self._outbox.next_waiting(self._server)
        if waiting is not None and not can_wait(waiting.meta):
            self._deliver(waiting)
            return 0.0
        sent = self._outbox.next_sent(self._server, time.time(), urgent=not idle)
        if sent is not None:
            self._ask(sent, 0 if idle and waiting is not None else ask_s)
            return 0.0
        if waiting is not None and idle:
            self._deliver(waiting)
            return 0.0
        due = self._outbox.next_due(self._server, urgent=not idle)
        return None if due is None else max(due - time.time(), 0.0)

    def _deliver(self, item: Item) -> None:
        try:
            self._outbox.check_payload(item)
        except BitdoseError as error:
            self._end(item, ItemState.FAILED, str(error))
            return
        self._outbox.tried(item)
        try:
            self._send(item)
        except GoneError:  # it expired there: the next try restarts
            self._outbox.begun(item, "")
            raise LaterError("the service has deleted the partial upload") from None
        except RefusedError as error:
            self._end(item, ItemState.REFUSED, str(error))

    def _send(self, item: Item) -> None:
        total = item.meta.payload_bytes
        with self._outbox.reading(item) as read:
            upload = self._begin(item, read)
            while not upload.exam:
                if upload.offset >= total:
                    self._outbox.begun(item, "")
                    raise LaterError("the service has all bytes but no exam")
                if can_wait(item.meta) and self._someone_waits():
                    return
                end = min(upload.offset + PIECE_BYTES, total) if can_wait(item.meta) else total
                upload = append(self._client, upload, read, end=end, on_bytes=self._tick(item))
                self._progress()
        self._outbox.arrived(item, upload.exam, due=time.time())
        self._progress()
        self._say(Event("sent", item, upload.exam, total))
        if upload.view:
            self._heard(replace(item, exam=upload.exam), upload.view, held=True)

    def _someone_waits(self) -> bool:
        answer_due = self._outbox.next_sent(self._server, time.time(), urgent=True)
        return answer_due is not None or self._outbox.has_urgent(self._server)

    def _begin(self, item: Item, read: Callable[[int, int], bytes]) -> PendingUpload:
        """Find the started upload, or create one."""
        if item.upload:
            upload = find(self._client, item.upload)
            if upload.offset:
                self._progress()
                self._say(Event("resumed", item, "", upload.offset))
            return upload
        small = item.tries == 0 and item.meta.payload_bytes <= SMALL_BYTES
        alone = not self._outbox.has_urgent(self._server, besides=item)
        body = read(0, SMALL_BYTES) if small else b""
        upload = announce(self._client, item.meta, body=body, wait_s=_HOLD_S if alone else 0)
        self._outbox.begun(item, upload.path)
        return upload

    def _ask(self, item: Item, wait_s: int) -> None:
        """Poll for a prediction; the service may delay its response until it is ready."""
        asked = time.monotonic()
        try:
            with over_the_link():
                response = check(self._client.get(f"{EXAMS}/{item.exam}", params={"wait": wait_s}))
        except (GoneError, RefusedError) as error:
            self._end(item, ItemState.FAILED, str(error))
            return
        self._heard(item, response.content, held=time.monotonic() - asked >= wait_s > 0)

    def _heard(self, item: Item, said: bytes, *, held: bool) -> None:
        """Store the service's state of an exam: final, or to be polled again."""
        try:
            view = ExamView.model_validate_json(said)
        except ValidationError as error:
            raise LaterError("the service's response is not supported by this version of BitDose") from error
        self._failures = 0
        if view.state in _ENDS:
            self._end(item, _ENDS[view.state], view.reason, view)
            return
        age = max(time.time() - item.made, 1.0)
        self._outbox.ask_later(item, time.time() + (0.0 if held else min(age / 2, _ASK_AGAIN_S)))

    def _end(self, item: Item, state: ItemState, reason: str, view: ExamView | None = None) -> None:
        answer = view.model_dump(mode="json") if view else None
        self._outbox.finish(item, state, reason=reason, answer=answer)
        self._progress()
        what: Literal["answered", "refused", "failed"] = "failed"
        if state is ItemState.ANSWERED:
            what = "answered"
        elif state is ItemState.REFUSED:
            what = "refused"
        self._say(Event(what, item, reason, 0, view))

    def _tick(self, item: Item) -> Callable[[int], None]:
        return lambda n_bytes: self._say(Event("bytes", item, "", n_bytes))

    def _progress(self) -> None:
        self._failures, self._not_before, self._last_progress = 0, 0.0, time.monotonic()

    def _backoff(self, after_s: float | None) -> float:
        """Return the next waiting time (full jitter, at least the requested time), and wait until then."""
        longest = min(_FIRST_WAIT_S * 2.0**self._failures, _LONGEST_WAIT_S)
        self._failures += 1
        wait = self._rng.uniform(0.0, longest) + (after_s or 0.0)
        self._not_before = time.monotonic() + wait
        return wait
