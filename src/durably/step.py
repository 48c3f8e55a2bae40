"""Step: what a job function is handed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import TypeVar, TypeVarTuple, cast, overload

from .codec import decode, encode
from .errors import (
    InvalidOption,
    LeaseLost,
    NestedStep,
    StepFailed,
    StepOutputError,
    StorageError,
    UnreadableValue,
    UnstorableValue,
)
from .events import LogWrite, StepComplete, StepFail, StepReplay, StepStart
from .execution import Execution, is_cancelled
from .failure import describe_error
from .model import Durability, ErrorInfo, Progress
from .term import check_durability

OUTPUT_ERRORS = frozenset(
    f"{kind.__module__}.{kind.__qualname__}" for kind in (UnstorableValue, UnreadableValue)
)
"""The types under which a result that cannot be stored is remembered."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_current_step: ContextVar[str | None] = ContextVar("durably_step", default=None)


class Step:
    """The steps, progress and log of one run. A job function gets it as its first argument."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def run_id(self) -> str:
        """The id of the run that is being executed."""
        return self._execution.run_id

    @overload
    def run(
        self,
        name: str,
        fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        key: object = None,
        durability: Durability | None = None,
    ) -> Coroutine[object, object, T]: ...

    @overload
    def run(
        self,
        name: str,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        key: object = None,
        durability: Durability | None = None,
    ) -> Coroutine[object, object, T]: ...

    def run(
        self,
        name: str,
        fn: Callable[..., object],
        *args: object,
        key: object = None,
        durability: Durability | None = None,
    ) -> Coroutine[object, object, object]:
        """Run ``fn(*args)`` once in the life of the run, and return its result.

        ``fn`` may be a function or an async one. Where the run already has a checkpoint under
        ``name`` (with ``key``, where given), ``fn`` is not called: its result is returned, or its
        failure raised, from the checkpoint. Otherwise the result is stored first and is durable
        when this returns; ``durability="strict"`` asks for it to be on the disk as well.

        The value returned is the stored one, decoded, the first time too.

        Raises StepFailed where ``fn`` raised, StepOutputError where its result cannot be stored
        (neither is run again), DuplicateStep, NestedStep, and the stop signals of the run.
        """
        if not callable(fn):
            raise InvalidOption("fn", fn, 'a function: step.run("name", fn, argument)')
        # A plain function, so that the frame above is the caller's also under `gather`.
        caller = sys._getframe(1)
        call_site = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        return self._run(_identity(name, key), fn, args, durability, call_site)

    def progress(
        self, current: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Say how far the run is. The latest progress is stored with the next commit.

        Raises InvalidOption for what is no number (``total`` may be None), or no text.
        """
        for option, number in (("current", current), ("total", 0 if total is None else total)):
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise InvalidOption(option, number, "an int or a float")
        if message is not None and not isinstance(message, str):
            raise InvalidOption("message", message, "a string")
        self._execution.set_progress(Progress(current, total, message))

    def log(self, message: str, level: str = "info", **data: object) -> None:
        """Tell listeners of ``log:write``; the line names the step it was logged in."""
        execution = self._execution
        execution.term.events.emit(
            LogWrite(
                run_id=self.run_id,
                job=execution.claim.job,
                level=level,
                message=message,
                data=data,
                step=_current_step.get(),
            )
        )

    async def _run(
        self,
        name: str,
        fn: Callable[..., object],
        args: tuple[object, ...],
        durability: Durability | None,
        call_site: str,
    ) -> object:
        execution = self._execution
        execution.check()
        outer = _current_step.get()
        if outer is not None:
            raise NestedStep(outer, name)
        level = durability or execution.term.options.durability
        check_durability(level)
        execution.reserve(name, call_site)
        stored = execution.checkpoint_of(name)
        if stored is not None:
            return self._replay(name, *stored)
        await execution.may_start()
        started_at = execution.term.clock.now()
        with execution.under_way(name):
            execution.term.events.emit(
                StepStart(run_id=self.run_id, job=execution.claim.job, step=name)
            )
            try:
                output = encode(await self._call(name, fn, args))
                value = decode(output)
            except (UnstorableValue, UnreadableValue) as error:
                failure = describe_error(error, name)
                await self._checkpoint(name, level, started_at, error=failure)
                raise StepOutputError(name, failure) from error
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled(error):
                    raise
                failure = describe_error(error, name)
                await self._checkpoint(name, level, started_at, error=failure)
                raise StepFailed(name, failure) from error
            await self._checkpoint(name, level, started_at, output=output)
        execution.check()
        return value

    def _replay(self, name: str, output: str | None, error: ErrorInfo | None) -> object:
        execution = self._execution
        execution.term.events.emit(
            StepReplay(run_id=self.run_id, job=execution.claim.job, step=name)
        )
        if error is None:
            try:
                return decode(cast(str, output))
            except UnreadableValue as unreadable:
                raise execution.parked(unreadable) from unreadable
        raise (StepOutputError if error.type in OUTPUT_ERRORS else StepFailed)(name, error)

    async def _call(self, name: str, fn: Callable[..., object], args: tuple[object, ...]) -> object:
        token = _current_step.set(name)
        try:
            result = fn(*args)
            # Also a JavaScript promise, which Pyodide makes awaitable.
            return await result if isinstance(result, Awaitable) else result
        finally:
            _current_step.reset(token)
            # Whatever `fn` made of the stop signal, the signal goes on from here.
            self._execution.check_owned()

    async def _checkpoint(
        self,
        name: str,
        durability: Durability,
        started_at: int,
        *,
        output: str | None = None,
        error: ErrorInfo | None = None,
    ) -> None:
        """Store the outcome of a step. On return it is durable, and the event is delivered."""
        execution, term = self._execution, self._execution.term
        try:
            await term.database.when_there_is_room(
                lambda: execution.store_checkpoint(
                    name, output=output, error=error, started_at=started_at
                )
            )
            run_id, job = self.run_id, execution.claim.job
            if error is None:
                term.tell(StepComplete(run_id=run_id, job=job, step=name))
            else:
                term.tell(StepFail(run_id=run_id, job=job, step=name, error=error))
            await term.database.flush(durability)
        except StorageError:
            # Not acknowledged, so not to be seen: the run goes on elsewhere, or after a reload.
            execution.stop(LeaseLost())
            execution.check()


def _identity(name: str, key: object) -> str:
    """What identifies a step in its run: its name, with its key where it is one of a loop."""
    if not isinstance(name, str) or not name:
        raise InvalidOption("a step's name", name, "a string that is not empty")
    return name if key is None else f"{name}[{key}]"
