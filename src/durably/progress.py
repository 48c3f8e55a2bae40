"""How far a run is: the latest word of it, written now and then."""

from __future__ import annotations

from contextlib import suppress

from .clock import Timer
from .errors import StorageError
from .events import RunProgress
from .model import Claim, Progress
from .term import Term

PROGRESS_INTERVAL = 1.0
"""Seconds between two writes of a run's progress."""


class ProgressWriter:
    """Tells each progress at once, and stores the latest with the next commit, at most once in
    PROGRESS_INTERVAL."""

    def __init__(self, term: Term, claim: Claim) -> None:
        self._term = term
        self._claim = claim
        self.latest: Progress | None = None
        self._unsaved: Progress | None = None
        self._timer: Timer | None = None

    def set(self, progress: Progress) -> None:
        self.latest = self._unsaved = progress
        claim = self._claim
        self._term.events.emit(
            RunProgress, run_id=claim.lease.run_id, job=claim.job, progress=progress
        )
        if self._timer is None:
            self._save_and_pause()

    def save(self) -> None:
        """Write what is not written yet."""
        if self._unsaved is not None:
            self._term.store.leases.save_progress(self._claim.lease, self._unsaved)
            self._unsaved = None

    def close(self) -> None:
        """Forget what is not written yet: the run is not this execution's any more, or over."""
        self._unsaved = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _save_and_pause(self) -> None:
        self._timer = None
        if self._unsaved is not None:
            with suppress(StorageError):
                self.save()
            self._timer = self._term.clock.call_later(PROGRESS_INTERVAL, self._save_and_pause)
