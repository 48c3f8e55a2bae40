"""Every SQL statement but the schema: one module for each of the things that are stored.

One transition is one guarded statement, and its row count is the answer: False means that the
lease was lost or the run is no longer where the caller thought, and that nothing changed. Time is
always a parameter, in UTC milliseconds.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..database import Database
from .leases import Leases
from .runs import Runs
from .steps import Steps
from .waits import Waits

if TYPE_CHECKING:
    from .inspection import Inspection
    from .logs import Logs
    from .retention import Retention
    from .transfers import Transfers


class Store:
    """What one open database holds."""

    def __init__(self, database: Database) -> None:
        self.runs = Runs(database)
        self.leases = Leases(database)
        self.steps = Steps(database)
        self.waits = Waits(database)
        self._database = database

    # Not every program has these; a page compiles them if it does.

    @cached_property
    def logs(self) -> Logs:
        from .logs import Logs

        return Logs(self._database)

    @cached_property
    def inspection(self) -> Inspection:
        from .inspection import Inspection

        return Inspection(self._database)

    @cached_property
    def retention(self) -> Retention:
        from .retention import Retention

        return Retention(self._database)

    @cached_property
    def transfers(self) -> Transfers:
        from .transfers import Transfers

        return Transfers(self._database)


__all__ = ["Store"]
