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

    def tend(self, *, is_idle: bool) -> None:
        """Do what is due. ``is_idle``: no run is being executed here."""
        expire(self._term)
        retain, moment = self._term.options.retain, self._term.clock.monotonic()
        if retain is not None and is_idle and moment >= self._no_purge_before:
            self._no_purge_before = moment + PURGE_INTERVAL
            purge(self._term, self._term.clock.now() - round(retain * 1000), PURGE_BATCH)

    def next_due(self) -> float | None:
        """Seconds until there is something to do; None where nothing will come by itself."""
        dues = (self._wait_due(), self._purge_due())
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
        age = (self._term.clock.now() - ended_at) / 1000
        return max(retain - age, self._no_purge_before - self._term.clock.monotonic(), 0.001)


def purge(term: Term, ended_before: int, limit: int) -> list[Run]:
    """Remove terminal runs that ended before a moment, the earliest first, and tell of each."""
    purged = term.store.retention.purge(ended_before, limit, term.clock.now())
    for run in purged:
        term.tell(RunDelete(run_id=run.id, job=run.job))
    return purged
