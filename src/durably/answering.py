"""What the tab that leads does for those that follow: answers, events, and a sign of life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from .database import TermEnded
from .desk import VERBS, Desk
from .errors import DurablyError, StorageFenced, ValidationError
from .events import Event
from .ports import VisibilitySignal
from .protocol import PROTOCOL, SILENT_BEATS, Line, Message
from .term import Term
from .wire import pack, unpack


class _Follower:
    """What is known of another tab."""

    def __init__(self, is_visible: bool, wants: list[str], heard: int) -> None:
        self.is_visible = is_visible
        self.wants = frozenset(want for want in wants if not want.startswith("tab:"))
        """Types of events, ids of runs, or ``*``. Each tab tells of itself alone."""
        self.heard = heard
        """The beat of this tab that was the last when it was heard. A browser slows the timers of a
        hidden page down: so beats are counted, and not seconds."""


class Answering:
    """Serves the followers of one term. Without followers it does nothing, and costs nothing."""

    def __init__(
        self,
        line: Line,
        desk: Desk,
        term: Term,
        epoch: int | None,
        on_hidden: Callable[[], None],
    ) -> None:
        self._line = line
        self._desk = desk
        self._term = term
        self._epoch = epoch
        self._on_hidden = on_hidden
        """Called while this tab is hidden and a follower is visible."""
        self._followers: dict[str, _Follower] = {}
        self._count = 0
        """Goes up with each beat, and so only while the event loop of this tab does."""
        self._next_beat = 0.0
        self._is_frozen = False
        self._timer: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unlisten: Callable[[], None] | None = None
        self._unsubscribe = term.visibility.subscribe(self._visibility_changed)
        line.on_message = self.receive

    async def close(self) -> None:
        """Answer nothing any more. A request under way is sent again, to the next leader."""
        self._line.on_message = lambda message: None
        self._unsubscribe()
        self._followers.clear()
        self._choose_listening()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Followers

    def receive(self, message: Message) -> None:
        kind, tab = message["kind"], message["from"]
        if kind == "listen":
            self._note(tab, message)
        elif kind == "bye":
            self._followers.pop(tab, None)
            self._choose_listening()
        elif kind == "request":
            task = asyncio.ensure_future(self._answer(tab, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _note(self, tab: str, message: Message) -> None:
        is_new = tab not in self._followers
        self._followers[tab] = _Follower(message["is_visible"], message["wants"], self._count)
        self._choose_listening()
        if self._timer is None or self._is_overdue:
            self._beat()
        elif is_new:
            self._post_beat()
        self._offer()

    @property
    def _is_overdue(self) -> bool:
        """True where the browser has slowed the timer of the beat down, and this tab goes on."""
        late = self._term.clock.monotonic() - self._next_beat
        return late > self._term.options.heartbeat_interval and not self._is_frozen

    def _choose_listening(self) -> None:
        """Listen to the events while a follower does."""
        self._term.leadership.followed(bool(self._followers))
        is_wanted = any(follower.wants for follower in self._followers.values())
        if is_wanted and self._unlisten is None:
            self._unlisten = self._term.events.on("*", self._forward)
        elif not is_wanted and self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    def _forward(self, event: Event) -> None:
        if event.type.startswith("tab:"):
            return  # Each tab tells of itself.
        about = {"*", event.type, getattr(event, "run_id", None)}
        if any(follower.wants & about for follower in self._followers.values()):
            self._line.post("event", event=pack(event))

    def _beat(self) -> None:
        """Say that this tab leads and goes on, as long as there are followers to hear it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for tab, follower in list(self._followers.items()):
            if self._count - follower.heard >= SILENT_BEATS:
                del self._followers[tab]
        self._choose_listening()
        self._count += 1
        self._post_beat()
        if self._followers:
            interval, clock = self._term.options.heartbeat_interval, self._term.clock
            self._next_beat = clock.monotonic() + interval
            self._timer = clock.call_later(interval, self._beat)

    def _post_beat(self) -> None:
        is_visible = self._term.visibility.is_visible
        self._line.announce(self._term.owner, self._epoch, self._count, is_visible=is_visible)

    # Handing over

    def _visibility_changed(self, signal: VisibilitySignal) -> None:
        self._is_frozen = signal == "freeze"
        self._offer()

    def _offer(self) -> None:
        if not self._term.visibility.is_visible and self.visible_follower() is not None:
            self._on_hidden()

    def visible_follower(self) -> str | None:
        """A tab that a person can see, if there is one."""
        for tab, follower in self._followers.items():
            if follower.is_visible:
                return tab
        return None

    # Requests

    async def _answer(self, tab: str, message: Message) -> None:
        reply: dict[str, object]
        try:
            reply = {"value": pack(await self._carry_out(message))}
        except (StorageFenced, TermEnded):
            return  # This tab leads no more. The one that does is asked again.
        except DurablyError as error:
            reply = {"error": pack(error)}
        except Exception as error:
            logging.getLogger("durably").exception("A request of another tab failed.")
            refusal = ValidationError(f"The tab that leads cannot do this: {error!r}.")
            reply = {"error": pack(refusal)}
        self._line.post("reply", to=tab, id=message["id"], **reply)

    async def _carry_out(self, message: Message) -> object:
        verb = message["verb"]
        if message["protocol"] != PROTOCOL or verb not in VERBS:
            raise ValidationError(
                f"The tab that leads does not know the request {verb!r}, protocol "
                f"{message['protocol']}: it has another version of durably. Reload both tabs."
            )
        try:
            arguments = unpack(message["arguments"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValidationError(f"The request {verb!r} cannot be read: {error!r}.") from error
        return await getattr(self._desk, verb)(*arguments)
