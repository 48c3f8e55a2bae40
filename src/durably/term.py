"""A term: one period in which this program may write, and everything that belongs to it."""

from __future__ import annotations

from .clock import Clock, SteadyTime
from .database import Database
from .emitter import Emitter
from .events import Event
from .options import Options
from .ports import Leadership, Visibility
from .records import record
from .store import Store


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

    def tell(self, event: Event) -> None:
        """Deliver ``event`` once everything written so far is durable."""
        self.events.stage(event, self.database.commits)
