"""The local life of one claimed run: its lease, its stop signal, its steps under way."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn, TypeVarTuple

from .attempts import Attempts
from .errors import (
    DuplicateStep,
    LeaseLost,
    RunCancelled,
    RunSuspended,
    StopSignal,
    StorageError,
    StorageFull,
    UnreadableValue,
)
from .events import RunRequeued, RunWaiting, StepCancel, StepComplete, StepFail, WorkerError
from .model import Claim, Durability, ErrorInfo, InterruptionReason, RunStatus
from .ports import VisibilitySignal
from .progress import ProgressWriter
from .term import Term

Ts = TypeVarTuple("Ts")
CallSite = tuple[CodeType, int]
"""The code that makes a call, and the instruction there. Its line is looked up where it is told."""


class Execution:
    """Holds what must not depend on user code: above all the stop signal, which is sticky.

    Once ``stop`` or ``suspend`` was called, ``check`` raises whatever user code has swallowed, no
    step starts, and the executor does not complete the run.
    """

    def __init__(self, term: Term, claim: Claim) -> None:
        self.term = term
        self.claim = claim
        self.lease = claim.lease
        self.run_id = claim.lease.run_id
        self.signal: StopSignal | None = None
        self.task: asyncio.Task[None] | None = None
        """The task that executes the run."""
        self.is_parked = False
        """True where the run must not be claimed again in this term."""
        self._at_rest = asyncio.Event()
        """Set when the last step of a suspended run has ended."""
        self._steps_held: set[asyncio.Task[object] | None] = set()
        """The tasks of steps that may not start yet."""
        self._owned_at = term.clock.monotonic()
        """When it was last certain that the run is this execution's own."""
        self.is_over = False
        """True once the job function has returned."""
        self._call_sites: dict[str, CallSite] = {}
        self._wait_sites: dict[str, CallSite] = {}
        self.stored = {} if claim.is_first else term.store.steps.stored(self.run_id)
        """The checkpoints of the run, by step name, as they were when it was claimed."""
        self._checkpoints = len(self.stored)
        self._awaited: list[str] = []
        """The ids of the open waits that the job function waits for."""
        self.attempts = Attempts(term, claim)
        self.progress = ProgressWriter(term, claim)
        self.cancelled = asyncio.Event()
        """Set when a step under way has to stop: nothing it does will be stored."""
        self.claim_successor: Callable[[], Claim | None] = lambda: None
        """Called in the transaction that ends the run: claims the one that takes its place."""
        self.successor: Claim | None = None

    @property
    def is_held(self) -> bool:
        """True where a step waits for the program to be visible."""
        return bool(self._steps_held)

    # Stopping

    def stop(self, signal: StopSignal) -> None:
        """End this execution now: its steps are cancelled and their results never stored."""
        if self.signal is None or isinstance(self.signal, RunSuspended):
            self.signal = signal
        self._cut()

    def suspend(self) -> None:
        """Start no further step; a step under way may finish and is checkpointed."""
        if self.signal is None:
            self.signal = RunSuspended()
            self._cancel(*self._steps_held)
            if not self.attempts.under_way:
                self._cancel(self.task)

    def interrupt(self) -> None:
        """Suspend, and do not wait for the steps under way: they will run again."""
        if self.signal is None:
            self.signal = RunSuspended()
        self._cut()

    def _cut(self) -> None:
        """Nothing that a step under way does from now on is stored."""
        self.cancelled.set()
        self._cancel(self.task, *self._steps_held, *self.attempts.tasks())

    def _cancel(self, *tasks: asyncio.Task[Any] | None) -> None:
        for task in set(tasks):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def check(self) -> None:
        """Raise the stop signal, if there is one."""
        if self.signal is not None:
            raise self._raised()

    async def check_at_rest(self) -> None:
        """Raise the stop signal, if there is one; of a suspended run, once no step is under way.

        In a TaskGroup, and in other code that cancels the rest when one part of it fails, a signal
        that is raised earlier would cut the steps that may finish.
        """
        await self._until_at_rest()
        self.check()

    async def _until_at_rest(self) -> None:
        while isinstance(self.signal, RunSuspended) and self.attempts.under_way:
            self._at_rest.clear()
            await self._at_rest.wait()

    def _raised(self) -> BaseException:
        """The stop signal, which is about to be raised in the current task.

        In a branch of a suspended run it is a cancellation, since the run's own task is cancelled
        too. A TaskGroup that has errors as well as a cancellation cancels once more, from Python
        3.13 on, and that would cut the `finally` blocks around it.
        """
        assert self.signal is not None
        task = asyncio.current_task()
        if task is not None and task is not self.task:
            if isinstance(self.signal, RunSuspended):
                return asyncio.CancelledError("the run is suspended")
            # User code may never await it; that it was stopped is no failure to report.
            task.add_done_callback(_see_signal)
        return self.signal

    def check_owned(self) -> None:
        """Raise unless a step under way may still be checkpointed."""
        if self.cancelled.is_set():
            self.check()
            raise asyncio.CancelledError("the run of this step is over")

    @property
    def is_ended(self) -> bool:
        """True where even a step under way has to stop: the run is no longer this execution's."""
        return self.signal is not None and not isinstance(self.signal, RunSuspended)

    @property
    def may_start(self) -> bool:
        """Whether a step may start at once: the program is visible, where it has to be, and it did
        not stand still, so that it may have lost the run and not know yet."""
        term, options = self.term, self.term.options
        return term.clock.monotonic() - self._owned_at <= options.stale_threshold / 2 and (
            options.on_hidden == "continue" or term.visibility.is_visible
        )

    async def until_it_may_start(self) -> None:
        """Return when that is so, and the run is provably still its own.

        Raises the stop signal where it is not.
        """
        if self.term.options.on_hidden == "pause" and not self.term.visibility.is_visible:
            await self._until_visible()
        await self.make_durable(self._renew)
        self.check()

    def _renew(self) -> None:
        if not self.term.store.leases.renew(self.lease, self.term.clock.now()):
            raise self.refused()

    async def _until_visible(self) -> None:
        visibility = self.term.visibility
        shown = asyncio.Event()

        def look(signal: VisibilitySignal) -> None:
            if visibility.is_visible:
                shown.set()

        unsubscribe = visibility.subscribe(look)
        task = asyncio.current_task()
        self._steps_held.add(task)
        try:
            await shown.wait()
        finally:
            self._steps_held.discard(task)
            unsubscribe()
        self.check()

    def parked(self, error: UnreadableValue) -> BaseException:
        """What is stored for this run cannot be read here: leave it to a program that can.

        A page that has not loaded the module of a class yet must not fail the runs that use it.
        """
        self.is_parked = True
        message = f"Run {self.run_id!r} stays pending: {error}"
        logging.getLogger("durably").warning(message)
        self.term.events.emit(WorkerError, message=message, run_id=self.run_id)
        self.suspend()
        return self._raised()

    async def wait_for(self, wait_id: str) -> NoReturn:
        """Let the run wait for something from outside: it stops here until that has come.

        And only when no step is under way: a job function that unwinds before would be cancelled
        in its `finally` blocks when the last step ends.
        """
        self._awaited.append(wait_id)
        self.suspend()
        await self._until_at_rest()
        raise self._raised()

    def give_back(self) -> None:
        """Return the lease: the run is pending again and can be claimed at once; or it waits."""
        term, now = self.term, self.term.clock.now()
        if self.signal is None:
            self.signal = RunSuspended()
        self.progress.save()
        if not self._awaited:
            term.store.leases.release(self.lease, now)
            return
        run_id, job = self.run_id, self.claim.job
        status = term.store.leases.suspend(self.lease, self._awaited, now)
        if status is RunStatus.WAITING:
            term.tell(RunWaiting, run_id=run_id, job=job, wait_ids=tuple(self._awaited))
        elif status is RunStatus.PENDING:
            term.tell(RunRequeued, run_id=run_id, job=job, reason="its wait is over already")

    def refused(self) -> BaseException:
        """The store refused a write under this lease: stop, and return the reason."""
        run = self.term.store.runs.get(self.run_id)
        cancelled = run is not None and run.status is RunStatus.CANCELLED
        self.stop(RunCancelled() if cancelled else LeaseLost())
        return self._raised()

    # Steps

    def reserve(self, name: str, call_site: CallSite) -> None:
        """Take a step name for this execution. Raises DuplicateStep where it is taken."""
        if self.is_over:
            self._warn_not_awaited(name)
            self.refuse_if_over()
        if name in self._call_sites:
            raise DuplicateStep(name, _place(self._call_sites[name]), _place(call_site))
        self._call_sites[name] = call_site

    def reserve_wait(self, name: str, call_site: CallSite) -> None:
        """Take the name of a wait for this execution. Raises DuplicateStep where it is taken."""
        self.refuse_if_over()
        if name in self._wait_sites:
            raise DuplicateStep(name, _place(self._wait_sites[name]), _place(call_site))
        self._wait_sites[name] = call_site

    def refuse_if_over(self) -> None:
        """End the task that wants more of a run whose job function has returned."""
        if self.is_over:
            raise asyncio.CancelledError("the run of this step is over")

    def close(self) -> None:
        """Nothing of this execution goes on: its timers end."""
        self.attempts.close()
        self.progress.close()

    async def make_durable(
        self, write: Callable[[*Ts], None], *args: *Ts, durability: Durability | None = None
    ) -> None:
        """Make a write of the owner of this run. On return it is durable.

        Raises the stop signal where it cannot be.
        """
        database, begun_at = self.term.database, self.term.clock.monotonic()
        try:
            try:
                write(*args)
            except StorageFull:
                await database.when_there_is_room(lambda: write(*args))
            await database.flush(durability or self.term.options.durability)
        except StorageError:
            # Not acknowledged, so not to be seen: the run goes on elsewhere, or after a reload.
            self.stop(LeaseLost())
            self.check()
        self._owned_at = begun_at

    def store_checkpoint(
        self, name: str, attempt: int, started_at: int, output: str | None, error: ErrorInfo | None
    ) -> None:
        """Write a checkpoint, which its event follows.

        Raises the stop signal where the store refuses it.
        """
        term = self.term
        if not term.store.steps.checkpoint(
            self.lease,
            name,
            position=self._checkpoints + 1,
            attempt=attempt,
            output=output,
            error=error,
            started_at=started_at,
            now=term.clock.now(),
        ):
            raise self.refused()
        self._checkpoints += 1
        if error is None:
            term.tell(StepComplete, run_id=self.run_id, job=self.claim.job, step=name)
        else:
            term.tell(StepFail, run_id=self.run_id, job=self.claim.job, step=name, error=error)

    def checkpoint_of(self, name: str) -> tuple[str | None, ErrorInfo | None]:
        """The stored outcome of a step that is among them: its encoded output, or its failure."""
        position, output, error = self.stored[name]
        if output == "":
            output = self.term.store.steps.output(self.run_id, position)
        return output, error

    def step_ends(self, name: str) -> None:
        del self.attempts.under_way[name]
        if self.signal is not None and not self.attempts.under_way:
            self._at_rest.set()
            if isinstance(self.signal, RunSuspended):
                self._cancel(self.task)  # The last step that the job function waited for.

    def step_was_cut(self, name: str) -> None:
        """A try ended without an outcome: leave a record of it, and say so.

        Without a signal it was the job function that cancelled it, or that did not wait for it.
        Where the run was cancelled or the lease is lost, the store refuses the record.
        """
        by_cancel = self.signal is None or isinstance(self.signal, RunCancelled)
        reason: InterruptionReason = "cancelled" if by_cancel else "lease-lost"
        self.attempts.cut(name, reason)
        self.term.events.emit(
            StepCancel, run_id=self.run_id, job=self.claim.job, step=name, reason=reason
        )

    async def end_steps(self) -> None:
        """The job function has returned: no step starts, and those under way end.

        They are cancelled, but for those of a suspended run, which may finish.
        """
        self.is_over = True
        tasks = self.attempts.tasks()
        self._cancel(*self._steps_held)
        if not isinstance(self.signal, RunSuspended):
            self.cancelled.set()
            for name in self.attempts.under_way if self.signal is None else ():
                self._warn_not_awaited(name)
            self._cancel(*tasks)
        if tasks:
            await asyncio.wait(tasks)

    def _warn_not_awaited(self, step: str) -> None:
        warnings.warn(
            f"Step {step!r} of run {self.run_id!r} was started but not awaited; "
            "it ends with its run and its result is not stored.",
            RuntimeWarning,
            stacklevel=3,
        )


def _place(site: CallSite) -> str:
    code, instruction = site
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    return f"{code.co_filename}:{next(lines, None)}"


def _see_signal(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging "Task exception was never retrieved" of a stop signal."""
    # Not `exception()` at once: it would keep asyncio from logging whatever else ended the task.
    if not task.cancelled() and isinstance(getattr(task, "_exception", None), StopSignal):
        task.exception()


def is_cancelled(error: BaseException) -> bool:
    """True where ``error`` ends the current task from outside.

    A CancelledError that nobody asked this task for is a failure like any other: that of awaiting
    something else that was cancelled.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
