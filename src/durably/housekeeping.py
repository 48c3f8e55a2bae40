"""What has to be done now and then: waits whose time is over, runs that are kept no longer."""

from __future__ import annotations

from .events import RunDelete
from .model import Run
from .term import Term
from .waits import expire

PURGE_INTERVAL = 60.0
"""Seconds between two purges that nobody has asked for."""
PURGE_BATCH = 100
"""Runs that one of them removes at most."""


class Housekeeping:
    """Done by the worker, in its own turns."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._no_purge_before = term.clock.monotonic()

    def settle_waits(self) -> None:
        """Runs whose waits have timed out are pending again."""
        expire(self._term)

    def purge(self) -> None:
        """Remove what is kept no longer, unless that was done a short while ago."""
        retain, moment = self._term.options.retain, self._term.clock.monotonic()
        if retain is not None and moment >= self._no_purge_before:
            self._no_purge_before = moment + PURGE_INTERVAL
            purge(self._term, retain, PURGE_BATCH)

    def next_due(self, *, is_idle: bool) -> float | None:
        """Seconds until there is something to do; None where nothing will come by itself.

        ``is_idle``: no run is being executed here. Else nothing is purged before one has ended.
        """
        dues = (self._wait_due(), self._purge_due() if is_idle else None)
        return min((due for due in dues if due is not None), default=None)

    def _wait_due(self) -> float | None:
        deadline = self._term.store.waits.next_deadline()
        if deadline is None:
            return None
        return max(0.0, (deadline - self._term.steady.now()) / 1000)

    def _purge_due(self) -> float | None:
        retain = self._term.options.retain
        ended_at = None if retain is None else self._term.store.retention.first_end()
        if retain is None or ended_at is None:
            return None
        age = (self._term.steady.now() - ended_at) / 1000
        # Well past the moment: a look that comes a rounded millisecond early costs a minute.
        until_it_is_older = retain - age + 1.0
        until_the_next_purge = self._no_purge_before - self._term.clock.monotonic()
        return max(until_it_is_older, until_the_next_purge)


def purge(term: Term, age: float, limit: int) -> list[Run]:
    """Remove runs that ended longer ago than ``age`` seconds, the earliest first; tell of each.

    By the steady time: a wall clock that is set a year forward must not empty the database.
    """
    ended_before = term.steady.now() - round(age * 1000)
    purged = term.store.retention.purge(ended_before, limit, term.clock.now())
    for run in purged:
        term.tell(RunDelete(run_id=run.id, job=run.job))
    return purged
