"""Leading: wait for the leadership, work for one term, and start again when it ends early.

There are two ways for a term to end early: the leadership is lost (the page is put away), or the
mirror is fenced because another tab has taken over. Both are safe, because the mirror refuses every
write that comes too late; what is not durable yet is simply found again by replay.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from .clock import Bell, SteadyTime
from .emitter import Emitter
from .errors import (
    NotOpen,
    StopSignal,
    StorageError,
    StorageFenced,
    StorageFull,
    StorageLost,
    StorageRefused,
)
from .events import (
    StorageFullEvent,
    StorageLostEvent,
    StorageMemory,
    TabFollower,
    TabLeader,
    WorkerError,
)
from .jobs import AnyJob
from .model import Progress, Role
from .options import Options
from .ports import Environment, Mirror, Unsubscribe

if TYPE_CHECKING:
    from .database import Database
    from .execution import Execution
    from .term import Term
    from .worker import Worker

REOPENINGS = 3
"""Tries to open a storage again that was there before, one after the other."""
REOPENING_PAUSE = 1.0
"""Seconds between two of them."""


class Leader:
    """The part of a Durably that lives as long as its ``async with`` block."""

    def __init__(
        self,
        name: str,
        place: Callable[[], Awaitable[Environment]],
        options: Options,
        jobs: Mapping[str, AnyJob],
        events: Emitter,
        falls_back_to_memory: bool,
        is_working: bool,
    ) -> None:
        self._name = name
        self._place = place
        self._environment: Environment
        """Of this program; known once it has begun to lead."""
        self._options = options
        self._jobs = jobs
        self._events = events
        self._falls_back_to_memory = falls_back_to_memory
        self._is_working = is_working
        """Whether the worker of this term and of later ones claims runs."""
        self._owner = ""
        """Of this term. Each term has a new one: what the last one left is an ended owner's."""
        self._leaves_runs = False
        self._task: asyncio.Task[None] | None = None
        self._term: asyncio.Future[Term] | None = None
        self._worker: Worker | None = None
        self._term_over = asyncio.Event()
        self._term_watchers: list[Callable[[], None]] = []
        self._is_stopping = False
        self._stopping = Bell()
        self._terms = 0
        """How many terms there were since ``start``."""

    async def start(self) -> None:
        """Return when this program leads, its database is open, and its worker runs.

        Raises what ``Database.open`` raises; the leadership is free again then.
        """
        if self._task is not None:
            raise RuntimeError(f"Durably({self._name!r}) is open already.")
        self._is_stopping = False
        self._stopping.clear()
        self._terms = 0
        self._term = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._lead())
        try:
            await self.term()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let the steps under way finish, give the runs back, and let the leadership go."""
        self._is_stopping = True
        self._stopping.set()
        self._term_over.set()
        if self._task is not None:
            if self._worker is None:
                self._task.cancel()
            await asyncio.wait([self._task])
        if self._term is not None:
            self._end_term_with(NotOpen(self._name))
        self._task = self._term = None

    async def term(self) -> Term:
        """The current term; waits for one where another tab leads."""
        if self._term is None:
            raise NotOpen(self._name)
        return self._term.result() if self._term.done() else await asyncio.shield(self._term)

    @property
    def role(self) -> Role:
        """What this program is for its database."""
        return "leader"

    @property
    def worker(self) -> Worker | None:
        """The worker of the current term."""
        return self._worker

    def on_term_over(self, callback: Callable[[], None]) -> Unsubscribe:
        """Call ``callback`` whenever a term ends: what it knew has to be asked for again."""
        self._term_watchers.append(callback)
        return lambda: self._term_watchers.remove(callback)

    def wake(self) -> None:
        """There is work to claim."""
        if self._worker is not None:
            self._worker.wake()

    def start_working(self) -> None:
        """Claim runs from now on."""
        self._is_working = True
        if self._worker is not None:
            self._worker.start()

    async def stop_working(self) -> None:
        """Claim nothing more; return when the steps under way have ended and runs are given back.

        Raises NotOpen.
        """
        if self._term is None:
            raise NotOpen(self._name)
        self._is_working = False
        if self._worker is not None:
            await self._worker.stop()

    async def process_one(self) -> bool:
        """Execute one run that can be claimed, to its end here; False where there is none."""
        await self.term()
        return self._worker is not None and await self._worker.process_one()

    def progress_of(self, run_id: str) -> Progress | None:
        """The last progress of a run that is executed here; it may not be stored yet."""
        execution = self._execution_of(run_id)
        return None if execution is None else execution.progress.latest

    def record_attempts(self, run_id: str) -> None:
        """Store the tries under way of a run that is about to be cancelled."""
        execution = self._execution_of(run_id)
        if execution is not None:
            execution.attempts.save()

    def stop_run(self, run_id: str, signal: StopSignal) -> None:
        """End the local execution of a run, if there is one."""
        execution = self._execution_of(run_id)
        if execution is not None:
            execution.stop(signal)

    def _execution_of(self, run_id: str) -> Execution | None:
        return None if self._worker is None else self._worker.executions.get(run_id)

    async def _lead(self) -> None:
        try:
            self._environment = await self._place()
        except Exception as error:
            self._give_up(error)
            return
        leadership = self._environment.leadership
        leadership.on_lost(self._lose)
        asyncio.get_running_loop().call_soon(_compile_ahead)
        failures = 0
        while not self._is_stopping:
            # Before the lock is asked for: what ends it from now on is not to be missed.
            self._term_over.clear()
            self._owner = os.urandom(8).hex()
            self._leaves_runs = False
            try:
                await self._serve(await self._acquire())
            except StorageFenced:
                continue  # Another tab was quicker; wait for the next turn.
            except Exception as error:
                failures += 1
                if not self._terms or failures > REOPENINGS or not _may_pass(error):
                    # Whoever waits for a term is told, also what was not foreseen.
                    self._give_up(error)
                    return
            else:
                failures = 0
            finally:
                leadership.release(leaves_runs=self._leaves_runs)
            if failures:
                await self._stopping.wait(self._environment.clock, REOPENING_PAUSE)

    async def _acquire(self) -> StorageRefused | None:
        """Wait for the leadership; the answer is why there is none, where memory will do."""
        try:
            await self._environment.leadership.acquire(self._owner, self._say_who_leads)
        except StorageRefused as error:
            if not self._may_fall_back:
                raise
            return error
        return None

    def _give_up(self, error: Exception) -> None:
        if self._terms:
            # `__aenter__` has returned long ago, so this is the only place where it can be said.
            message = f"{self._name!r} stops working: {error}"
            logging.getLogger("durably").error(message)
            self._events.emit_now(WorkerError(message=message))
        self._end_term_with(error)

    def _end_term_with(self, error: Exception) -> None:
        """No term comes any more: whoever waits for one, or asks for one later, gets ``error``."""
        assert self._term is not None
        if not self._term.done():
            self._term.set_exception(error)
        self._term.exception()  # Marks it as seen: perhaps nobody waits.

    @property
    def _may_fall_back(self) -> bool:
        # Later on an empty database in memory would take the place of one that holds work.
        return self._falls_back_to_memory and not self._terms

    async def _serve(self, refusal: StorageRefused | None) -> None:
        """One term, from the takeover to its end."""
        from .heartbeat import Heartbeat
        from .store import Store
        from .term import Term
        from .worker import Worker

        assert self._term is not None
        database = await self._open_database(refusal)
        self._terms += 1
        environment = self._environment
        term = Term(
            owner=self._owner,
            options=self._options,
            clock=environment.clock,
            steady=SteadyTime(environment.clock),
            events=self._events,
            database=database,
            store=Store(database),
            visibility=environment.visibility,
            leadership=environment.leadership,
            poll_interval=environment.poll_interval,
        )
        worker = self._worker = Worker(term, self._jobs, is_claiming=self._is_working)
        database.on_full = self._full
        self._events.durable_up_to(database.commits)
        self._events.emit(TabLeader())
        self._term.set_result(term)
        # The heartbeat is the first to be told that the program is visible again: it renews the
        # leases before the worker looks for more to do.
        heartbeat = Heartbeat(term, worker.executions)
        worker.on_busy = heartbeat.begin
        duties: list[asyncio.Future[None]] = [
            asyncio.ensure_future(heartbeat.run()),
            asyncio.ensure_future(worker.run()),
        ]
        over = asyncio.ensure_future(self._until_over())
        try:
            await asyncio.wait([*duties, over], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # The host shuts its event loop down: nothing is lost, and the runs are given back.
            self._is_stopping = True
            raise
        finally:
            await self._leave(worker, database, [*duties, over])

    async def _until_over(self) -> None:
        await self._term_over.wait()

    async def _leave(
        self, worker: Worker, database: Database, tasks: list[asyncio.Future[None]]
    ) -> None:
        self._term = asyncio.get_running_loop().create_future()
        for callback in list(self._term_watchers):
            callback()
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, StorageError):
                logging.getLogger("durably").error("The worker failed.", exc_info=outcome)
        self._leaves_runs = True
        try:
            if self._is_stopping and not database.has_failed:
                await worker.stop(is_leaving=True)
                await database.flush()
                self._leaves_runs = False
            else:
                await worker.drop()
        except StorageError as error:
            logging.getLogger("durably").warning("The last changes are not stored: %s", error)
        finally:
            self._worker = None
            self._events.drop_staged()
            await database.close()

    async def _open_database(self, refusal: StorageRefused | None) -> Database:
        if refusal is None:
            try:
                return await self._open(self._environment.mirror())
            except StorageRefused as error:
                if not self._may_fall_back:
                    raise
                refusal = error
        logging.getLogger("durably").warning("%s Running in memory, as asked.", refusal)
        from .local import VolatileMirror

        database = await self._open(VolatileMirror())
        self._events.emit(StorageMemory(reason=str(refusal)))
        return database

    async def _open(self, mirror: Mirror) -> Database:
        from .database import Database

        database = Database(self._name, mirror, self._environment.clock)
        database.on_durable = self._events.durable_up_to
        database.on_failure = self._failed
        try:
            await database.open()
        except BaseException:
            await database.close()
            raise
        return database

    def _full(self, error: StorageFull | None) -> None:
        if error is None:
            self.wake()
        else:
            self._events.emit_now(
                StorageFullEvent(usage_bytes=error.usage_bytes, quota_bytes=error.quota_bytes)
            )

    def _failed(self, error: StorageError) -> None:
        if isinstance(error, StorageLost):
            self._events.emit_now(StorageLostEvent(reason=str(error)))
        elif isinstance(error, StorageFenced):
            self._events.emit_now(TabFollower())
        self._lose()

    def _lose(self) -> None:
        """End the term, and its local executions at once: they must not even start a step."""
        self._term_over.set()
        if self._worker is not None:
            self._worker.lose()

    def _say_who_leads(self) -> None:
        logging.getLogger("durably").warning(
            "Another tab leads %r; this one waits and takes over when that tab is gone.", self._name
        )
        self._events.emit_now(TabFollower())


def _compile_ahead() -> None:
    """Import what a term begins with, while another tab may have the lock."""
    from . import database, heartbeat, term, triggers, waiting, worker  # noqa: F401


def _may_pass(error: Exception) -> bool:
    """Whether opening the storage again can help: browsers lose a connection now and then."""
    return isinstance(error, StorageLost | StorageRefused)
