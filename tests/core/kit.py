"""What the tests of the engine share: lives of a program on fakes, and ways to look inside.

Nothing here waits for time to pass: a test waits for a condition, or moves the fake clock.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durably import Durably, Environment, Job, Run, Wait, events
from durably.codec import encode
from durably.database import Database
from durably.desk import Desk
from durably.execution import Execution
from durably.local import FileMirror, LocalChannel
from durably.model import Claim
from durably.store import Store
from durably.store.runs import NewRun
from durably.term import Term
from durably.testing import (
    EveryoneLeads,
    FakeClock,
    FakeLock,
    FakeVisibility,
    MemoryDisk,
    MemoryMirror,
    memory_environment,
    settle,
)

MOST_TURNS = 5_000
"""Turns of the event loop after which a condition is taken never to come true."""
MOST_CANCELS = 50


def shown(value: object) -> str:
    """A value as the id of a test: the same in every process, so without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", ascii(value))


async def until(condition: Callable[[], object]) -> None:
    """Wait, without any time passing, until a condition is true."""
    for _ in range(MOST_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("this never became true")


@dataclass
class Gate:
    """A place in a job or a step where it stands until the test lets it go on."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    visits: int = 0

    async def __call__(self) -> str:
        self.visits += 1
        self.entered.set()
        await self.opened.wait()
        return "passed"

    def open(self) -> None:
        self.opened.set()

    def open_once_settled(self) -> asyncio.Task[None]:
        """Open when whatever the test does next has taken effect."""

        async def open_later() -> None:
            await settle()
            self.open()

        return asyncio.ensure_future(open_later())


class Bodies:
    """Step functions that note that they ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(self, name: str) -> str:
        self.ran.append(name)
        return f"{name} is done"

    def count(self, name: str) -> int:
        return self.ran.count(name)


@dataclass
class Tab:
    """What one tab, or one process, has around its Durably. Give two the same disk and lock."""

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    clock: FakeClock = field(default_factory=FakeClock)
    lock: FakeLock = field(default_factory=FakeLock)
    visibility: FakeVisibility = field(default_factory=FakeVisibility)
    proves_death: bool = True

    def durably(self, *jobs: Job[..., object], **options: Any) -> Durably:
        environment = memory_environment(
            self.disk,
            clock=self.clock,
            lock=self.lock,
            visibility=self.visibility,
            proves_death=self.proves_death,
        )
        return Durably("test", jobs=jobs, environment=environment, **options)

    @asynccontextmanager
    async def life(self, *jobs: Job[..., object], **options: Any) -> AsyncIterator[Life]:
        """A life that is killed at the end of the block, unless it was ended before."""
        life = Life(self, self.durably(*jobs, **options))
        try:
            await life.begin()
            yield life
        finally:
            await life.kill()


class Process:
    """A process on a file that it shares with others: its own Durably, and everybody's clock."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.visibility = FakeVisibility()
        self._path = path

    def environment(self) -> Environment:
        return Environment(
            mirror=lambda: FileMirror("shared", self._path),
            leadership=EveryoneLeads(),
            visibility=self.visibility,
            channel=lambda: LocalChannel("shared"),
            clock=self.clock,
            poll_interval=1.0,
        )

    def durably(self, *jobs: Job[..., object], **options: Any) -> Durably:
        return Durably("shared", jobs=jobs, environment=self.environment(), **options)


class Life:
    """A Durably that can die without being closed: from then on it writes nothing."""

    def __init__(self, tab: Tab, durably: Durably) -> None:
        self.durably = durably
        self.told = record(durably)
        self._disk = tab.disk
        self._others = asyncio.all_tasks()
        self._is_over = False

    async def begin(self) -> None:
        await self.durably.__aenter__()

    async def close(self) -> None:
        """End as a program does that has the time to."""
        await self.durably.__aexit__(None, None, None)
        self._is_over = True

    async def kill(self) -> None:
        """End as a tab does that is killed: nothing more lands, and no task goes on."""
        if self._is_over:
            return
        self._is_over = True
        self._disk.is_dead = True
        current = asyncio.current_task()
        tasks = asyncio.all_tasks() - self._others - ({current} if current else set())
        for _ in range(MOST_CANCELS):
            tasks = {task for task in tasks if not task.done()}
            for task in tasks:
                task.cancel()
            await settle()
            tasks |= asyncio.all_tasks() - self._others - ({current} if current else set())
            if all(task.done() for task in tasks):
                break
        else:
            raise AssertionError(f"these do not end: {tasks}")
        for task in tasks:
            if not task.cancelled():
                task.exception()
        await settle()
        self._disk.revive()


async def term_of(durably: Durably) -> Term:
    """What a Durably that leads works with."""
    desk = await durably._leader.asking.whom()
    assert isinstance(desk, Desk)
    return desk._term


def executions_of(durably: Durably) -> dict[str, Execution]:
    """What a Durably that leads executes now, by the ids of the runs."""
    worker = durably._leader._worker
    return {} if worker is None else worker.executions


async def interrupted(tab: Tab, durable: Job[[], object], gate: Gate) -> str:
    """Run a job until it stands at the gate, and kill its tab; the answer is the run's id."""
    async with tab.life(durable) as life:
        handle = await life.durably.trigger(durable())
        await gate.entered.wait()
        await life.kill()
    gate.open()
    return handle.id


def record(durably: Durably, event_type: str = "*") -> list[Any]:
    """The events of a Durably from now on, in the order in which they are told."""
    told: list[Any] = []
    durably.on(event_type, told.append)
    return told


def types(told: Iterable[events.Event]) -> list[str]:
    return [event.type for event in told]


def steps_told(told: Iterable[Any], event_type: str) -> list[str]:
    return [event.step for event in told if event.type == event_type]


async def only_run(durably: Durably) -> Run:
    (run,) = await durably.list_runs()
    return run


async def waits_of(durably: Durably, run_id: str) -> list[Wait]:
    """The waits of a run that is waiting by now."""
    await settle()
    run = await durably.get_run(run_id)
    assert run.is_waiting, f"it is {run.status}: {run.error}"
    return await durably.get_waits(run_id)


async def only_wait(durably: Durably, run_id: str) -> Wait:
    """The one wait of a run that is waiting by now."""
    (wait,) = await waits_of(durably, run_id)
    return wait


@dataclass
class OpenStore:
    """The store of one owner, without a worker, for the rules that the store itself keeps."""

    database: Database
    store: Store
    clock: FakeClock
    disk: MemoryDisk

    def trigger(self, job: str = "job", key: str | None = None, **arguments: object) -> Run:
        new = NewRun(job, encode(arguments), idempotency_key=key)
        run = self.store.runs.create(new, self.clock.now()).run
        assert run is not None
        return run

    def claim(self, owner: str = "owner", *jobs: str) -> Claim:
        claim = self.store.leases.claim(jobs or ("job",), owner, self.clock.now())
        assert claim is not None, "there is nothing to claim"
        return claim

    def row(self, run_id: str) -> Run:
        run = self.store.runs.get(run_id)
        assert run is not None
        return run


@asynccontextmanager
async def open_store() -> AsyncIterator[OpenStore]:
    clock, disk = FakeClock(), MemoryDisk()
    database = Database("test", MemoryMirror("test", disk), clock)
    await database.open()
    try:
        yield OpenStore(database, Store(database), clock, disk)
    finally:
        await database.close()
