"""What is asked of a Durably, carried out where the database is.

The methods are the verbs of the protocol between tabs: a follower sends their names with their
arguments (``docs/protocol.md``). Each is safe to repeat, because a leader may end between doing
what it was asked for and saying so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import RunCancelled, RunConflict, RunNotFound
from .events import RunCancel, RunDelete
from .model import (
    Attempt,
    ImportReport,
    LogLine,
    Progress,
    Receipt,
    Run,
    RunStatus,
    StepRecord,
    Wait,
)
from .records import record
from .store.runs import Creation, Ending, NewRun
from .term import Term
from .triggers import create_runs

if TYPE_CHECKING:
    from .doctor import Diagnosis
    from .health import Health
    from .worker import Worker


@record
class Standing:
    """Where a run stands, for whoever listens from then on."""

    run: Run
    progress: Progress | None
    waits: list[Wait]
    sequence: int
    """Of the last event that is part of it."""


class Desk:
    """Answers for one term. Raises StorageFenced, StorageLost and StorageFull besides the rest."""

    def __init__(self, term: Term, worker: Worker) -> None:
        self._term = term
        self._worker = worker

    def ask(self, verb: str, arguments: tuple[object, ...]) -> Awaitable[Any]:
        """What the verb of this name answers."""
        answer: Awaitable[Any] = getattr(self, verb)(*arguments)
        return answer

    async def create(self, news: Sequence[NewRun]) -> list[Creation]:
        """Store these runs, or none of them, durably. Raises ConcurrencyConflict."""
        creations = create_runs(self._term, news)
        self._worker.claim()  # In the same commit, where there is room for it.
        await self._flush()
        return creations

    async def run(self, run_id: str) -> Run:
        """Raises RunNotFound."""
        await self._term.database.settle()
        run = self._term.store.runs.get(run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run

    async def runs(
        self,
        statuses: Collection[RunStatus] | None,
        jobs: Collection[str] | None,
        labels: Mapping[str, str],
        before: int | None,
        limit: int,
        offset: int,
    ) -> list[Run]:
        await self._term.database.settle()
        return self._term.store.runs.find(
            statuses=statuses, jobs=jobs, labels=labels, before=before, limit=limit, offset=offset
        )

    async def steps(self, run_id: str) -> list[StepRecord]:
        await self.run(run_id)
        return self._term.store.steps.of_run(run_id)

    async def attempts(self, run_id: str) -> list[Attempt]:
        await self.run(run_id)
        return self._term.store.steps.attempts(run_id)

    async def waits(self, run_id: str) -> list[Wait]:
        await self.run(run_id)
        return self._term.store.waits.of_run(run_id)

    async def logs(self, run_id: str, after: int, limit: int) -> list[LogLine]:
        await self.run(run_id)
        return self._term.store.logs.of_run(run_id, after, limit)

    async def ending(self, run_id: str) -> Ending | None:
        """How the run has ended, durably; None while it is not terminal. Raises RunNotFound."""
        ending = self._term.store.runs.ending(run_id)
        if ending is not None:
            await self._flush()
        return ending

    async def standing(self, run_id: str) -> Standing:
        """Raises RunNotFound."""
        run = await self.run(run_id)
        waits = self._term.store.waits.of_run(run_id) if run.is_waiting else []
        return Standing(run, self._latest(run), waits, self._term.events.sequence)

    async def progress(self, run_id: str) -> Progress | None:
        """How far the run is, as its job function last said. Raises RunNotFound."""
        return self._latest(await self.run(run_id))

    async def cancel(self, run_id: str) -> None:
        """Raises RunNotFound and RunConflict."""
        term, run = self._term, await self.run(run_id)
        execution = self._worker.executions.get(run_id)
        if execution is not None:
            # The tries under way are ended by the cancellation; so they have to be there.
            execution.attempts.save()
        if not term.store.runs.cancel(
            run_id, term.clock.now(), keeps_outputs=term.options.preserve_steps
        ):
            raise RunConflict(run_id, run.status, "be cancelled")
        term.tell(RunCancel, run_id=run_id, job=run.job)
        if execution is not None:
            execution.stop(RunCancelled())
        await self._flush()

    async def signal(self, wait_id: str, payload: str, signal_id: str) -> Receipt:
        """Raises WaitNotFound, WaitIsOver and SignalConflict."""
        from .waits import signal

        receipt = await signal(self._term, wait_id, payload, signal_id)
        self._worker.wake()
        return receipt

    async def delete(self, run_id: str) -> None:
        """Raises RunNotFound and RunConflict."""
        term, run = self._term, await self.run(run_id)
        if not term.store.retention.delete(run):
            raise RunConflict(run_id, run.status, "be deleted before it has ended")
        term.tell(RunDelete, run_id=run_id, job=run.job)
        await self._flush()

    async def purge(self, age: float, limit: int) -> int:
        """How many runs are gone."""
        from .housekeeping import purge

        purged = purge(self._term, age, limit)
        await self._flush()
        return len(purged)

    async def health(self) -> Health:
        from .health import health_of

        return await health_of(self._term)

    async def doctor(self, limit: int) -> Diagnosis:
        from .doctor import diagnose

        return await diagnose(self._term, self._worker, limit)

    async def persist(self) -> bool:
        """Whether the storage is its user's alone to clear, now that the browser was asked."""
        return await self._term.database.mirror.persist()

    async def snapshot(self, runs: list[str] | None) -> list[dict[str, Any]]:
        """What an export of these runs, or of all, holds. Raises RunNotFound."""
        from .transfer import snapshot

        return await snapshot(self._term, runs)

    async def take(self, lines: list[dict[str, Any]]) -> ImportReport:
        """Store what is new of an export, durably. Raises DamagedExport."""
        from .transfer import import_runs

        report = import_runs(self._term, lines)
        await self._term.database.flush("strict")
        self._worker.wake()
        return report

    def _latest(self, run: Run) -> Progress | None:
        """Of a run that is executed here, the last progress may not be stored yet."""
        execution = self._worker.executions.get(run.id)
        latest = None if execution is None else execution.progress.latest
        return latest or run.progress

    def _flush(self) -> Awaitable[None]:
        return self._term.database.flush(self._term.options.durability)


VERBS = frozenset(name for name in vars(Desk) if name != "ask" and not name.startswith("_"))
