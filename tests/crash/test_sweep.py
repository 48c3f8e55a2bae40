"""The crash sweep: whatever write a program dies at, the next life ends where every life ends.

For every durable write of a run, in turn: the write fails, or the program dies with it, before it
has landed or after. Nothing here knows which writes there are. A write that is added to the engine
joins by itself, because the sweep goes on until the job finishes without reaching the write at
which it was to fail.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from durably import Job, RunStatus, Step, StepFailed, StorageError, job
from durably.testing import Fault, settle
from tests.core.kit import Life, Tab, until

KEY = "the one run"
MOST_WRITES = 100
"""A sweep that goes on for longer than this never ends."""


@dataclass
class World:
    """What is outside of the program, and so survives it: effects, and what was told."""

    ran: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    ran_after_told: list[str] = field(default_factory=list)

    async def effect(self, name: str, result: Any = None) -> Any:
        """The body of a step."""
        if name in self.told:
            self.ran_after_told.append(name)
        self.ran.append(name)
        await asyncio.sleep(0)  # Long enough to be interrupted.
        return name if result is None else result

    async def failing_effect(self, name: str) -> None:
        await self.effect(name)
        raise OSError(f"{name} is out of order")


Script = Callable[[World], Job[[], object]]


def three_steps(world: World) -> Job[[], object]:
    @job(name="swept")
    async def run(step: Step) -> list[object]:
        return [await step.run(name, world.effect, name) for name in ("a", "b", "c")]

    return run


def side_by_side(world: World) -> Job[[], object]:
    @job(name="swept")
    async def run(step: Step) -> list[str]:
        return await asyncio.gather(
            *(step.run("part", world.effect, f"part[{key}]", key=key) for key in range(3))
        )

    return run


def with_a_failing_step(world: World) -> Job[[], object]:
    @job(name="swept")
    async def run(step: Step) -> str:
        try:
            await step.run("broken", world.failing_effect, "broken")
        except StepFailed as error:
            return await step.run(f"instead of {error.step}", world.effect, "instead of broken")
        return "unreachable"

    return run


def with_progress_and_a_large_result(world: World) -> Job[[], object]:
    @job(name="swept")
    async def run(step: Step) -> int:
        large = await step.run("large", world.effect, "large", "x" * 20_000)
        step.progress(1, 2, "half")
        await step.run("strict", world.effect, "strict", durability="strict")
        step.progress(2, 2, "whole")
        return len(large)

    return run


def that_fails(world: World) -> Job[[], object]:
    @job(name="swept")
    async def run(step: Step) -> None:
        await step.run("a", world.effect, "a")
        await step.run("broken", world.failing_effect, "broken")

    return run


@dataclass(frozen=True)
class End:
    """How it all ended, as far as nobody may be able to tell that there were crashes."""

    status: RunStatus
    output: object
    error: str | None
    steps: tuple[tuple[str, str, object, str | None], ...]


async def sweep_end(tab: Tab, world: World, script: Script) -> End:
    """A life without faults, to the end of the one run."""
    async with life_of(tab, world, script) as (life, swept):
        handle = await life.durably.trigger(swept(), idempotency_key=KEY)
        await asyncio.wait([asyncio.ensure_future(ended(handle.result()))])
        (run,) = await life.durably.list_runs()
        steps = await life.durably.get_steps(run.id)
        await life.close()
    return End(
        run.status,
        run.output,
        f"{run.error.type}: {run.error.message} in {run.error.step}" if run.error else None,
        tuple(
            sorted(
                (step.name, step.status, step.output, step.error.message if step.error else None)
                for step in steps
            )
        ),
    )


async def ended(result: Awaitable[object]) -> None:
    try:
        await result
    except Exception:
        pass  # How it ended is read from the run.


@asynccontextmanager
async def life_of(
    tab: Tab, world: World, script: Script
) -> AsyncIterator[tuple[Life, Job[[], object]]]:
    swept = script(world)
    async with tab.life(swept) as life:
        for event_type in ("step:complete", "step:fail"):
            life.durably.on(event_type, lambda event: world.told.append(name_of(event)))
        yield life, swept


def name_of(event: Any) -> str:
    return str(event.step)


async def first_life(tab: Tab, world: World, script: Script) -> bool:
    """A life up to its fault, or to its end; True where the run ended without the fault."""
    swept = script(world)
    life = Life(tab, tab.durably(swept))
    for event_type in ("step:complete", "step:fail"):
        life.durably.on(event_type, lambda event: world.told.append(name_of(event)))
    living = asyncio.ensure_future(live(life, swept))
    # Dead is a program whose write is never answered: then nothing that happens counts any more.
    await until(lambda: living.done() or tab.disk.is_dead)
    if tab.disk.is_dead:
        await settle()
        await life.kill()
        return False
    finished = living.result()
    if not finished:
        await life.kill()
    return finished


async def live(life: Life, swept: Job[[], object]) -> bool:
    try:
        await life.begin()
        handle = await life.durably.trigger(swept(), idempotency_key=KEY)
        await ended(handle.result())
        await life.close()
    except StorageError:
        return False
    return True


SCRIPTS: list[Script] = [
    three_steps,
    side_by_side,
    with_a_failing_step,
    with_progress_and_a_large_result,
    that_fails,
]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("fault", "lands"),
    [("lost", False), ("lost", True), ("die", False), ("die", True)],
    ids=["lost", "lost though it landed", "died before it landed", "died after it landed"],
)
async def test_every_write_can_fail_and_the_end_is_the_same(
    script: Script, fault: Fault, lands: bool
) -> None:
    planned = World()
    plain = await sweep_end(Tab(), planned, script)

    for number in range(1, MOST_WRITES):
        tab, world = Tab(), World()
        tab.disk.fail(number, fault, lands=lands)
        await first_life(tab, world, script)
        was_reached = tab.disk.writes >= number
        tab.disk.revive()
        end = await sweep_end(tab, world, script)

        assert end == plain, f"write {number}"
        assert world.ran_after_told == [], f"write {number}"
        extra = Counter(world.ran) - Counter(planned.ran)
        # Steps side by side are all under way at once: each may run once more, and no more.
        assert all(times == 1 for times in extra.values()), f"write {number}: {extra}"
        if script is not side_by_side:
            assert extra.total() <= 1, f"write {number}: {extra}"
        if not was_reached:
            break
    else:
        raise AssertionError("the sweep does not end")
    assert number > 4, "the sweep has seen the trigger, the claim, the steps and the end"


@pytest.mark.parametrize("lands", [False, True])
async def test_crash_in_every_life_loses_nothing_that_was_acknowledged(lands: bool) -> None:
    """Each life gets one write further than the one before, and dies."""
    tab, world = Tab(), World()
    lives = 0
    while True:
        lives += 1
        assert lives < MOST_WRITES
        # Opening takes a write or two, and a life has to get further than that.
        tab.disk.fail(tab.disk.writes + 4, "die", lands=lands)
        finished = await first_life(tab, world, three_steps)
        tab.disk.revive()
        if finished:
            break
    end = await sweep_end(tab, world, three_steps)

    assert (end.status, end.output) == (RunStatus.COMPLETED, ["a", "b", "c"])
    assert world.ran_after_told == []
    assert lives > 1


async def test_full_storage_at_every_write_delays_and_changes_nothing() -> None:
    planned = World()
    plain = await sweep_end(Tab(), planned, three_steps)

    for number in range(1, MOST_WRITES):
        tab, world = Tab(), World()
        tab.disk.fail(number, "full")
        ending = asyncio.ensure_future(sweep_end(tab, world, three_steps))
        for _ in range(3):
            await settle()
            await tab.clock.advance(2)

        assert await ending == plain, f"write {number}"
        assert world.ran == planned.ran, f"write {number}"
        if tab.disk.writes < number:
            break
    else:
        raise AssertionError("the sweep does not end")
