"""A term: one period in which this program may write, and everything that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from .clock import Clock, SteadyTime
from .database import Database
from .emitter import Emitter
from .events import Event
from .options import Options
from .ports import Leadership, Visibility
from .records import record
from .store import Store

P = ParamSpec("P")


@record
class Term:
    """What the worker, the heartbeat and the executions of one period of leading share."""

    owner: str
    options: Options
    clock: Clock
    steady: SteadyTime
    events: Emitter
    database: Database
    store: Store
    visibility: Visibility
    leadership: Leadership
    poll_interval: float | None

    def tell(self, kind: Callable[P, Event], /, *_: P.args, **facts: P.kwargs) -> None:
        """Deliver an event of this kind once everything written so far is durable."""
        self.events.stage(self.database.commits, kind, facts)
