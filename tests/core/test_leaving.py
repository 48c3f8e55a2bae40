"""Leaving a Durably: what may finish, what is given back, and what never starts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable

import pytest

from durably import RunStatus, Step, job
from tests.core.kit import Bodies, Gate, Tab, record, steps_told

# Leaving


async def test_leaving_lets_the_step_under_way_finish_and_stores_it(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("first", gate)
        return await step.run("second", bodies, "second")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        opening = gate.open_once_settled()

    await opening
    tab.visibility.hide()
    async with tab.durably(two_steps) as later:
        run = await later.get_run(handle.id)
        steps = await later.get_steps(handle.id)
        assert steps_told(told, "step:complete") == ["first"]
        assert [step.name for step in steps] == ["first"]
        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert bodies.ran == []

        tab.visibility.show()
        assert await later.result(handle.id) == "second is done"
        assert gate.visits == 1


async def test_job_does_not_go_on_after_the_step_under_way_when_leaving(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def act_after_the_step(step: Step) -> None:
        await step.run("first", gate)
        bodies("after the step")

    async with tab.durably(act_after_the_step) as durably:
        await durably.trigger(act_after_the_step())
        await gate.entered.wait()
        opening = gate.open_once_settled()

    await opening
    assert bodies.ran == []


Steps = Iterable[Coroutine[object, object, str]]


async def gathered(steps: Steps) -> None:
    await asyncio.gather(*steps)


async def in_a_task_group(steps: Steps) -> None:
    async with asyncio.TaskGroup() as group:
        for step in steps:
            group.create_task(step)


@pytest.mark.parametrize("run_all", [gathered, in_a_task_group])
async def test_leaving_lets_all_steps_under_way_finish(
    tab: Tab, run_all: Callable[[Steps], Awaitable[None]]
) -> None:
    gates = [Gate(), Gate(), Gate()]

    @job
    async def side_by_side(step: Step) -> None:
        await run_all(step.run("s", gate, key=n) for n, gate in enumerate(gates))

    async def open_one_by_one() -> None:
        for gate in gates:
            await gate.open_once_settled()

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await asyncio.gather(*(gate.entered.wait() for gate in gates))
        opening = asyncio.ensure_future(open_one_by_one())

    await opening
    async with tab.durably() as later:
        steps = await later.get_steps(handle.id)
        assert [step.name for step in steps] == ["s[0]", "s[1]", "s[2]"]


async def test_leaving_ends_a_job_that_waits_outside_of_its_steps(tab: Tab, gate: Gate) -> None:
    @job
    async def wait_elsewhere(step: Step) -> None:
        task = asyncio.create_task(step.run("under way", gate))
        await asyncio.Event().wait()
        await task

    async with tab.durably(wait_elsewhere) as durably:
        handle = await durably.trigger(wait_elsewhere())
        await gate.entered.wait()
        opening = gate.open_once_settled()

    await opening
    async with tab.durably() as later:
        run = await later.get_run(handle.id)
        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert [step.name for step in await later.get_steps(handle.id)] == ["under way"]


async def test_step_that_does_not_finish_is_cancelled_after_the_stop_timeout(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    durably = tab.durably(wait, stop_timeout=3)
    await durably.__aenter__()
    handle = await durably.trigger(wait())
    await gate.entered.wait()
    leaving = asyncio.ensure_future(durably.__aexit__(None, None, None))
    await tab.clock.advance(2.9)
    was_left_early = leaving.done()
    await tab.clock.advance(0.2)
    await leaving

    assert not was_left_early
    async with tab.durably() as later:
        run = await later.get_run(handle.id)
        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert await later.get_steps(handle.id) == []


async def test_job_between_its_steps_is_suspended_at_once(tab: Tab, gate: Gate) -> None:
    unwound = []

    @job
    async def wait_between(step: Step) -> None:
        try:
            await gate()
        finally:
            unwound.append(True)

    async with tab.durably(wait_between) as durably:
        handle = await durably.trigger(wait_between())
        await gate.entered.wait()

    assert unwound == [True]
    async with tab.durably() as later:
        assert (await later.get_run(handle.id)).status is RunStatus.PENDING


async def test_leaving_starts_no_pending_run(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def wait(step: Step) -> None:
        bodies("start")
        await gate()

    async with tab.durably(wait) as durably:
        await durably.trigger(wait())
        second = await durably.trigger(wait())
        await gate.entered.wait()

    async with tab.durably() as later:
        assert (await later.get_run(second.id)).lease_generation == 0
        assert bodies.ran == ["start"]
