"""A tab that does not lead: it asks the one that does, and watches whether that is alive."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

from .emitter import Emitter
from .errors import ValidationError
from .options import Options
from .ports import Environment, VisibilitySignal
from .protocol import (
    ANSWER_TIMEOUT,
    MOST_REQUESTS,
    PROTOCOL,
    SILENT_BEATS,
    Line,
    Message,
    NoAnswer,
    Unanswered,
)
from .wire import pack, unpack


class Following:
    """Asks the leader, from when another tab turns out to lead until this one does.

    A request that is under way when the leader ends is Unanswered; it is safe to repeat.
    """

    def __init__(
        self,
        name: str,
        line: Line,
        environment: Environment,
        options: Options,
        events: Emitter,
        *,
        steal: Callable[[], None],
        take: Callable[[], None],
        on_leader: Callable[[], None],
    ) -> None:
        self._name = name
        self._line = line
        self._clock = environment.clock
        self._options = options
        self._events = events
        self._visibility = environment.visibility
        self._steal = steal
        """Takes the leadership from a tab that stands still, if that is not too often."""
        self._take = take
        """Takes what is offered."""
        self._on_leader = on_leader
        self.leader: Message | None = None
        """The last beat of the tab that leads."""
        self._seen_at = self._clock.monotonic()
        """When that was, or since when this tab watches without a break."""
        self._answers: dict[str, asyncio.Future[Any]] = {}
        """Of the requests under way, by their ids, which begin with the verb."""
        self._turns = asyncio.Semaphore(MOST_REQUESTS)
        self._is_closed = False
        self._timer: Any = None
        self._unsubscribe = self._visibility.subscribe(self._visibility_changed)
        line.on_message = self._receive
        events.on_interest = self._listen
        self._listen()
        self._watch()

    async def ask(self, verb: str, arguments: tuple[object, ...]) -> Any:
        """The leader's answer. Raises what the verb raises, NoAnswer, and Unanswered."""
        packed = pack(list(arguments))
        async with self._turns:
            if self._is_closed:
                raise Unanswered
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            request_id = verb + os.urandom(8).hex()
            self._answers[request_id] = answer
            late = NoAnswer(self._name, verb, ANSWER_TIMEOUT)
            timer = self._clock.call_later(ANSWER_TIMEOUT, lambda: _fail(answer, late))
            try:
                self._line.post("request", id=request_id, verb=verb, arguments=packed)
                return await answer
            finally:
                timer.cancel()
                del self._answers[request_id]

    def close(self) -> None:
        """Follow nobody any more; what was asked is to be asked elsewhere."""
        self._is_closed = True
        self._unsubscribe()
        self._timer.cancel()
        self._events.on_interest = lambda: None
        self._line.on_message = lambda message: None
        self._ask_again()

    def _ask_again(self) -> None:
        """What was asked is asked again, of whoever leads then."""
        for answer in self._answers.values():
            _fail(answer, Unanswered())

    def _listen(self) -> None:
        """Say that this tab is there, and which events it wants."""
        self._line.post(
            "listen", is_visible=self._visibility.is_visible, wants=self._events.interests()
        )

    def _visibility_changed(self, signal: VisibilitySignal) -> None:
        self._seen_at = self._clock.monotonic()
        self._listen()
        if signal == "resume":
            # Answers and events that came meanwhile may be lost: a page in the back-forward cache
            # hears nothing.
            self._ask_again()
            self._on_leader()

    def _receive(self, message: Message) -> None:
        kind = message["kind"]
        if kind == "beat":
            self._note(message)
        elif kind == "reply" and message["id"] in self._answers:
            _settle(self._answers[message["id"]], message)
        elif kind == "event":
            self._events.relay(unpack(message["event"]))
        elif kind == "taking":
            self._seen_at = self._clock.monotonic()
        elif kind == "handover":
            self._take()

    def _note(self, beat: Message) -> None:
        before = self.leader
        if before is not None and (beat["epoch"] or 0) < (before["epoch"] or 0):
            return  # A leader of the past, which does not know yet.
        self.leader = beat
        if before is not None and before["term"] == beat["term"]:
            if before["count"] == beat["count"]:
                return  # It answers, which a frozen page may do; it does not go on.
        else:
            if beat["protocol"] != PROTOCOL:
                logging.getLogger("durably").warning(
                    "The tab that leads %r has another version of durably; reload this one.",
                    self._name,
                )
            if before is not None or beat["count"] == 0:
                self._ask_again()  # Nobody listened when it was asked.
            self._on_leader()
        self._seen_at = self._clock.monotonic()
        self._listen()

    def _watch(self) -> None:
        """Look after the leader once in each heartbeat interval."""
        interval = self._options.heartbeat_interval
        due = self._clock.monotonic() + interval

        def look() -> None:
            now = self._clock.monotonic()
            silence = now - self._seen_at
            if now - due > interval:
                self._seen_at = now  # This tab stood still itself: it begins anew.
                silence = 0
            if silence > SILENT_BEATS * interval:
                self._tell_silence(silence)
            # A tab that becomes visible begins anew, too; a hidden one has no right to take it.
            if silence > self._options.stale_threshold and self._visibility.is_visible:
                self._seen_at = now
                self._steal()
            elif self.leader is None or now - self._seen_at > interval:
                # A beat was missed; or a hidden leader's timers run slowly, and it answers.
                self._listen()
            self._watch()

        self._timer = self._clock.call_later(interval, look)

    def _tell_silence(self, seconds: float) -> None:
        """Whoever has asked for a diagnosis gets the one that can be made from here."""
        for request_id, answer in self._answers.items():
            if request_id.startswith("doctor") and not answer.done():
                from .doctor import silent

                answer.set_result(silent(seconds))


def _settle(answer: asyncio.Future[Any], reply: Message) -> None:
    try:
        value = unpack(reply["error"] if "error" in reply else reply["value"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        _fail(answer, ValidationError(f"The leader's answer cannot be read here: {error!r}."))
        return
    if "error" in reply:
        _fail(answer, value)
    elif not answer.done():
        answer.set_result(value)


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
