"""Step: what a job function is handed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

from .codec import encode, is_text
from .errors import InvalidOption, NotInsideStep, StorageError, UnstorableValue
from .events import LogWrite
from .model import Durability, Progress, Wait, WaitResult
from .options import check_text, metadata_text
from .records import values_of

if TYPE_CHECKING:
    from .checkpointing import Checkpointing
    from .execution import CallSite, Execution

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Step:
    """The steps, progress and log of one run. A job function gets it as its first argument."""

    def __init__(self, execution: Execution, checkpointing: Checkpointing) -> None:
        self._execution = execution
        self._checkpointing = checkpointing

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
        # A plain function, so that the frame above is the caller's also under `gather`.
        if not callable(fn):
            raise _not_callable(fn)
        return self._checkpointing.run(_identity(name, key), fn, args, durability, _call_site())

    @overload
    async def all(
        self,
        branches: Mapping[str, Callable[[], Awaitable[T]]] = ...,
        /,
        **more: Callable[[], Awaitable[T]],
    ) -> dict[str, T]: ...

    @overload
    async def all(
        self, branches: Mapping[str, Callable[[], T]] = ..., /, **more: Callable[[], T]
    ) -> dict[str, T]: ...

    async def all(
        self,
        branches: Mapping[str, Callable[[], object]] = MappingProxyType({}),
        /,
        **more: Callable[[], object],
    ) -> dict[str, Any]:
        """Run several steps side by side: ``await step.all(left=fetch_left, right=fetch_right)``.

        Each function is a step of that name. Returns, once all of them have ended, their results
        by name, in the order given. Where some failed, raises the failure of the first of those in
        that order, and the others keep their checkpoints; a stop signal of the run goes first.
        """
        if not isinstance(branches, Mapping):
            raise InvalidOption("branches", branches, "functions by the names of their steps")
        functions = {**branches, **more}
        if len(functions) < len(branches) + len(more):
            raise InvalidOption("branches", [*branches, *more], "names used once each")
        for name, fn in functions.items():
            _identity(name, None)
            if not callable(fn):
                raise _not_callable(fn)
        call_site = _call_site()
        tasks = [
            asyncio.ensure_future(self._checkpointing.run(name, fn, (), None, call_site))
            for name, fn in functions.items()
        ]
        await _until_done(tasks)
        self._execution.check()
        for task in tasks:
            if (error := task.exception()) is not None:
                raise error
        return {name: task.result() for name, task in zip(functions, tasks, strict=True)}

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
        if self._execution.signal is None:
            self._in_the_loop(self._execution.progress.set, Progress(current, total, message))

    def log(self, message: str, level: str = "info", **data: object) -> None:
        """Tell listeners of ``log:write``; the line names the step it was logged in.

        With ``persist_logs`` the line is also stored, with the next commit, and told when it is
        durable; where it can no longer be stored, it is told all the same. Of data that cannot be
        stored, its ``repr`` is. A thread in which a step works may call this too.

        Raises InvalidOption for what is no text.
        """
        for option, text in (("message", message), ("level", level)):
            if not isinstance(text, str):
                raise InvalidOption(option, text, "a string")
        line = LogWrite(
            run_id=self.run_id,
            job=self._execution.claim.job,
            level=level,
            message=message,
            data=data,
            step=self._checkpointing.current,
        )
        is_kept = self._execution.term.options.persist_logs
        self._in_the_loop(self._write, line, _text_of(data) if is_kept else None)

    def _write(self, line: LogWrite, data: str | None) -> None:
        execution, term = self._execution, self._execution.term
        try:
            is_stored = data is not None and term.store.logs.add(
                execution.lease, line.level, line.message, data, line.step, term.clock.now()
            )
        except StorageError:
            is_stored = False  # No line is worth a run.
        commit = term.database.commits if is_stored else 0
        term.events.stage(commit, LogWrite, values_of(line))
        if is_stored:
            term.database.start_flush()

    def _in_the_loop(self, act: Callable[[*Ts], None], *args: *Ts) -> None:
        """Do it now; or, called in a thread that a step works in, in the loop's next turn."""
        assert self._execution.task is not None, "it is what runs the job"
        loop = self._execution.task.get_loop()
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here:
            act(*args)
        else:
            loop.call_soon_threadsafe(act, *args)

    # The step under way

    @property
    def cancelled(self) -> bool:
        """True once nothing that a step under way does will be stored: the run was cancelled or has
        ended, its lease is lost, or the step took longer to finish than ``stop_timeout``."""
        return self._execution.cancelled.is_set()

    @property
    def cancel_event(self) -> asyncio.Event:
        """Set when ``cancelled`` becomes true: for what a cancelled task does not stop by itself,
        such as a request of the page's or a thread."""
        return self._execution.cancelled

    def raise_if_cancelled(self) -> None:
        """Raise the stop signal of the run if there is one that ends steps under way."""
        self._execution.check_owned()

    async def set_metadata(self, metadata: Mapping[str, object]) -> None:
        """Store something about the try under way: what it costs, say, as JSON.

        Takes the place of what an earlier call has set. It is durable on return and stays, with the
        record of the try, also if this try is interrupted. Works inside the function of a step.

        Raises NotInsideStep; InvalidOption for what is no JSON object.
        """
        execution, step = self._execution, self._checkpointing.current
        execution.check_owned()
        if step is None or step not in execution.attempts.under_way:
            raise NotInsideStep("set_metadata")
        text = metadata_text(metadata)

        def save() -> None:
            if not execution.attempts.set_metadata(step, text):
                raise execution.refused()

        await execution.make_durable(save)
        execution.check_owned()

    # Waits

    def prepare_wait(
        self,
        name: str,
        *,
        timeout: float | timedelta | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Coroutine[object, object, Wait]:
        """Make a place where something from outside can be awaited, and return it.

        Its ``id`` is durable on return: give it away, and whoever has it calls
        ``durably.signal(id, payload)``, at once or in a month. ``timeout`` (seconds or timedelta)
        counts from the first time that this is called in the life of the run, and goes on through
        restarts. In a replay the same wait is returned.

        Raises DuplicateStep where the name is used twice, WaitInsideStep, InvalidOption.
        """
        from .waits import prepare_wait

        return prepare_wait(self._execution, name, timeout, metadata, _call_site())

    async def wait_for(self, wait: Wait) -> WaitResult:
        """How the wait ended: with a signal, or because its time was over; whichever came first.

        While neither has come, the run stops here with the status ``waiting``: steps under way
        finish, none starts, and it holds no slot and no concurrency key. Then it is pending again
        and is replayed up to here.

        Raises WaitInsideStep, InvalidOption, and the stop signals of the run.
        """
        from .waits import wait_for

        return await wait_for(self._execution, wait)


async def _until_done(tasks: list[asyncio.Task[object]]) -> None:
    """Wait for all of them, whatever they come to; where this is cancelled, they are."""
    if not tasks:
        return
    for task in tasks:
        task.add_done_callback(_see)
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


def _see(task: asyncio.Task[object]) -> None:
    """Only one of the failures is raised; asyncio is not to complain about the others."""
    if not task.cancelled():
        task.exception()


def _not_callable(fn: object) -> InvalidOption:
    return InvalidOption("fn", fn, 'a function: step.run("name", fn, argument)')


def _call_site() -> CallSite:
    """Where the caller of the calling method is."""
    caller = sys._getframe(2)
    return caller.f_code, caller.f_lasti


def _identity(name: str, key: object) -> str:
    """What identifies a step in its run: its name, with its key where it is one of a loop."""
    identity = name if key is None else f"{name}[{key}]"
    # Nearly all are ASCII, which is text.
    if not isinstance(name, str) or not name or not (identity.isascii() or is_text(identity)):
        check_text("a step's name", name)
        check_text("a step's key", identity)
    return identity


def _text_of(data: dict[str, object]) -> str:
    try:
        return encode(data)
    except UnstorableValue:
        return encode({name: _storable(value) for name, value in data.items()})


def _storable(value: object) -> object:
    try:
        encode(value)
    except UnstorableValue:
        return repr(value)
    return value
