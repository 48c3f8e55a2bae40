"""Durably: the one object a program opens. It delegates, and decides nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from inspect import iscoroutinefunction
from pathlib import Path
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar, cast

from .emitter import Emitter, ErrorHandler, Listener
from .errors import (
    InvalidOption,
    JobNotRegistered,
    RunCancelled,
    RunConflict,
    RunFailed,
    RunNotFound,
    RunWasCancelled,
    UnreadableValue,
)
from .events import EVENT_TYPES, Event, RunCancel, RunTrigger
from .jobs import AnyJob, Call, registry
from .leader import Leader
from .model import Disposition, Durability, ErrorInfo, Run, RunStatus, StepRecord, statuses
from .ports import Environment
from .term import OnHidden, Term, check_options
from .waiting import wait_until_terminal

R_co = TypeVar("R_co", covariant=True)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class RunHandle(Generic[R_co]):
    """A triggered run: its id, what ``trigger`` did, and a way to its result."""

    def __init__(self, durably: Durably, run: Run, disposition: Disposition) -> None:
        self._durably = durably
        self.id = run.id
        self.run = run
        """The run as it was when ``trigger`` returned."""
        self.disposition = disposition
        """``created``, or ``idempotent`` where the key already had a run."""

    async def result(self) -> R_co:
        """Wait until the run is terminal, and return what its job function returned.

        Raises RunFailed or RunWasCancelled. The result is durable.
        """
        return cast(R_co, await self._durably.result(self.id))

    def __repr__(self) -> str:
        return f"<RunHandle {self.id} {self.disposition}>"


class Durably:
    """Runs jobs whose steps survive the end of the program.

    ``name`` names the database: in a browser an IndexedDB database of the page's origin, on
    CPython the file ``<directory>/<name>.sqlite3``. Durations are seconds or ``timedelta``.

    Use it with ``async with``: entering waits until this program leads (in a browser, one tab of
    an origin does) and its database is loaded; leaving lets the steps under way finish, for
    ``stop_timeout`` at most, and gives unfinished runs back, to go on at the next opening.

    Raises InvalidOption for options that cannot work; entering raises StorageRefused (unless
    ``when_refused="memory"``: then nothing is kept, and the event ``storage:memory`` says so),
    DamagedDatabase and NewerSchema, and leaves what is stored as it is.
    """

    def __init__(
        self,
        name: str,
        *,
        jobs: Iterable[AnyJob] = (),
        heartbeat_interval: float | timedelta = 5.0,
        stale_threshold: float | timedelta = 30.0,
        max_concurrent_runs: int = 1,
        max_interruptions: int = 20,
        on_hidden: OnHidden = "continue",
        durability: Durability = "relaxed",
        stop_timeout: float | timedelta = 10.0,
        when_refused: Literal["error", "memory"] = "error",
        directory: str | Path = ".",
        environment: Environment | None = None,
    ) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InvalidOption(
                "name", name, "1 to 100 letters, digits, '.', '_' or '-', beginning with no sign"
            )
        if when_refused not in ("error", "memory"):
            raise InvalidOption("when_refused", when_refused, '"error" or "memory"')
        options = check_options(
            heartbeat_interval=heartbeat_interval,
            stale_threshold=stale_threshold,
            max_concurrent_runs=max_concurrent_runs,
            max_interruptions=max_interruptions,
            on_hidden=on_hidden,
            durability=durability,
            stop_timeout=stop_timeout,
        )
        self.name = name
        self._options = options
        self._jobs = registry(jobs)
        self._environment = environment or _environment_here(name, Path(directory))
        self._events = Emitter(self._environment.clock)
        self._leader = Leader(
            name,
            self._environment,
            options,
            self._jobs,
            self._events,
            falls_back_to_memory=when_refused == "memory",
        )

    async def __aenter__(self) -> Self:
        await self._leader.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leader.stop()
        self._events.end_streams()

    async def trigger(
        self, call: Call[R_co], *, idempotency_key: str | None = None
    ) -> RunHandle[R_co]:
        """Make a run of a bound job: ``await durably.trigger(import_orders("orders.csv"))``.

        Where the job already has a run under ``idempotency_key``, that one is returned and its
        input stays what it was. The run is durable when this returns. Raises JobNotRegistered and
        InvalidOption; then nothing is stored.
        """
        if not isinstance(call, Call):
            raise InvalidOption("call", call, "a job called with its arguments: trigger(job(...))")
        if call.job not in self._jobs:
            raise JobNotRegistered(call.job)
        if idempotency_key is not None and (
            not isinstance(idempotency_key, str) or not idempotency_key
        ):
            raise InvalidOption("idempotency_key", idempotency_key, "a string that is not empty")
        term = await self._leader.term()
        run, disposition = term.store.create_run(
            call.job, call.input, idempotency_key, term.clock.now()
        )
        if disposition == "created":
            term.tell(RunTrigger(run_id=run.id, job=run.job))
        await term.database.flush(self._options.durability)
        self._leader.wake()
        return RunHandle(self, run, disposition)

    async def get_run(self, run_id: str) -> Run:
        """The run as it is now. Raises RunNotFound."""
        run = (await self._settled()).store.get_run(run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run

    async def list_runs(
        self,
        *,
        status: RunStatus | str | Iterable[RunStatus | str] | None = None,
        job: str | Iterable[str] | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Run]:
        """Runs, newest first; with ``status`` or ``job`` (one or many) only those."""
        try:
            wanted = statuses(status)
        except ValueError:
            names = ", ".join(RunStatus)
            raise InvalidOption("status", status, f"one or many of: {names}") from None
        for option, number in (("limit", limit), ("offset", offset)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise InvalidOption(option, number, "a whole number of at least 0")
        jobs = [job] if isinstance(job, str) else list(job or ())
        return (await self._settled()).store.list_runs(wanted, jobs, limit, offset)

    async def get_steps(self, run_id: str) -> list[StepRecord]:
        """The checkpoints of a run, in the order in which they were stored. Raises RunNotFound."""
        await self.get_run(run_id)
        return (await self._settled()).store.get_steps(run_id)

    async def cancel(self, run_id: str) -> None:
        """Cancel a pending, running or waiting run.

        Its status is ``cancelled``, durably, when this returns; a step under way is cancelled and
        its result is not stored. Raises RunNotFound, and RunConflict for a terminal run.
        """
        term = await self._leader.term()
        run = await self.get_run(run_id)
        if not term.store.cancel(run_id, term.clock.now()):
            raise RunConflict(run_id, run.status, "be cancelled")
        term.tell(RunCancel(run_id=run_id, job=run.job))
        self._leader.stop_run(run_id, RunCancelled())
        await term.database.flush(self._options.durability)

    async def result(self, run_id: str) -> object:
        """Wait until a run is terminal, and return what its job function returned.

        Raises RunNotFound, RunFailed and RunWasCancelled; UnreadableValue where today's code cannot
        read what is stored; NotOpen where the Durably is left meanwhile.
        """
        run = await wait_until_terminal(self._leader, self._events, run_id)
        if run.status is RunStatus.COMPLETED:
            if isinstance(run.output, UnreadableValue):
                raise run.output
            return run.output
        if run.status is RunStatus.CANCELLED:
            raise RunWasCancelled(run_id)
        raise RunFailed(run_id, run.error or ErrorInfo("Unknown", "no error was stored"))

    def on(self, event_type: str, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with each event of this type (``"*"``: of any), in order.

        Raises InvalidOption for a type that there is not, and for an async listener: it would not
        be awaited; start a task from a plain one.

        An event of a write is delivered when the write is durable. What a listener raises goes to
        the handlers of ``on_error``, or to the log; it does not reach the run. The answer is a
        function that ends the subscription.
        """
        if event_type not in EVENT_TYPES and event_type != "*":
            raise InvalidOption("event_type", event_type, f"'*' or one of {sorted(EVENT_TYPES)}")
        if not callable(listener) or iscoroutinefunction(listener):
            raise InvalidOption("listener", listener, "a plain function")
        return self._events.on(event_type, listener)

    def on_error(self, handler: ErrorHandler) -> None:
        """Call ``handler`` with what a listener raised, and the event it was given."""
        self._events.on_error(handler)

    def events(self, run_id: str | None = None) -> AsyncIterator[Event]:
        """The events from now on, of one run or of all, as an async iterator.

        It ends when the Durably is left. Raises EventsOverflow where the reader falls 10,000
        events behind.
        """
        return self._events.stream(run_id)

    async def _settled(self) -> Term:
        """The term, once it shows nothing that a crash would undo."""
        term = await self._leader.term()
        await term.database.settle()
        return term


def _environment_here(name: str, directory: Path) -> Environment:
    if sys.platform == "emscripten":
        from .browser import browser_environment

        return browser_environment(name)
    from .local import local_environment

    return local_environment(name, directory)
