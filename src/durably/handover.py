"""A hidden tab gives the leadership to a visible one, where a person waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from .ports import Environment
from .protocol import STEAL_PAUSE

if TYPE_CHECKING:
    from .answering import Answering
    from .worker import Worker


class Handover:
    """Waits for the next step boundary, and then looks whether things are still so."""

    def __init__(self, on_rest: Callable[[], None], on_stay: Callable[[], None]) -> None:
        self._on_rest = on_rest
        """Called when ``successor`` is to lead, and nothing is executed here any more."""
        self._on_stay = on_stay
        """Called when this tab leads on: what was given back is its own again."""
        self.successor: str | None = None
        """The tab to which this one hands over."""
        self._task: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def begin(self, environment: Environment, worker: Worker, answering: Answering) -> None:
        """This tab is hidden and another one is visible."""
        moment = environment.clock.monotonic()
        # Where nobody takes it, it comes back; it is not offered again at once.
        if self._task is None and moment >= self._not_before:
            self._not_before = moment + STEAL_PAUSE
            self._task = asyncio.ensure_future(self._at_rest(environment, worker, answering))

    def call_off(self) -> None:
        """The term ends anyway."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _at_rest(
        self, environment: Environment, worker: Worker, answering: Answering
    ) -> None:
        try:
            await worker.rest()
            tab = answering.visible_follower()
            if tab is None or environment.visibility.is_visible:
                self._on_stay()
            else:
                self.successor = tab
                self._on_rest()
        finally:
            self._task = None
