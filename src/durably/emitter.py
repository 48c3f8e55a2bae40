"""Tells what happened, in the order of the writes and only after they are durable.

A write that ends in an event *stages* the event under the number of its commit; the database says
when that commit is durable, and only then is the event delivered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar
from weakref import finalize

from .clock import Clock
from .errors import EventsOverflow
from .events import Event
from .records import values_of

EVENT_QUEUE_LIMIT = 10_000
"""Events kept for one reader of ``events()`` that does not keep up."""

Listener = Callable[[Event], object]
NOBODY: dict[type[Event], list[Listener]] = {}
P = ParamSpec("P")
K = TypeVar("K")
ErrorHandler = Callable[[BaseException, Event], object]


class Emitter:
    """Delivers events to listeners, staged ones only when their commit is durable."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sequence = 0
        self._durable = 0
        self._staged: deque[tuple[int, Any, dict[str, Any]]] = deque()
        """The number of a commit, and an event that is made when it is told, if anybody listens."""
        self._listeners: dict[str, list[Listener]] = {}
        """By type of event; under "*" for all types."""
        self._run_listeners: dict[str, dict[type[Event], list[Listener]]] = {}
        """By the id of the run and the type of event; under ``Event`` for all types. A thousand who
        wait for a run each do not hear of each other's, and who waits for its end not of its steps.
        """
        self._error_handlers: list[ErrorHandler] = []
        self._stream_ends: list[Callable[[None], None]] = []
        self._is_delivering = False
        self.on_interest: Callable[[], None] = lambda: None
        """Called when ``interests`` may have changed."""

    @property
    def sequence(self) -> int:
        """Of the last event that was delivered."""
        return self._sequence

    def interests(self) -> list[str]:
        """What somebody listens to: types of events, ids of runs, or ``*`` for everything."""
        runs = (run_id for run_id, of_run in self._run_listeners.items() if of_run)
        return [*self._listeners, *runs]

    def relay(self, event: Event) -> None:
        """Deliver an event of another tab as it is, with its place in the order there."""
        self._hand_out(event, self._listeners_of(type(event), getattr(event, "run_id", None)))

    def on(self, event_type: str, listener: Listener) -> Callable[[], None]:
        return self._subscribe(self._listeners, [event_type], listener)

    def on_run(self, run_id: str, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Call ``listener`` with every event of one run, or with those of these types."""
        of_run = self._run_listeners.setdefault(run_id, {})
        unsubscribe = self._subscribe(of_run, types or [Event], listener)

        def leave() -> None:
            unsubscribe()
            if not of_run and self._run_listeners.get(run_id) is of_run:
                del self._run_listeners[run_id]

        return leave

    def _subscribe(
        self, table: dict[K, list[Listener]], keys: Iterable[K], listener: Listener
    ) -> Callable[[], None]:
        entries = {key: table.setdefault(key, []) for key in keys}
        for listeners in entries.values():
            listeners.append(listener)
        self.on_interest()

        def unsubscribe() -> None:
            while entries:
                key, listeners = entries.popitem()
                listeners.remove(listener)
                if not listeners:
                    del table[key]
            self.on_interest()

        return unsubscribe

    def on_error(self, handler: ErrorHandler) -> None:
        self._error_handlers.append(handler)

    def stage(self, commit: int, kind: Callable[..., Event], facts: dict[str, Any]) -> None:
        """Deliver an event of this kind once ``commit`` is durable, after every event staged before
        it."""
        self._staged.append((commit, kind, facts))
        if commit <= self._durable:
            self.durable_up_to(self._durable)

    def emit(self, kind: Callable[P, Event], /, *_: P.args, **facts: P.kwargs) -> None:
        """Deliver an event of this kind, which no write stands behind, after every event staged
        before it."""
        event_type: Any = kind
        run_id: Any = facts.get("run_id")
        if not self._staged and not self._listeners_of(event_type, run_id):
            self._sequence += 1  # It has its place in the order, which nobody sees.
            return
        self._staged.append((0, kind, facts))
        self.durable_up_to(self._durable)

    def emit_now(self, event: Event) -> None:
        """Deliver ``event`` past the staged ones: it says why they have to wait."""
        self._staged.appendleft((0, type(event), values_of(event)))
        self.durable_up_to(self._durable)

    def durable_up_to(self, commit: int) -> None:
        """Every commit up to this number is durable: deliver what was staged under them."""
        if commit > self._durable:
            self._durable = commit
        if not self._staged or self._is_delivering:
            return  # A listener caused this event: every listener gets the one before it first.
        self._is_delivering = True
        try:
            while self._staged and self._staged[0][0] <= self._durable:
                _, kind, facts = self._staged.popleft()
                self._sequence += 1
                listeners = self._listeners_of(kind, facts.get("run_id"))
                if listeners:
                    # Its place in the order is known now, not when what it tells of is written.
                    facts |= {"sequence": self._sequence, "at": self._clock.now()}
                    self._hand_out(kind(**facts), listeners)
        finally:
            self._is_delivering = False

    def drop_staged(self) -> None:
        """Forget the events of writes that will never be durable from here; tell the others."""
        self._staged = deque(staged for staged in self._staged if not staged[0])
        self._durable = 0
        self.durable_up_to(self._durable)

    def stream(self, run_id: str | None) -> tuple[AsyncIterator[Event], Callable[[], None]]:
        """The events from now on, and what ends them behind those that have come."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(EVENT_QUEUE_LIMIT)
        overflowed = False

        def receive(event: Event | None) -> None:
            nonlocal overflowed
            if overflowed:
                return  # What comes behind a gap would hide it.
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                overflowed = True

        async def read() -> AsyncIterator[Event]:
            while True:
                if overflowed and queue.empty():
                    raise EventsOverflow(EVENT_QUEUE_LIMIT)
                event = await queue.get()
                if event is None:
                    return
                yield event

        # Subscribed before the first read, so that nothing is missed in between; a `finally` in
        # the reader would not run where nobody ever reads.
        reader = read()
        finalize(reader, self.on("*", receive) if run_id is None else self.on_run(run_id, receive))
        self._stream_ends.append(receive)
        finalize(reader, self._stream_ends.remove, receive)
        return reader, lambda: receive(None)

    def end_streams(self) -> None:
        """Nothing happens any more: every stream ends when it is read to its end."""
        for receive in self._stream_ends:
            receive(None)

    def stamped(self, events: list[Event], sequence: int) -> list[Event]:
        """Events for one late reader alone: they have the place of the last one they tell of."""
        now = self._clock.now()
        return [replace(event, sequence=sequence, at=now) for event in events]

    def _listeners_of(self, kind: type[Event], run_id: str | None) -> Sequence[Listener]:
        of_run = self._run_listeners.get(run_id or "", NOBODY)
        if not self._listeners and kind not in of_run and Event not in of_run:
            return ()
        return [
            *self._listeners.get(kind.type, ()),
            *self._listeners.get("*", ()),
            *of_run.get(kind, ()),
            *of_run.get(Event, ()),
        ]

    def _hand_out(self, event: Event, listeners: Sequence[Listener]) -> None:
        for listener in listeners:
            try:
                listener(event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                # Also a CancelledError or a SystemExit: they are the listener's, not the run's.
                self._report(error, event)

    def _report(self, error: BaseException, event: Event) -> None:
        if not self._error_handlers:
            logging.getLogger("durably").error(
                "A listener for %s failed.", event.type, exc_info=error
            )
        for handler in self._error_handlers:
            try:
                handler(error, event)
            except Exception as second:
                logging.getLogger("durably").error("An error handler failed.", exc_info=second)
