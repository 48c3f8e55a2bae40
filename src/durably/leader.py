"""Leading: wait for the leadership, work for one term, and start again when it ends early.

A term ends early when the leadership is lost (the page is put away, another tab has stolen it),
when the mirror is fenced because another tab has taken over, or when this tab is hidden and hands
over. All are safe, because the mirror refuses every write that comes too late; what is not durable
yet is simply found again by replay. While another tab leads, this one follows it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from .asking import Asking
from .clock import Bell, SteadyTime
from .emitter import Emitter
from .errors import (
    NotOpen,
    StorageError,
    StorageFenced,
    StorageFull,
    StorageLost,
    StorageRefused,
)
from .events import (
    StorageMemory,
    TabFollower,
    TabLeader,
    WorkerError,
    storage_event,
)
from .handover import Handover
from .jobs import AnyJob
from .model import Tabs
from .options import Options
from .ports import Environment, Mirror
from .protocol import Message

if TYPE_CHECKING:
    from .answering import Answering
    from .database import Database
    from .desk import Desk
    from .term import Term
    from .worker import Worker

REOPENINGS = 3
"""Tries to open a storage again that was there before, one after the other."""
OFFER_PATIENCE = 1.0
"""Seconds in which the tab that was offered the leadership can take it, before anybody may."""
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
        self.environment: Environment
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
        self.asking = Asking(name, options, events)
        self._worker: Worker | None = None
        self._answering: Answering | None = None
        self._epoch: int | None = None
        """Of this term's database."""
        self._term_over = Bell()
        self._handover = Handover(on_rest=self._term_over.set, on_stay=self._stay)
        self._is_stopping = False
        self._stopping = Bell()
        self._is_entered = False
        """Whether ``start`` has returned."""

    async def start(self) -> None:
        """Return when this program leads, its database is open, and its worker runs; or when
        another tab leads, and this one follows it.

        Raises what ``Database.open`` raises; the leadership is free again then.
        """
        if self._task is not None:
            raise RuntimeError(f"Durably({self._name!r}) is open already.")
        self._is_stopping = False
        self._stopping.clear()
        self._is_entered = False
        self.asking.begin()
        self._task = asyncio.ensure_future(self._lead())
        try:
            await self.asking.whom()
        except BaseException:
            await self.stop()
            raise
        self._is_entered = True

    async def stop(self) -> None:
        """Let the steps under way finish, give the runs back, and let the leadership go."""
        self._is_stopping = True
        self._stopping.set()
        self._term_over.set()
        if self._task is not None:
            if self._worker is None:
                self._task.cancel()
            await asyncio.wait([self._task])
        self.asking.end()
        self._task = None

    @property
    def tabs(self) -> Tabs:
        """Raises NotOpen, also while it is not known yet who leads."""
        self.asking.check_open()
        leads = self._worker is not None
        if not (self._is_entered or leads or self.asking.following):
            raise NotOpen(self._name)
        return self.asking.tabs(self.environment, self._owner if leads else None, self._epoch)

    def start_working(self) -> None:
        """Claim runs from now on."""
        self._is_working = True
        if self._worker is not None:
            self._worker.start()

    async def stop_working(self) -> None:
        """Claim nothing more; return when the steps under way have ended and runs are given back.

        Raises NotOpen.
        """
        self.asking.check_open()
        self._is_working = False
        if self._worker is not None:
            await self._worker.stop()

    async def process_one(self) -> bool:
        """Execute one run that can be claimed, to its end here; False where there is none."""
        await self.asking.whom()
        return self._worker is not None and await self._worker.process_one()

    async def _lead(self) -> None:
        try:
            self.environment = await self._place()
        except Exception as error:
            self._give_up(error)
            return
        leadership = self.environment.leadership
        leadership.on_lost(self._lose)
        asyncio.get_running_loop().call_soon(_compile_ahead)
        failures = 0
        while not self._is_stopping:
            # Before the lock is asked for: what ends it from now on is not to be missed.
            self._term_over.clear()
            self._owner = os.urandom(8).hex()
            self._leaves_runs = False
            try:
                try:
                    refusal = await self._acquire()
                finally:
                    self.asking.unfollow()
                await self._serve(refusal)
            except StorageFenced:
                continue  # Another tab was quicker; wait for the next turn.
            except Exception as error:
                failures += 1
                if not self._is_entered or failures > REOPENINGS or not _may_pass(error):
                    # Whoever waits for a term is told, also what was not foreseen.
                    self._give_up(error)
                    return
            else:
                failures = 0
            finally:
                try:
                    await self._offer()
                finally:  # Whoever leaves meanwhile cancels the offer, and must not keep the lock.
                    leadership.release(leaves_runs=self._leaves_runs)
            if failures:
                await self._stopping.wait(self.environment.clock, REOPENING_PAUSE)

    async def _offer(self) -> None:
        """Let the successor take the lock: if it were free, it would go to whoever waits longest,
        and that one would lead for a moment, and be cut in its first step."""
        successor, self._handover.successor = self._handover.successor, None
        if successor is not None:
            self._term_over.clear()
            self.asking.line(self.environment).post("handover", to=successor)
            await self._term_over.wait(self.environment.clock, OFFER_PATIENCE)

    async def _acquire(self) -> StorageRefused | None:
        """Wait for the leadership; the answer is why there is none, where memory will do."""
        try:
            environment = self.environment
            await environment.leadership.acquire(
                self._owner, lambda: self.asking.follow(environment)
            )
            self.asking.tell_taking()
        except StorageRefused as error:
            if not self._may_fall_back:
                raise
            return error
        return None

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, StorageError) and not isinstance(error, StorageLost):
            self._events.emit_now(storage_event(error))  # A loss was told when it was found.
        if self._is_entered:
            # `__aenter__` has returned long ago, so this is the only place where it can be said.
            message = f"{self._name!r} stops working: {error}"
            logging.getLogger("durably").error(message)
            self._events.emit_now(WorkerError(message=message))
        self.asking.fail(error)

    @property
    def _may_fall_back(self) -> bool:
        # Later on an empty database in memory would take the place of one that holds work.
        return self._falls_back_to_memory and not self._is_entered

    async def _serve(self, refusal: StorageRefused | None) -> None:
        """One term, from the takeover to its end."""
        from .desk import Desk
        from .heartbeat import Heartbeat
        from .store import Store
        from .term import Term
        from .worker import Worker

        database = await self._open_database(refusal)
        environment = self.environment
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
        self._events.durable_up_to(database.commits)
        self._events.emit(TabLeader)
        desk = Desk(term, worker)
        self.asking.answers(desk)
        if self._epoch is not None:
            self._answer(desk, term)
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
        await self._term_over.wait(self.environment.clock, None)

    async def _leave(
        self, worker: Worker, database: Database, tasks: list[asyncio.Future[None]]
    ) -> None:
        self.asking.pause()
        self.asking.silence()
        self.asking.tell_watchers()
        self._handover.call_off()
        if self._answering is not None:
            await self._answering.close()
        self._answering = None
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, StorageError):
                logging.getLogger("durably").error("The worker failed.", exc_info=outcome)
        self._leaves_runs = True
        try:
            if (self._is_stopping or self._handover.successor) and not database.has_failed:
                await worker.stop(is_leaving=True)
                await database.flush()
                self._leaves_runs = False
            else:
                await worker.drop()
        except StorageError as error:
            logging.getLogger("durably").warning("The last changes are not stored: %s", error)
        finally:
            self._events.drop_staged()
            await database.close()
            self._worker = None

    def _answer(self, desk: Desk, term: Term) -> None:
        """Say that this tab leads; where somebody follows, there will be an answer."""
        line, epoch = self.asking.line(self.environment), self._epoch

        def receive(message: Message) -> None:
            from .answering import Answering

            self._answering = Answering(line, desk, term, epoch, self._hand_over)
            self._answering.receive(message)

        line.on_message = receive
        line.announce(term.owner, epoch, 0, is_visible=term.visibility.is_visible)

    def _hand_over(self) -> None:
        if self._worker is not None and self._answering is not None:
            self._handover.begin(self.environment, self._worker, self._answering)

    def _stay(self) -> None:
        if self._worker is not None and self._is_working:
            self._worker.start()

    async def _open_database(self, refusal: StorageRefused | None) -> Database:
        if refusal is None:
            try:
                return await self._open(self.environment.mirror())
            except StorageRefused as error:
                if not self._may_fall_back:
                    raise
                refusal = error
        logging.getLogger("durably").warning("%s Running in memory, as asked.", refusal)
        from .local import VolatileMirror

        # What is kept here alone is no other tab's to rely on.
        self.environment.leadership.release()
        database = await self._open(VolatileMirror())
        self._events.emit(StorageMemory, reason=str(refusal))
        return database

    async def _open(self, mirror: Mirror) -> Database:
        from .database import Database

        database = Database(self._name, mirror, self.environment.clock)
        database.on_durable = self._events.durable_up_to
        database.on_failure = self._failed
        database.on_full = self._full
        try:
            await database.open(self.asking.known_epoch)
            self._epoch = mirror.epoch
            self.asking.known_epoch = mirror.epoch or self.asking.known_epoch
        except BaseException:
            await database.close()
            raise
        return database

    def _full(self, error: StorageFull | None) -> None:
        if error is not None:
            self._events.emit_now(storage_event(error))
        elif self._worker is not None:
            self._worker.wake()

    def _failed(self, error: StorageError) -> None:
        is_fenced = isinstance(error, StorageFenced)
        self._events.emit_now(TabFollower() if is_fenced else storage_event(error))
        self._lose()

    def _lose(self) -> None:
        """End the term, and its local executions at once: they must not even start a step."""
        self.asking.pause()
        self._term_over.set()
        if self._worker is not None:
            self._worker.lose()


def _compile_ahead() -> None:
    """Import what a term begins with, while another tab may have the lock."""
    from . import database, desk, heartbeat, term, waiting, worker  # noqa: F401


def _may_pass(error: Exception) -> bool:
    """Whether opening the storage again can help: browsers lose a connection now and then."""
    return isinstance(error, StorageLost | StorageRefused)
