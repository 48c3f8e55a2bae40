"""The messages between the tabs of one database, as ``docs/protocol.md`` has them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from .errors import DurablyError
from .ports import Channel

PROTOCOL = 1
"""Goes up when a message changes its meaning; a tab that knows another number is not understood."""
ANSWER_TIMEOUT = 120.0
"""Seconds after which a request that nobody answers is given up."""
MOST_REQUESTS = 100
"""Requests of one tab under way at a time; the others wait for their turn."""
SILENT_BEATS = 3
"""Beats of the leader after which a follower that says nothing counts as gone."""
STEAL_PAUSE = 60.0
"""Seconds between two times that one tab steals the leadership."""

Message = dict[str, Any]


class Unanswered(Exception):
    """Whoever was asked does not lead any more: the next one is to be asked."""


class NoAnswer(DurablyError, TimeoutError):
    """No tab has answered what this one asked for. It may have been done all the same."""

    def __init__(self, name: str, verb: str, waited: float) -> None:
        super().__init__(
            f"No tab that leads {name!r} has answered {verb!r} within {waited} s. It may have been "
            "done all the same; ask again, a trigger with an idempotency_key."
        )


class Line:
    """One tab's end of the channel."""

    def __init__(self, channel: Channel, tab: str) -> None:
        self.tab = tab
        """The id of this tab, new for each Durably that is entered."""
        self.on_message: Callable[[Message], None] = lambda message: None
        self._channel = channel
        self._unsubscribe = channel.subscribe(self._receive)

    def post(self, kind: str, **facts: object) -> None:
        message = {"protocol": PROTOCOL, "kind": kind, "from": self.tab, **facts}
        self._channel.post(json.dumps(message))

    def announce(self, term: str, epoch: int | None, count: int, *, is_visible: bool) -> None:
        """Say that this tab leads, in which term; ``count`` goes up only while its loop does."""
        self.post("beat", term=term, epoch=epoch, count=count, is_visible=is_visible)

    def close(self) -> None:
        self._unsubscribe()
        self._channel.close()

    def _receive(self, text: str) -> None:
        try:
            message = json.loads(text)
            is_ours = {"protocol", "kind", "from"} <= message.keys()
        except (AttributeError, ValueError):
            return  # Another program's.
        if not is_ours or message.get("to") not in (None, self.tab):
            return
        try:
            self.on_message(message)
        except (AttributeError, LookupError, TypeError, ValueError):
            logging.getLogger("durably").warning(
                "A message of another tab cannot be read: %.200s", text, exc_info=True
            )
