"""The half of a Durably that changes nothing: what there is, and what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

from .clock import seconds
from .codec import is_text
from .emitter import Emitter, ErrorHandler, Listener
from .errors import (
    InvalidOption,
    RunFailed,
    RunNotFound,
    RunWasCancelled,
    UnreadableValue,
)
from .events import EVENT_TYPES, Event, LogWrite
from .leader import Leader
from .model import Attempt, ErrorInfo, LogLine, Progress, Run, RunStatus, StepRecord, Wait, statuses
from .options import check_count

if TYPE_CHECKING:
    from .doctor import Diagnosis
    from .health import Health
    from .store.runs import Ending
    from .term import Term


class Queries:
    """What can be asked of a Durably, and listened to."""

    def __init__(self, leader: Leader, events: Emitter, label_schema: type | None) -> None:
        self._leader = leader
        self._events = events
        self._label_schema = label_schema

    # Runs

    async def get_run(self, run_id: str) -> Run:
        """The run as it is now. Raises RunNotFound."""
        run = (await self._settled()).store.runs.get(run_id)
        if run is None:
            raise RunNotFound(run_id)
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
        return (await self._settled()).store.runs.find(
            statuses=wanted,
            jobs=jobs,
            labels=check_labels(labels, self._label_schema, complete=False),
            before=None if before is None else before.sequence,
            limit=limit,
            offset=offset,
        )

    async def get_steps(self, run_id: str) -> list[StepRecord]:
        """The checkpoints of a run, in the order in which they were stored. Raises RunNotFound."""
        return (await self._holding(run_id)).store.steps.of_run(run_id)

    async def get_attempts(self, run_id: str) -> list[Attempt]:
        """The tries of the steps of a run, in the order in which they began. Raises RunNotFound."""
        return (await self._holding(run_id)).store.steps.attempts(run_id)

    async def get_waits(self, run_id: str) -> list[Wait]:
        """The waits of a run, in the order in which they were prepared. Raises RunNotFound."""
        return (await self._holding(run_id)).store.waits.of_run(run_id)

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
        return (await self._holding(run_id)).store.logs.of_run(run_id, position, limit)

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

    # How it is

    async def health(self) -> Health:
        """How the storage is: where it lies, what it holds, and whether it may go away.

        Changes nothing. Raises what ended the last term where there is none any more.
        """
        from .health import health_of

        return await health_of(self._leader)

    async def doctor(self, limit: int = 1000) -> Diagnosis:
        """Why each unfinished run is not running, and whether what is stored is whole.

        Looks at ``limit`` runs, the oldest, and at every page and table; in a browser all of
        IndexedDB is read back, and commits wait meanwhile. Changes and repairs nothing.
        ``print`` it. Raises InvalidOption.
        """
        check_count("limit", limit)
        from .doctor import diagnose

        return await diagnose(self._leader, limit)

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
        return self._events.stream(run_id)

    async def subscribe(self, run_id: str) -> AsyncIterator[Event]:
        """What happened to a run, for whoever joins late, and what happens to it until its end.

        First comes where it stands: the event that brought it there, and its last progress; then
        the events as they come. Ends behind the one that ends the run or deletes it. Raises
        RunNotFound and EventsOverflow.
        """
        from .waiting import ENDINGS, standing_of

        term = await self._settled()
        live = self._events.stream(run_id)
        run = term.store.runs.get(run_id)
        if run is None:
            raise RunNotFound(run_id)
        waits = term.store.waits.of_run(run_id) if run.is_waiting else []
        for event in self._events.stamped(
            standing_of(run, self._leader.progress_of(run_id), waits)
        ):
            yield event
        if not run.is_terminal:
            async for event in live:
                yield event
                if isinstance(event, ENDINGS):
                    return

    async def _settled(self) -> Term:
        """The term, once it shows nothing that a crash would undo."""
        term = await self._leader.term()
        await term.database.settle()
        return term

    async def _holding(self, run_id: str) -> Term:
        """The same, if it has this run."""
        term = await self._settled()
        if term.store.runs.get(run_id) is None:
            raise RunNotFound(run_id)
        return term


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
