"""The half of a Durably that changes nothing: what there is, and what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

from .clock import seconds
from .codec import is_text
from .emitter import Emitter, ErrorHandler, Listener
from .errors import (
    InvalidOption,
    NotOpen,
    RunFailed,
    RunNotFound,
    RunWasCancelled,
    UnreadableValue,
)
from .events import EVENT_TYPES, Event, LogWrite, RunDelete
from .leader import Leader
from .model import (
    Attempt,
    ErrorInfo,
    LogLine,
    Progress,
    Run,
    RunStatus,
    StepRecord,
    Tabs,
    Wait,
    statuses,
)
from .options import check_count

if TYPE_CHECKING:
    from .desk import Standing
    from .doctor import Diagnosis
    from .health import Health
    from .store.runs import Ending


class Queries:
    """What can be asked of a Durably, and listened to."""

    def __init__(self, leader: Leader, events: Emitter, label_schema: type | None) -> None:
        self._leader = leader
        self._events = events
        self._label_schema = label_schema

    # Runs

    async def get_run(self, run_id: str) -> Run:
        """The run as it is now. Raises RunNotFound."""
        run: Run = await self._leader.asking.ask("run", run_id)
        return run

    async def list_runs(
        self,
        *,
        status: RunStatus | str | Iterable[RunStatus | str] | None = None,
        job: str | Iterable[str] | None = None,
        labels: Mapping[str, object] | None = None,
        before: Run | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Run]:
        """Runs, newest first; with ``status`` or ``job`` (one or many) or ``labels`` (all of them)
        only those. An empty list of statuses or jobs fits no run, no labels fit every run.

        To page through them while others come and go, pass the last run of a page as ``before``.
        Raises InvalidOption.
        """
        from .labels import check_labels

        try:
            wanted = statuses(status)
        except (TypeError, ValueError):
            names = ", ".join(RunStatus)
            raise InvalidOption("status", status, f"one or many of: {names}") from None
        jobs = None if job is None else _names(job)
        for option, number in (("limit", limit), ("offset", offset)):
            check_count(option, number)
        if before is not None and not isinstance(before, Run):
            raise InvalidOption("before", before, "a run that list_runs gave")
        found: list[Run] = await self._leader.asking.ask(
            "runs",
            wanted,
            jobs,
            check_labels(labels, self._label_schema, complete=False),
            None if before is None else before.sequence,
            limit,
            offset,
        )
        return found

    async def get_steps(self, run_id: str) -> list[StepRecord]:
        """The checkpoints of a run, in the order in which they were stored. Raises RunNotFound."""
        steps: list[StepRecord] = await self._leader.asking.ask("steps", run_id)
        return steps

    async def get_attempts(self, run_id: str) -> list[Attempt]:
        """The tries of the steps of a run, in the order in which they began. Raises RunNotFound."""
        attempts: list[Attempt] = await self._leader.asking.ask("attempts", run_id)
        return attempts

    async def get_waits(self, run_id: str) -> list[Wait]:
        """The waits of a run, in the order in which they were prepared. Raises RunNotFound."""
        waits: list[Wait] = await self._leader.asking.ask("waits", run_id)
        return waits

    async def get_logs(
        self, run_id: str, *, after: LogLine | None = None, limit: int = 1000
    ) -> list[LogLine]:
        """The stored lines of a run's log, oldest first; those behind ``after``, if given.

        There are none unless ``persist_logs`` is on. Raises RunNotFound and InvalidOption.
        """
        check_count("limit", limit)
        if after is not None and not isinstance(after, LogLine):
            raise InvalidOption("after", after, "a line that get_logs gave")
        position = 0 if after is None else after.sequence
        lines: list[LogLine] = await self._leader.asking.ask("logs", run_id, position, limit)
        return lines

    async def result(
        self,
        run_id: str,
        timeout: float | timedelta | None = None,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_log: Callable[[LogWrite], object] | None = None,
    ) -> object:
        """``wait_for_run``, and return what the job function returned.

        Also raises UnreadableValue where today's code cannot read what is stored.
        """
        ending = await self._ending(run_id, timeout, on_progress, on_log)
        if isinstance(ending.output, UnreadableValue):
            raise ending.output
        return ending.output

    async def wait_for_run(
        self,
        run_id: str,
        timeout: float | timedelta | None = None,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_log: Callable[[LogWrite], object] | None = None,
    ) -> Run:
        """Wait until a run has completed, here or in another process, and return it.

        Its end is durable then. ``on_progress`` and ``on_log`` are called as it goes on; what they
        raise goes to the handlers of ``on_error``. Log lines are told of in the process that
        executes the run alone.

        Raises RunFailed; RunWasCancelled; RunNotFound, also where it is deleted meanwhile;
        WaitTimeout (the run goes on); NotOpen where the Durably is left meanwhile.
        """
        await self._ending(run_id, timeout, on_progress, on_log)
        return await self.get_run(run_id)

    async def _ending(
        self,
        run_id: str,
        timeout: float | timedelta | None,
        on_progress: Callable[[Progress], object] | None,
        on_log: Callable[[LogWrite], object] | None,
    ) -> Ending:
        """How the run has completed. Raises what ``wait_for_run`` raises."""
        from .waiting import wait_until_terminal

        ending = await wait_until_terminal(
            self._leader,
            self._events,
            run_id,
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            on_progress=on_progress,
            on_log=on_log,
        )
        if ending.status is RunStatus.CANCELLED:
            raise RunWasCancelled(run_id)
        if ending.status is RunStatus.FAILED:
            raise RunFailed(run_id, ending.error or ErrorInfo("Unknown", "no error was stored"))
        return ending

    async def export(
        self, runs: Iterable[str] | None = None, *, passphrase: str | None = None
    ) -> bytes:
        """These runs, by their ids, or all, as one file for ``import_``: versioned, with a
        checksum, and with ``passphrase`` encrypted.

        With the runs go their steps, attempts, waits, logs, labels and idempotency keys; with all
        runs also the keys of runs that were purged. It is how things are at one moment; everything
        in it is durable here, ``strict``, unless the storage is full.

        Raises RunNotFound, InvalidOption, and EncryptionUnavailable where there is nothing to
        encrypt with: on CPython that is the extra ``durably[encryption]``.
        """
        from .container import check_passphrase
        from .transfer import ids_of, packed

        check_passphrase(passphrase)
        ids = None if runs is None else ids_of(runs)
        lines = await self._leader.asking.ask("snapshot", ids)
        return await packed(lines, passphrase, self._leader.environment.clock.now())

    # How it is

    async def health(self) -> Health:
        """How the storage is: where it lies, what it holds, and whether it may go away.

        Changes nothing. Raises what ended the last term where there is none any more.
        """
        health: Health = await self._leader.asking.ask("health")
        return replace(health, role=self.tabs.role)

    async def doctor(self, limit: int = 1000) -> Diagnosis:
        """Why each unfinished run is not running, and whether what is stored is whole.

        Looks at ``limit`` runs, the oldest, and at every page and table; in a browser all of
        IndexedDB is read back, and commits wait meanwhile. Changes and repairs nothing.
        ``print`` it. Raises InvalidOption.
        """
        check_count("limit", limit)
        diagnosis: Diagnosis = await self._leader.asking.ask("doctor", limit)
        return diagnosis

    # Events

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
        return self._events.stream(run_id)[0]

    async def subscribe(self, run_id: str) -> AsyncIterator[Event]:
        """What happened to a run, for whoever joins late, and what happens to it until its end.

        First comes where it stands: the event that brought it there, and its last progress; then
        the events as they come. Where another tab takes over, it comes again, as far as it is news.
        Ends behind the one that ends the run or deletes it. Raises RunNotFound and EventsOverflow.
        """
        from .waiting import ENDINGS, standing_of

        told = ""
        while True:
            # Each leader counts its own events, and the last one may have ended before it told all.
            live, end = self._events.stream(run_id)
            unwatch = self._leader.asking.on_change(end)
            try:
                standing: Standing = await self._leader.asking.ask("standing", run_id)
                news = standing_of(standing.run, standing.progress, standing.waits)
                if repr(news) != told:
                    told = repr(news)
                    for event in self._events.stamped(news, standing.sequence):
                        yield event
                if standing.run.is_terminal:
                    return
                async for event in live:
                    if event.sequence > standing.sequence:
                        yield event
                        if isinstance(event, ENDINGS):
                            return
            except NotOpen:
                if not told:
                    raise
                return
            except RunNotFound:
                if not told:
                    raise
                yield RunDelete(run_id=run_id, job=standing.run.job)
                return
            finally:
                unwatch()

    @property
    def tabs(self) -> Tabs:
        """How this tab stands to the others of its origin. Raises NotOpen."""
        return self._leader.tabs


def _names(job: str | Iterable[str]) -> list[str]:
    """One job name or many, as a list."""
    wanted = "a job's name or many of them"
    if not isinstance(job, str) and not isinstance(job, Iterable):
        raise InvalidOption("job", job, wanted)
    names = [job] if isinstance(job, str) else list(job)
    for name in names:
        if not is_text(name):
            raise InvalidOption("job", name, wanted)
    return names
