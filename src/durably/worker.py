"""The claim loop: finds work, starts executions, and sends abandoned runs back to pending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import partial

from .clock import Bell
from .errors import LeaseLost, StorageError, StorageFull
from .events import RunClaimed, WorkerError
from .execution import Execution
from .executor import execute
from .housekeeping import Housekeeping
from .jobs import AnyJob
from .model import Claim, Lease
from .ports import VisibilitySignal
from .recovery import Recovery
from .term import Term

TENDING_PAUSE = 0.1
"""Seconds in which a worker that finds one run after the other looks after nothing else."""
ERROR_PAUSE = 1.0
"""Seconds the worker waits after an error of its own before it looks for work again."""


class Worker:
    """Claims runs of the registered jobs, oldest first, and executes them.

    Sleeps until it is woken or a heartbeat can have become stale; it polls only where other
    processes may write to the same database.
    """

    def __init__(self, term: Term, jobs: Mapping[str, AnyJob], *, is_claiming: bool) -> None:
        self._term = term
        self.executions: dict[str, Execution] = {}
        """The local executions by run id."""
        self.on_busy: Callable[[], object] = lambda: None
        """Called when an execution starts where there was none."""
        self._jobs = jobs
        self._recovery = Recovery(term, self.executions)
        self._housekeeping = Housekeeping(term)
        self._wake = Bell()
        self._next_tending = 0.0
        self._has_backlog = False
        """True while ``run`` finds one run after the other, and sleeps until it tends again."""
        self._is_claiming = is_claiming
        self._stops = 0
        """How often ``stop`` was called."""
        self._is_lost = False
        self._given_back = 0
        """How many runs ``rest`` gave back that may have to be taken again while nobody sees it."""
        self._parked: set[str] = set()
        self._unknown_jobs_told: set[str] = set()
        self._context = copy_context()
        """What runs see of context variables: the same, whoever triggers them."""

    @property
    def is_claiming(self) -> bool:
        return self._is_claiming

    @property
    def jobs(self) -> Collection[str]:
        """The names of the jobs whose runs it claims."""
        return self._jobs.keys()

    @property
    def parked(self) -> Collection[str]:
        """The ids of runs that cannot be read here; this term does not claim them again."""
        return self._parked

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    def claim(self) -> None:
        """Claim what there is room for, before whoever calls commits what it has stored."""
        try:
            self._claim()
        except Exception:
            self.wake()  # The look meets it too, and says what it was.

    async def run(self) -> None:
        """Work until cancelled. A StorageError ends it too: the term is over then."""
        term = self._term
        unsubscribe = term.visibility.subscribe(self._visibility_changed)
        try:
            while True:
                self._wake.clear()
                await self._wake.wait(term.clock, await self._look())
        finally:
            self._has_backlog = False
            unsubscribe()

    def start(self) -> None:
        """Claim runs from now on."""
        self._is_claiming = True
        self.wake()

    async def process_one(self) -> bool:
        """Execute the oldest run that can be claimed to its end; False where there is none, or
        where ``stop`` came before that end."""
        stops = self._stops
        self._tend()
        await self._term.database.flush()
        execution = self._claim_one() if stops == self._stops else None
        if execution is None or execution.task is None:
            return False
        await asyncio.wait([execution.task])
        return stops == self._stops

    async def stop(self, *, is_leaving: bool = False) -> None:
        """Claim nothing more, let the steps under way finish, and give the runs back.

        Returns when every local execution has ended. After ``stop_timeout`` seconds the steps that
        still run are cancelled, to run again later. ``is_leaving``: nothing waits any more for
        room in a full storage either.
        """
        self._is_claiming = False
        self._stops += 1
        for execution in self.executions.values():
            execution.suspend()
        await self._until_ended(self._term.options.stop_timeout)
        if is_leaving:
            self._term.database.stop_waiting()
        for execution in self.executions.values():
            execution.interrupt()
        await self._wind_down()

    async def rest(self) -> None:
        """Claim nothing more, and return when every step under way has ended; however long that
        takes. The runs are given back; ``start`` takes them again, also while nobody sees it."""
        self._is_claiming = False
        self._given_back = len(self.executions)
        for execution in self.executions.values():
            execution.suspend()
        await self._until_ended(None)

    async def drop(self) -> None:
        """``lose``, and return when every local execution has ended, or would not end."""
        self.lose()
        await self._wind_down()

    async def _wind_down(self) -> None:
        """Wait for the executions that were cancelled; but not for ever for one that refuses."""
        await self._until_ended(self._term.options.stop_timeout)
        for run_id in self.executions:
            # Nothing it does can be stored any more: its lease or its database is gone.
            logging.getLogger("durably").error(
                "Run %s swallows its cancellation; it is left behind.", run_id
            )

    def lose(self) -> None:
        """End every local execution with LeaseLost: nothing it does counts any more."""
        self._is_lost = True
        self._term.database.end_term()
        for execution in self.executions.values():
            execution.stop(LeaseLost())

    async def _look(self) -> float | None:
        """Do what there is to do; the answer is how many seconds to sleep at most."""
        moment, commits = self._term.clock.monotonic(), self._term.database.commits
        self._has_backlog = False
        try:
            if moment < self._next_tending and self._claim():
                self._has_backlog = True
                dues: list[float | None] = [self._next_tending - moment]
            else:
                self._next_tending = moment + TENDING_PAUSE
                dues = [self._tend()]
                self._claim()
                if not self.executions:
                    dues.append(self._housekeeping.tend_ended_runs())
            if self._term.database.commits != commits:
                await self._term.database.flush()
        except StorageFull:
            return ERROR_PAUSE
        except StorageError:
            raise
        except Exception as error:
            logging.getLogger("durably").exception("The worker could not look for work.")
            self._term.events.emit_now(WorkerError(message=repr(error)))
            return ERROR_PAUSE
        pauses = (*dues, self._recovery.next_look(), self._term.poll_interval)
        return min((pause for pause in pauses if pause is not None), default=None)

    def _tend(self) -> float | None:
        """Look after what others have left, and what time has settled; when to look again."""
        self._recovery.recover()
        return self._housekeeping.tend_waits()

    def _visibility_changed(self, signal: VisibilitySignal) -> None:
        if signal in ("visible", "resume"):
            # The machine may have slept, and with it the clock that counts the seconds.
            self._term.steady.anchor()
        self.wake()

    # Claiming

    def _claim(self) -> bool:
        """Start what there is room for; True if that was something."""
        has_claimed = False
        while self._is_claiming and self._claim_one() is not None:
            has_claimed = True
        return has_claimed

    def _claim_one(self) -> Execution | None:
        if not self._may_claim(len(self.executions)):
            return None
        claim = self._oldest()
        if claim is None:
            self._tell_unknown_jobs()
            return None
        return self._start_execution(claim)

    def _claim_successor(self, ending: str) -> Claim | None:
        """What takes the place of the run that ends in this transaction. None also where finding
        that takes a look."""
        if not (self._has_backlog and self._is_claiming):
            return None
        try:
            return self._oldest(ending) if self._may_claim(len(self.executions) - 1) else None
        except StorageError:
            raise  # The transaction is gone, and the end of the run with it.
        except Exception:
            return None  # The look meets it too, and says what it was.

    def _may_claim(self, running: int) -> bool:
        return (
            not self._is_lost
            and running < self._term.options.max_concurrent_runs
            and (self._given_back > 0 or self._term.visibility.is_visible)
            and not self._term.database.is_full
        )

    def _oldest(self, ended: str | None = None) -> Claim | None:
        """Claim the oldest run there is, and none whose old execution is winding down here."""
        term = self._term
        left_out = {*self.executions, *self._parked} - {ended}
        now = term.clock.now()
        claim = term.store.leases.claim(self._jobs.keys(), term.owner, now, left_out)
        self._given_back = max(self._given_back - 1, 0) if claim else 0
        return claim

    def _start_execution(self, claim: Claim) -> Execution:
        """Each execution makes its claim durable before anything else."""
        lease = claim.lease
        self._term.tell(
            RunClaimed, run_id=lease.run_id, job=claim.job, lease_generation=lease.generation
        )
        execution = Execution(self._term, claim)
        execution.claim_successor = partial(self._claim_successor, execution.run_id)
        context = self._context.copy()
        task = asyncio.create_task(execute(execution, self._jobs), context=context)
        execution.task = task
        self.executions[execution.run_id] = execution
        if len(self.executions) == 1:
            self.on_busy()
        # A callback and not a `finally`: a task cancelled before its first turn runs nothing.
        task.add_done_callback(lambda task: self._ended(execution, task), context=context)
        return execution

    def _ended(self, execution: Execution, task: asyncio.Task[None]) -> None:
        del self.executions[execution.run_id]
        if execution.is_parked:
            self._parked.add(execution.run_id)
        if task.cancelled() and not execution.is_ended:
            self._give_back(execution.lease)
        if execution.successor is None:
            self.wake()
        elif self._is_claiming and not self._is_lost:
            self._start_execution(execution.successor)
        else:
            self._give_back(execution.successor.lease)
        if not task.cancelled() and (error := task.exception()) is not None:
            logging.getLogger("durably").error(
                "Run %s could not be executed.", execution.run_id, exc_info=error
            )
            self._term.events.emit_now(WorkerError(message=repr(error), run_id=execution.run_id))

    def _give_back(self, lease: Lease) -> None:
        """Return a lease under which nothing was done: its execution never had a turn."""
        with suppress(StorageError):
            self._term.store.leases.release(lease, self._term.clock.now())
            self._term.database.start_flush()

    async def _until_ended(self, timeout: float | None) -> None:
        """Wait until no execution is left, for ``timeout`` seconds at most."""
        tasks = {execution.task for execution in self.executions.values() if execution.task}
        if not tasks:
            return
        ended = Bell()
        ending = asyncio.ensure_future(asyncio.wait(tasks))
        ending.add_done_callback(lambda _: ended.set())
        await ended.wait(self._term.clock, timeout)
        ending.cancel()

    def _tell_unknown_jobs(self) -> None:
        """Say once for each job that its runs wait because this program does not know it."""
        unknown = set(self._term.store.leases.pending_jobs()) - self._jobs.keys()
        for job in sorted(unknown - self._unknown_jobs_told):
            logging.getLogger("durably").warning(
                "Runs of job %r stay pending: it is not registered here. "
                "Pass it in Durably(..., jobs=[...]).",
                job,
            )
        self._unknown_jobs_told |= unknown
