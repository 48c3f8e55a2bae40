"""What has to be done now and then: waits whose time is over, runs that are kept no longer."""

from __future__ import annotations

from .events import RunDelete
from .model import Run
from .term import Term

PURGE_INTERVAL = 60.0
"""Seconds between two purges that nobody has asked for."""
PURGE_BATCH = 100
"""Runs that one of them removes at most."""


class Housekeeping:
    """Done by the worker, in its own turns."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._no_purge_before = term.clock.monotonic()

    def tend_waits(self) -> float | None:
        """Settle the waits whose time is over; the answer is when the next will be, in seconds."""
        waits, moment = self._term.store.waits, self._term.steady.now()
        deadline = waits.next_deadline()
        if deadline is not None and deadline <= moment:
            from .waits import expire

            expire(self._term)
            deadline = waits.next_deadline()
        return None if deadline is None else (deadline - moment) / 1000

    def tend_ended_runs(self) -> float | None:
        """Remove what is kept no longer, unless that was done a short while ago.

        For idle moments. The answer is in how many seconds there will be more to remove.
        """
        if self._term.options.retain is None:
            return None
        due = self._purge_due(self._term.options.retain)
        if due is not None and due <= 0:
            self._no_purge_before = self._term.clock.monotonic() + PURGE_INTERVAL
            purge(self._term, self._term.options.retain, PURGE_BATCH)
            due = self._purge_due(self._term.options.retain)
        return due

    def _purge_due(self, retain: float) -> float | None:
        ended_at = self._term.store.retention.first_end()
        if ended_at is None:
            return None
        age = (self._term.steady.now() - ended_at) / 1000
        # Well past the moment: a look that comes a rounded millisecond early costs a minute.
        return max(retain - age + 1.0, self._no_purge_before - self._term.clock.monotonic())


def purge(term: Term, age: float, limit: int) -> list[Run]:
    """Remove runs that ended longer ago than ``age`` seconds, the earliest first; tell of each.

    By the steady time: a wall clock that is set a year forward must not empty the database.
    """
    ended_before = term.steady.now() - round(age * 1000)
    purged = term.store.retention.purge(ended_before, limit, term.clock.now())
    for run in purged:
        term.tell(RunDelete, run_id=run.id, job=run.job)
    return purged
