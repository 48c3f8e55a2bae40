"""Whom the verbs of a Durably are asked of: this tab's own desk, or the tab that leads."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .emitter import Emitter
from .errors import DurablyError, NotOpen, RunConflict, RunNotFound, StorageFenced
from .events import TabFollower
from .model import RunStatus, Tabs
from .options import Options
from .ports import Environment, Unsubscribe
from .protocol import STEAL_PAUSE, Line, Unanswered

if TYPE_CHECKING:
    from .desk import Desk
    from .following import Following


class Asking:
    """Lives as long as the ``async with`` block. Between two who answer, whoever asks waits."""

    def __init__(self, name: str, options: Options, events: Emitter) -> None:
        self._name = name
        self._options = options
        self._events = events
        self._desk: asyncio.Future[Desk | Following] | None = None
        """None outside the block."""
        self._line: Line | None = None
        self.following: Following | None = None
        self._watchers: list[Callable[[], None]] = []
        self._no_steal_before = 0.0
        self.known_epoch = 0
        """The highest that this tab has had, or has heard of."""

    def check_open(self) -> None:
        """Raise NotOpen outside the block."""
        if self._desk is None:
            raise NotOpen(self._name)

    def begin(self) -> None:
        self._desk = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Whoever still waits, or asks later, gets NotOpen."""
        if self._desk is not None:
            self.fail(NotOpen(self._name))
        if self._line is not None:
            self._line.post("bye")
            self._line.close()
        self._line = self._desk = None

    async def ask(self, verb: str, *arguments: object) -> Any:
        """What the verb of the desk answers.

        Where whoever is asked stops leading, the next one is asked. Raises what the verb raises.
        """
        is_repeated = False
        while True:
            desk = await self.whom()
            try:
                return await desk.ask(verb, arguments)
            except Unanswered:
                is_repeated = True
            except DurablyError as error:
                if _is_of_an_ended_term(error):
                    is_repeated = True
                elif is_repeated and _was_done(verb, error):
                    return None
                else:
                    raise

    async def whom(self) -> Desk | Following:
        """Waits until there is somebody. Raises NotOpen, and what the opening raised."""
        if self._desk is None:
            raise NotOpen(self._name)
        return self._desk.result() if self._desk.done() else await asyncio.shield(self._desk)

    def answers(self, desk: Desk | Following) -> None:
        """From now on it is asked."""
        self.pause()
        assert self._desk is not None
        self._desk.set_result(desk)
        self.tell_watchers()

    def pause(self) -> None:
        """Whoever asks from now on waits for the next one."""
        if self._desk is not None and self._desk.done():
            self._desk = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        """Nobody answers any more: whoever waits, or asks later, gets ``error``."""
        self.pause()
        assert self._desk is not None
        self._desk.set_exception(error)
        self._desk.exception()  # Marks it as seen: perhaps nobody waits.
        self.tell_watchers()

    def on_change(self, callback: Callable[[], None]) -> Unsubscribe:
        """Call ``callback`` whenever another one answers: what it knew is to be asked again."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    def tell_watchers(self) -> None:
        for callback in list(self._watchers):
            callback()

    def tabs(self, environment: Environment, owner: str | None, epoch: int | None) -> Tabs:
        """How this tab stands to the others; ``owner`` and ``epoch`` are its own if it leads."""
        is_visible = environment.visibility.is_visible
        if owner is not None:
            return Tabs("leader", owner, epoch, is_visible)
        beat = (self.following and self.following.leader) or {"term": None, "epoch": None}
        return Tabs("follower", beat["term"], beat["epoch"], is_visible)

    def silence(self) -> None:
        """Nothing that arrives is answered until somebody leads or is followed."""
        if self._line is not None:
            self._line.on_message = lambda message: None

    def line(self, environment: Environment) -> Line:
        """This tab's end of the channel, opened when it is first needed."""
        if self._line is None:
            self._line = Line(environment.channel(), os.urandom(8).hex())
        return self._line

    # Following

    def follow(self, environment: Environment) -> None:
        """Another tab leads: it is asked for everything from now on."""
        from .following import Following

        logging.getLogger("durably").info("Another tab leads %r; this one follows it.", self._name)
        self.following = Following(
            self._name,
            self.line(environment),
            environment,
            self._options,
            self._events,
            steal=lambda: self._steal(environment),
            take=environment.leadership.steal,
            on_leader=self.tell_watchers,
        )
        self._events.emit_now(TabFollower())
        self.answers(self.following)

    def tell_taking(self) -> None:
        """Other followers are to wait until the database is loaded, however long that takes."""
        if self.following is not None and self._line is not None:
            self._line.post("taking")

    def unfollow(self) -> None:
        """Harmless where nobody is followed."""
        if self.following is not None:
            beat = self.following.leader
            self.known_epoch = max(self.known_epoch, (beat and beat["epoch"]) or 0)
            self.pause()
            self.following.close()
            self.following = None

    def _steal(self, environment: Environment) -> None:
        """Take the leadership from a tab that stands still, but not again and again."""
        moment = environment.clock.monotonic()
        if moment >= self._no_steal_before:
            self._no_steal_before = moment + STEAL_PAUSE
            environment.leadership.steal()


def _is_of_an_ended_term(error: DurablyError) -> bool:
    """Whether the desk that was asked stopped leading meanwhile."""
    from .database import TermEnded

    return isinstance(error, StorageFenced | TermEnded)


def _was_done(verb: str, error: DurablyError) -> bool:
    """Whether an error says that an earlier leader did what it could not say any more."""
    if verb == "cancel":
        return isinstance(error, RunConflict) and error.status is RunStatus.CANCELLED
    return verb == "delete" and isinstance(error, RunNotFound)
