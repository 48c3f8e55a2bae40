"""Proof of life: renews the leases of the local executions, and reacts to being hidden."""

from __future__ import annotations

from collections.abc import Mapping

from .clock import Bell
from .events import RunHeartbeat
from .execution import Execution
from .ports import VisibilitySignal
from .term import Term


class Heartbeat:
    """Renews every ``heartbeat_interval`` while visible, if there is something to renew.

    Hidden: one last renewal and a flush, then a pause. Visible or resumed: a renewal first, with
    the lease's own generation, so that an owner whose lease only expired goes on where it is. A
    program that was frozen without being told renews late, which is the same act.
    """

    def __init__(self, term: Term, executions: Mapping[str, Execution]) -> None:
        self._term = term
        self._executions = executions
        self._nudge = Bell()
        self._is_ticking = False
        self._is_due = False

    def begin(self) -> None:
        """There is something to renew from now on, within an interval."""
        if not self._is_ticking:
            self._nudge.set()

    async def run(self) -> None:
        """Renew until cancelled."""
        visibility, options = self._term.visibility, self._term.options
        # A change of visibility is only noted; it is acted on in this loop's own next turn.
        unsubscribe = visibility.subscribe(self._visibility_changed)
        try:
            while True:
                was_visible = visibility.is_visible
                self._is_ticking = was_visible and bool(self._executions)
                interval = options.heartbeat_interval if self._is_ticking else None
                is_nudged = await self._nudge.wait(self._term.clock, interval)
                self._nudge.clear()
                if is_nudged and not self._is_due:
                    continue  # Something has begun.
                self._is_due = False
                self._renew()
                if was_visible and not visibility.is_visible:
                    await self._term.database.flush()
        finally:
            unsubscribe()

    def _visibility_changed(self, signal: VisibilitySignal) -> None:
        self._is_due = True
        self._nudge.set()

    def _renew(self) -> None:
        term = self._term
        now = term.clock.now()
        for execution in list(self._executions.values()):
            if execution.signal is not None:
                continue
            if term.store.leases.renew(execution.lease, now):
                term.events.emit(
                    RunHeartbeat, run_id=execution.run_id, job=execution.claim.job, heartbeat_at=now
                )
            else:
                execution.refused()
