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

    def tend(self, *, is_idle: bool) -> float | None:
        """Do what is due; the answer is in how many seconds something will be, or None.

        ``is_idle``: no run is being executed here.
        """
        dues = (self._tend_waits(), self._tend_ended_runs(is_idle=is_idle))
        return min((due for due in dues if due is not None), default=None)

    def _tend_waits(self) -> float | None:
        waits, moment = self._term.store.waits, self._term.steady.now()
        deadline = waits.next_deadline()
        if deadline is not None and deadline <= moment:
            expire(self._term)
            deadline = waits.next_deadline()
        return None if deadline is None else (deadline - moment) / 1000

    def _tend_ended_runs(self, *, is_idle: bool) -> float | None:
        retain, clock = self._term.options.retain, self._term.clock
        if retain is None:
            return None
        pause = self._no_purge_before - clock.monotonic()
        if is_idle and pause <= 0:
            purge(self._term, clock.now() - round(retain * 1000), PURGE_BATCH)
            self._no_purge_before = clock.monotonic() + PURGE_INTERVAL
            pause = PURGE_INTERVAL
        first_end = self._term.store.retention.first_end()
        if first_end is None or not is_idle:
            return None  # The worker looks again when a run has ended.
        return max(pause, retain - (clock.now() - first_end) / 1000)


def purge(term: Term, ended_before: int, limit: int) -> list[Run]:
    """Remove terminal runs that ended before a moment, the earliest first, and tell of each."""
    purged = term.store.retention.purge(ended_before, limit, term.clock.now())
    for run in purged:
        term.tell(RunDelete(run_id=run.id, job=run.job))
    return purged
