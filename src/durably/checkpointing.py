"""A step is answered from its checkpoint; or its function is called, and the outcome stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeGuard, cast

from .codec import decode, round_trip
from .errors import (
    NestedStep,
    StepFailed,
    StepOutputError,
    StopSignal,
    UnreadableValue,
    UnstorableValue,
)
from .events import StepReplay, StepStart
from .execution import CallSite, Execution, is_cancelled
from .failure import describe_error
from .model import Durability, ErrorInfo, Lease
from .options import check_durability

OUTPUT_ERRORS = frozenset(
    f"{kind.__module__}.{kind.__qualname__}" for kind in (UnstorableValue, UnreadableValue)
)
"""The types under which a result that cannot be stored is remembered."""

NEVER_AWAITABLE = frozenset({str, int, float, bool, type(None), list, dict, tuple, bytes})
"""Types of which that is known: to ask a type takes long where the answer is no."""

_current_step: ContextVar[tuple[Lease, str] | None] = ContextVar("durably_step", default=None)
"""The step whose function is being called, here and in everything it calls or starts."""


def step_of(execution: Execution) -> str | None:
    """The step that the caller is a part of, if it is one of this execution.

    Another one's it may be where a step opens a Durably, or drives its worker.
    """
    found = _current_step.get()
    return found[1] if found is not None and found[0] == execution.lease else None


def _is_awaitable(result: object) -> TypeGuard[Awaitable[object]]:
    """Also a JavaScript promise is, which Pyodide makes so."""
    return hasattr(type(result), "__await__")


class Checkpointing:
    """Runs the steps of one execution, each once in the life of its run."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._term = execution.term
        self._run_id = execution.run_id
        self._job = execution.claim.job

    @property
    def current(self) -> str | None:
        """The step that the caller is a part of, if it is one of this execution."""
        return step_of(self._execution)

    async def run(
        self,
        name: str,
        fn: Callable[..., object],
        args: tuple[object, ...],
        durability: Durability | None,
        call_site: CallSite,
    ) -> object:
        execution, term = self._execution, self._term
        if _current_step.get() is not None and (outer := step_of(execution)) is not None:
            raise NestedStep(outer, name)
        if execution.signal is not None:
            await execution.check_at_rest()
        level = term.options.durability
        if durability is not None:
            check_durability(durability)
            level = durability
        execution.reserve(name, call_site)
        if name in execution.stored:
            return self._replay(name, *execution.checkpoint_of(name))
        if not execution.may_start:
            await execution.until_it_may_start()
        started_at = term.clock.now()
        attempt = execution.attempts.begin(name, started_at)
        output: str | None = None
        value: object = None
        failed: StepFailed | None = None
        try:
            term.events.emit(StepStart, run_id=self._run_id, job=self._job, step=name)
            try:
                output, value = round_trip(await self._call(name, fn, args))
            except (UnstorableValue, UnreadableValue) as error:
                failed = StepOutputError(name, describe_error(error, name))
                failed.__cause__ = error
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled(error):
                    raise
                failed = StepFailed(name, describe_error(error, name))
                failed.__cause__ = error
            # Behind this the outcome is durable, and its event was delivered.
            await execution.make_durable(
                execution.store_checkpoint,
                name,
                attempt,
                started_at,
                output,
                None if failed is None else failed.error,
                durability=level,
            )
            if failed is not None:
                raise failed
        except (StopSignal, asyncio.CancelledError):
            execution.step_was_cut(name)
            raise
        finally:
            execution.step_ends(name)
            failed = None  # Its traceback leads here: together they would outlive their use.
        if execution.signal is not None:
            await execution.check_at_rest()
        return value

    def _replay(self, name: str, output: str | None, error: ErrorInfo | None) -> object:
        execution = self._execution
        self._term.events.emit(StepReplay, run_id=self._run_id, job=self._job, step=name)
        if error is None:
            try:
                return decode(cast(str, output))
            except UnreadableValue as unreadable:
                raise execution.parked(unreadable) from unreadable
        raise (StepOutputError if error.type in OUTPUT_ERRORS else StepFailed)(name, error)

    async def _call(self, name: str, fn: Callable[..., object], args: tuple[object, ...]) -> object:
        token = _current_step.set((self._execution.lease, name))
        try:
            result = fn(*args)
            if type(result) not in NEVER_AWAITABLE and _is_awaitable(result):
                result = await result
        except BaseException as error:
            if is_cancelled(error) and asyncio.current_task() is not self._execution.task:
                # In a task that user code has made, a cancellation goes on as one: asyncio logs any
                # other end of a task whose awaiter was cancelled too (`shield`, `wait_for`).
                raise
            self._execution.check_owned()
            raise
        finally:
            _current_step.reset(token)
        if self._execution.signal is not None or self._execution.is_over:
            # Whatever `fn` made of the stop signal, the signal goes on from here.
            self._execution.check_owned()
        return result
