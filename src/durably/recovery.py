"""Runs whose owner is gone: found, counted and sent back to pending."""

from __future__ import annotations

from collections.abc import Container

from .events import RunFail, RunRequeued
from .model import ErrorInfo, InterruptionReason
from .records import record
from .store.leases import Running
from .term import Term

WATCHED_BEATS = 2
"""Heartbeat intervals for which a foreign run is watched before its old heartbeat is believed."""


@record
class _Sighting:
    """A foreign run, and since when (monotonic) its heartbeat has been seen unchanged."""

    run: Running
    since: float


class Recovery:
    """Sends abandoned runs back to pending: at once where their owner has provably ended.

    Elsewhere its heartbeat decides: it is stale when it is older than the threshold by the wall
    clock *and* has not moved while it was watched for two intervals; or when it was watched for the
    whole threshold without moving. So a wall clock that jumps an hour steals nothing from an owner
    that is alive, and one that jumps back hides no owner that is gone.
    """

    def __init__(self, term: Term, local: Container[str]) -> None:
        self._term = term
        self._local = local
        self._sightings: dict[str, _Sighting] = {}
        self._last_look = term.clock.monotonic()

    def recover(self) -> None:
        """Look at the runs that others own, and recover those that are abandoned."""
        runs = self._foreign_runs()
        for owner in self._term.leadership.ended({run.owner for run in runs}):
            # Read again: the owner may have claimed one more before it ended.
            runs = self._foreign_runs()
            for run in runs:
                if run.owner == owner:
                    self._recover(run, "its owner has ended", "unknown")
            runs = [run for run in runs if run.owner != owner]
        self._recover_stale(runs)

    def _recover_stale(self, runs: list[Running]) -> None:
        """Recover those of these runs whose heartbeat is stale, and keep watching the others."""
        moment = self._term.clock.monotonic()
        if moment - self._last_look > self._watch_time:
            # This program stood still itself, and perhaps the whole machine: what it saw before
            # says nothing about the others.
            self._sightings.clear()
        self._last_look = moment
        sightings = {}
        for run in runs:
            sighting = self._sighting(run, moment)
            if self._is_stale(sighting, moment):
                self._recover(run, "its heartbeat is stale", "lease-lost")
            else:
                sightings[run.lease.run_id] = sighting
        self._sightings = sightings

    def next_look(self) -> float | None:
        """Seconds until another look can find something; None while nobody else owns a run."""
        return self._term.options.heartbeat_interval if self._sightings else None

    @property
    def _watch_time(self) -> float:
        options = self._term.options
        return min(WATCHED_BEATS * options.heartbeat_interval, options.stale_threshold)

    def _foreign_runs(self) -> list[Running]:
        running = self._term.store.leases.running()
        return [run for run in running if run.lease.run_id not in self._local]

    def _sighting(self, run: Running, moment: float) -> _Sighting:
        seen = self._sightings.get(run.lease.run_id)
        if (
            seen is not None
            and seen.run.lease == run.lease
            and seen.run.heartbeat_at == run.heartbeat_at
        ):
            return seen
        return _Sighting(run, moment)

    def _is_stale(self, sighting: _Sighting, moment: float) -> bool:
        threshold = self._term.options.stale_threshold
        watched = moment - sighting.since
        age = (self._term.clock.now() - sighting.run.heartbeat_at) / 1000
        return watched > threshold or (age > threshold and watched >= self._watch_time)

    def _recover(self, run: Running, reason: str, interruption: InterruptionReason) -> None:
        term, lease = self._term, run.lease
        now, options = term.clock.now(), term.options
        if term.store.leases.requeue(lease, options.max_interruptions, interruption, now):
            term.tell(RunRequeued, run_id=lease.run_id, job=run.job, reason=reason)
            return
        error = ErrorInfo(
            "CrashLoop",
            f"The run was interrupted {run.interruptions + 1} times without a new checkpoint; "
            f"the last time {reason}.",
        )
        if term.store.leases.fail(
            lease, error, now, keeps_outputs=options.preserve_steps, reason=interruption
        ):
            term.tell(RunFail, run_id=lease.run_id, job=run.job, error=error)
