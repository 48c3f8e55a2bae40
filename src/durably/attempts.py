"""The tries of the steps of one execution, as far as they need a row of their own."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from .clock import Timer
from .errors import StorageError
from .model import Claim, InterruptionReason
from .term import Term

RECORD_INTERVAL = 0.1
"""Seconds between two looks for tries that have been under way since the look before."""


class _Try:
    """One try that is under way in this execution."""

    metadata: str | None = None
    is_saved = False
    was_seen = False

    def __init__(self, number: int, started_at: int) -> None:
        self.number = number
        self.started_at = started_at
        self.task = asyncio.current_task()


class Attempts:
    """Numbers the tries, knows those under way, and stores those that last.

    A row for every try would make each short step write twice. So a try is stored when it has
    metadata, when it was under way at two looks, and when it is interrupted; any other ends before
    that and is known by its checkpoint.
    """

    def __init__(self, term: Term, claim: Claim) -> None:
        self._term = term
        self._lease = claim.lease
        steps, run_id = term.store.steps, claim.lease.run_id
        self._last = {} if claim.is_first else steps.last_attempts(run_id)
        self.under_way: dict[str, _Try] = {}
        """By the names of their steps."""
        self._timer: Timer | None = None

    def begin(self, step: str, started_at: int) -> int:
        """A try of this step is under way in the current task; the answer is its number."""
        number = self._last.get(step, 0) + 1
        self.under_way[step] = _Try(number, started_at)
        if self._timer is None:
            self._timer = self._term.clock.call_later(RECORD_INTERVAL, self._look)
        return number

    def tasks(self) -> set[asyncio.Task[object]]:
        """Those in which the steps are under way."""
        return {attempt.task for attempt in self.under_way.values() if attempt.task is not None}

    def cut(self, step: str, reason: InterruptionReason) -> None:
        """The try has ended without an outcome: store that, unless the lease is lost."""
        with suppress(StorageError):
            self._save(step, self.under_way[step], reason)

    def set_metadata(self, step: str, metadata: str) -> bool:
        """Store what is to be known of the try under way. False where the lease was lost."""
        attempt = self.under_way[step]
        attempt.metadata = metadata
        return self._save(step, attempt)

    def save(self) -> None:
        """Store the tries under way: they are about to be interrupted."""
        for step, attempt in self.under_way.items():
            if not attempt.is_saved:
                self._save(step, attempt)

    def close(self) -> None:
        """The execution is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _save(self, step: str, attempt: _Try, reason: InterruptionReason | None = None) -> bool:
        attempt.is_saved = self._term.store.steps.save_attempt(
            self._lease,
            step,
            attempt.number,
            started_at=attempt.started_at,
            metadata=attempt.metadata,
            interrupted_at=None if reason is None else self._term.clock.now(),
            reason=reason,
        )
        return attempt.is_saved

    def _look(self) -> None:
        self._timer = None
        for step, attempt in self.under_way.items():
            if attempt.was_seen and not attempt.is_saved:
                with suppress(StorageError):
                    self._save(step, attempt)
                    self._term.database.start_flush()
            attempt.was_seen = True
        if any(not attempt.is_saved for attempt in self.under_way.values()):
            self._timer = self._term.clock.call_later(RECORD_INTERVAL, self._look)
