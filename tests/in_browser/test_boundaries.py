"""A page that dies, or is refused, at any of its requests to IndexedDB loses nothing acknowledged.

The life that is swept takes over a database whose log is about to be folded, and works: so its
requests are those of a takeover, of a load, of commits, of a fold and of the trimming behind it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from durably import Durably, Environment, Step, StorageError, job
from durably.browser.mirror import IndexedDBMirror
from durably.local import LocalChannel
from durably.ports import Mirror
from durably.testing import FakeLeadership, FakeLock, FakeVisibility, settle
from tests.in_browser.page import Stored, module

STEPS = 4
FOLD_RECORDS = 200
RECORDS_OF_A_RUN = 4
MOST_REQUESTS = 200
MOST_CANCELS = 50
TAKEOVER = {"openCursor log", "add log"}
LOAD = {f"{verb} {store}" for verb in ("getAllKeys", "getAll") for store in ("log", "chunks")}
FOLD = {"add chunks", "get chunks"}
TRIM = {"delete log", "delete chunks"}

FAULTS = ("abort", "die before", "die behind")


class World:
    """One database, the bodies that ran for it, and what its program was told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bodies: Counter[int] = Counter()
        self.acknowledged: list[str] = []
        self.was_triggered = False
        self._mirrors: list[IndexedDBMirror] = []

    def durably(self, **options: Any) -> Durably:
        @job
        async def work(step: Step) -> list[int]:
            return [
                await step.run("work", self._body, number, key=number) for number in range(STEPS)
            ]

        environment = Environment(
            mirror=self._mirror,
            leadership=FakeLeadership(FakeLock()),
            visibility=FakeVisibility(),
            channel=lambda: LocalChannel(self.name),
        )
        durably = Durably(self.name, jobs=[work], environment=environment, **options)
        durably.on("step:complete", self._acknowledge)
        self.call = work()
        return durably

    async def live(self) -> None:
        """Enter, work, and leave."""
        async with self.durably() as durably:
            handle = await durably.trigger(self.call, idempotency_key="only")
            self.was_triggered = True
            assert await handle.result() == list(range(STEPS))

    def bury(self) -> None:
        """Let go of what a dead page has left in this one."""
        for mirror in self._mirrors:
            mirror._destroy_proxies()
            Path(mirror._path).unlink(missing_ok=True)

    def _mirror(self) -> Mirror:
        mirror = IndexedDBMirror(self.name)
        self._mirrors.append(mirror)
        return mirror

    def _acknowledge(self, event: Any) -> None:
        self.acknowledged.append(event.step)

    async def _body(self, number: int) -> int:
        self.bodies[number] += 1
        # A fold writes its chunks in timers of its own, in JavaScript: real time has to pass.
        await asyncio.sleep(0.12 if number == STEPS - 2 else 0)
        return number


@pytest.fixture
async def template(name: str) -> str:
    """A database that was folded once, and is about to be folded again."""

    @job
    async def fill(step: Step) -> None:
        await step.run("fill", bytes, 10)

    async with Durably(name, jobs=[fill]) as durably:
        while not is_fold_near(await Stored.look(name)):
            await (await durably.trigger(fill())).result()
    return name


def is_fold_near(stored: Stored) -> bool:
    """Whether there is a manifest already, and almost enough behind it for the next one."""
    manifest = stored.manifest
    if manifest is None:
        return False
    unfolded = sum(1 for one in stored.records if one.position > manifest.behind)
    return unfolded >= FOLD_RECORDS - RECORDS_OF_A_RUN


async def die(living: asyncio.Task[None], others: set[asyncio.Task[Any]]) -> None:
    """End every task of a page that is dead."""
    current = asyncio.current_task()
    for _ in range(MOST_CANCELS):
        tasks = {task for task in asyncio.all_tasks() - others if task is not current}
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        await settle()
    assert living.done(), "it does not end"


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_at_any_request_loses_nothing_and_repeats_one_body_at_most(
    template: str, fault: str
) -> None:
    boundaries = await module("boundaries.js")
    for at in range(1, MOST_REQUESTS):
        world = World(f"{template}-{fault.replace(' ', '-')}-{at}")
        await boundaries.copy(template, world.name)
        life = boundaries.begin(world.name, at, fault)
        others = asyncio.all_tasks()
        living = asyncio.ensure_future(world.live())
        while not (living.done() or life.isDead):
            await asyncio.sleep(0)
        if life.isDead:
            await die(living, others)
            world.bury()
        boundaries.end()
        error = None if living.cancelled() else living.exception()
        # Only a takeover is refused; a commit is written again.
        assert error is None or (isinstance(error, StorageError) and not world.was_triggered)
        await check(world, at)
        if not life.hasFailed:
            break

    assert not life.hasFailed, "the life does not come to an end"
    # Else something was not swept, and the test shows less than it says.
    assert set(life.requests.to_py()) == TAKEOVER | LOAD | FOLD | TRIM


async def check(world: World, at: int) -> None:
    """A fresh takeover finds a prefix that holds what was acknowledged, and goes on behind it."""
    acknowledged, bodies = list(world.acknowledged), Counter(world.bodies)
    async with world.durably(autostart=False) as durably:
        runs = await durably.list_runs(job="work")
        steps = [step.name for run in runs for step in await durably.get_steps(run.id)]
        diagnosis = await durably.doctor()
        assert len(runs) == 1 or not world.was_triggered, f"at {at} the run is lost"
        assert steps == [f"work[{number}]" for number in range(len(steps))], f"at {at}: no prefix"
        assert len(steps) >= len(set(acknowledged)), f"at {at} an acknowledged step is lost"
        assert diagnosis.problems == (), f"at {at}"
    await world.live()
    assert sorted(world.bodies) == list(range(STEPS))
    for number in range(len(steps)):
        assert world.bodies[number] == bodies[number], f"at {at} body {number} ran again"
    assert sum(world.bodies.values()) <= STEPS + 1, f"at {at}: {world.bodies}"
