"""What happened, told in the order of the writes and only after they are durable.

A write that ends in an event *stages* the event under the number of its commit; the database says
when that commit is durable, and only then is the event delivered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import ClassVar
from weakref import finalize

from .clock import Clock
from .errors import EventsOverflow
from .model import ErrorInfo, Progress

EVENT_QUEUE_LIMIT = 10_000
"""Events kept for one reader of ``events()`` that does not keep up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``sequence`` counts the events of one Durably; ``at`` is UTC milliseconds."""

    type: ClassVar[str]
    sequence: int = field(default=0, init=False)
    at: int = field(default=0, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent(Event):
    run_id: str
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTrigger(RunEvent):
    type = "run:trigger"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClaimed(RunEvent):
    type = "run:claimed"
    lease_generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeartbeat(RunEvent):
    """A lease was renewed; the renewal rides with the next commit."""

    type = "run:heartbeat"
    heartbeat_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress(RunEvent):
    """The job function said how far it is; this rides with the next commit."""

    type = "run:progress"
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequeued(RunEvent):
    """A running run went back to pending; ``reason`` says what became of its owner."""

    type = "run:requeued"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComplete(RunEvent):
    type = "run:complete"
    output: object


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFail(RunEvent):
    type = "run:fail"
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancel(RunEvent):
    type = "run:cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent(RunEvent):
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStart(StepEvent):
    """The step's function is about to be called."""

    type = "step:start"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepComplete(StepEvent):
    """The step's result is durable."""

    type = "step:complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReplay(StepEvent):
    """The step was answered from its checkpoint; its function was not called."""

    type = "step:replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFail(StepEvent):
    """The step's failure is durable."""

    type = "step:fail"
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWrite(RunEvent):
    """A line the job function logged. ``step`` is None outside a step."""

    type = "log:write"
    level: str
    message: str
    data: object
    step: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerError(Event):
    """The library itself could not do something; the run, if any, stays as it was stored."""

    type = "worker:error"
    message: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageMemory(Event):
    """Storage was refused and memory is used as asked: nothing will survive the tab."""

    type = "storage:memory"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFullEvent(Event):
    """The quota is used up. Nothing new is claimed until a commit succeeds again."""

    type = "storage:full"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLostEvent(Event):
    """The storage went away. What was acknowledged is there after a reload."""

    type = "storage:lost"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TabFollower(Event):
    """Another tab leads; this one waits for its turn."""

    type = "tab:follower"


@dataclass(frozen=True, slots=True, kw_only=True)
class TabLeader(Event):
    """This tab leads now: its database is open and its worker claims runs."""

    type = "tab:leader"


Listener = Callable[[Event], object]
ErrorHandler = Callable[[Exception, Event], object]


class Emitter:
    """Delivers events to listeners, staged ones only when their commit is durable."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sequence = 0
        self._durable = 0
        self._staged: deque[tuple[int, Event]] = deque()
        self._listeners: dict[str, list[Listener]] = {}
        self._error_handlers: list[ErrorHandler] = []
        self._is_delivering = False

    def on(self, event_type: str, listener: Listener) -> Callable[[], None]:
        listeners = self._listeners.setdefault(event_type, [])
        listeners.append(listener)

        def unsubscribe() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return unsubscribe

    def on_error(self, handler: ErrorHandler) -> None:
        self._error_handlers.append(handler)

    def stage(self, event: Event, commit: int) -> None:
        """Deliver ``event`` once ``commit`` is durable, after every event staged before it."""
        self._staged.append((commit, event))
        self._deliver_ready()

    def emit(self, event: Event) -> None:
        """Deliver ``event``, which no write stands behind, after every event staged before it."""
        self.stage(event, 0)

    def emit_now(self, event: Event) -> None:
        """Deliver ``event`` past the staged ones: it says why they have to wait."""
        self._staged.appendleft((0, event))
        self._deliver_ready()

    def durable_up_to(self, commit: int) -> None:
        """Every commit up to this number is durable: deliver what was staged under them."""
        self._durable = max(self._durable, commit)
        self._deliver_ready()

    def drop_staged(self) -> None:
        """Forget the events of writes that will never be durable from here."""
        self._staged.clear()
        self._durable = 0

    def stream(self, run_id: str | None) -> AsyncIterator[Event]:
        queue: asyncio.Queue[Event] = asyncio.Queue(EVENT_QUEUE_LIMIT)
        overflowed = False

        def receive(event: Event) -> None:
            nonlocal overflowed
            if run_id is not None and getattr(event, "run_id", None) != run_id:
                return
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                overflowed = True

        async def read() -> AsyncIterator[Event]:
            while True:
                if overflowed and queue.empty():
                    raise EventsOverflow(EVENT_QUEUE_LIMIT)
                yield await queue.get()

        # Subscribed before the first read, so that nothing is missed in between; a `finally` in
        # the reader would not run where nobody ever reads.
        reader = read()
        finalize(reader, self.on("*", receive))
        return reader

    def _deliver_ready(self) -> None:
        if self._is_delivering:
            return  # A listener caused this event: every listener gets the one before it first.
        self._is_delivering = True
        try:
            while self._staged and self._staged[0][0] <= self._durable:
                self._deliver(self._staged.popleft()[1])
        finally:
            self._is_delivering = False

    def _deliver(self, event: Event) -> None:
        self._sequence += 1
        # The only writes to a frozen event: its place in the order is known at delivery, not when
        # the write that it tells of is made.
        object.__setattr__(event, "sequence", self._sequence)
        object.__setattr__(event, "at", self._clock.now())
        for listener in (
            *self._listeners.get(event.type, ()),
            *self._listeners.get("*", ()),
        ):
            try:
                listener(event)
            except Exception as error:
                self._report(error, event)

    def _report(self, error: Exception, event: Event) -> None:
        if not self._error_handlers:
            logging.getLogger("durably").error(
                "A listener for %s failed.", event.type, exc_info=error
            )
        for handler in self._error_handlers:
            try:
                handler(error, event)
            except Exception as second:
                logging.getLogger("durably").error("An error handler failed.", exc_info=second)
