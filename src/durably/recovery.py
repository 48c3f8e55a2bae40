"""Runs whose owner is gone: found, counted and sent back to pending."""

from __future__ import annotations

from collections.abc import Container

from .events import RunFail, RunRequeued
from .model import ErrorInfo, InterruptionReason, Lease, Run
from .records import record
from .term import Term

WATCHED_BEATS = 2
"""Heartbeat intervals for which a foreign run is watched before its old heartbeat is believed."""


@record
class _Sighting:
    """A foreign run's heartbeat, and since when (monotonic) it has been seen unchanged."""

    lease_generation: int
    heartbeat_at: int
    since: float


class Recovery:
    """Sends abandoned runs back to pending.

    A heartbeat is stale when it is older than the threshold by the wall clock *and* has not moved
    while it was watched for two intervals; or when it was watched for the whole threshold without
    moving. So a wall clock that jumps an hour steals nothing from an owner that is alive, and one
    that jumps back hides no owner that is gone.
    """

    def __init__(self, term: Term, local: Container[str]) -> None:
        self._term = term
        self._local = local
        self._sightings: dict[str, _Sighting] = {}
        self._last_look = term.clock.monotonic()

    def recover_all(self) -> None:
        """Every earlier owner has ended: its runs go on at once, not after the threshold."""
        for run in self._term.store.leases.running():
            self._recover(run, "its owner has ended", "unknown")

    def recover_stale(self) -> None:
        """Look at the runs that others own, and recover those whose heartbeat is stale."""
        moment = self._term.clock.monotonic()
        if moment - self._last_look > self._watch_time:
            # This program stood still itself, and perhaps the whole machine: what it saw before
            # says nothing about the others.
            self._sightings.clear()
        self._last_look = moment
        sightings = {}
        for run in self._foreign_runs():
            sighting = self._sighting(run, moment)
            if self._is_stale(sighting, moment):
                self._recover(run, "its heartbeat is stale", "lease-lost")
            else:
                sightings[run.id] = sighting
        self._sightings = sightings

    def next_look(self) -> float | None:
        """Seconds until another look can find something; None while nobody else owns a run."""
        return self._term.options.heartbeat_interval if self._sightings else None

    @property
    def _watch_time(self) -> float:
        options = self._term.options
        return min(WATCHED_BEATS * options.heartbeat_interval, options.stale_threshold)

    def _foreign_runs(self) -> list[Run]:
        return [run for run in self._term.store.leases.running() if run.id not in self._local]

    def _sighting(self, run: Run, moment: float) -> _Sighting:
        assert run.heartbeat_at is not None, "a running run has a heartbeat"
        seen = self._sightings.get(run.id)
        if seen and (seen.lease_generation, seen.heartbeat_at) == (
            run.lease_generation,
            run.heartbeat_at,
        ):
            return seen
        return _Sighting(run.lease_generation, run.heartbeat_at, moment)

    def _is_stale(self, sighting: _Sighting, moment: float) -> bool:
        threshold = self._term.options.stale_threshold
        watched = moment - sighting.since
        age = (self._term.clock.now() - sighting.heartbeat_at) / 1000
        return watched > threshold or (age > threshold and watched >= self._watch_time)

    def _recover(self, run: Run, reason: str, interruption: InterruptionReason) -> None:
        term, lease = self._term, Lease(run.id, run.lease_generation)
        now, options = term.clock.now(), term.options
        if term.store.leases.requeue(lease, options.max_interruptions, interruption, now):
            term.tell(RunRequeued(run_id=run.id, job=run.job, reason=reason))
            return
        error = ErrorInfo(
            "CrashLoop",
            f"The run was interrupted {run.interruptions + 1} times without a new checkpoint; "
            f"the last time {reason}.",
        )
        if term.store.leases.fail(
            lease, error, now, keeps_outputs=options.preserve_steps, reason=interruption
        ):
            term.tell(RunFail(run_id=run.id, job=run.job, error=error))
