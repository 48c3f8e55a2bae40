"""Durably in one page: entered, left, and entered again."""

from __future__ import annotations

import asyncio

from durably import Durably, Step, job
from tests.in_browser.page import outside


@job
async def three_steps(step: Step) -> list[int]:
    return [await step.run("number", int, number, key=number) for number in range(3)]


async def test_durably_that_was_left_can_be_entered_again(name: str) -> None:
    durably = Durably(name, jobs=[three_steps])
    results = []
    for _ in range(3):
        async with durably:
            handle = await durably.trigger(three_steps())
            results.append(await handle.result())

    async with durably:
        runs = await durably.list_runs()
    assert results == [[0, 1, 2]] * 3
    assert len(runs) == 3


async def test_entering_again_at_once_waits_for_nobody(name: str) -> None:
    told: list[str] = []
    for _ in range(3):
        durably = Durably(name, jobs=[three_steps])
        durably.on("*", lambda event: told.append(event.type))
        async with durably:
            pass

    assert told == ["tab:leader"] * 3


async def test_run_of_one_object_is_there_for_the_next(name: str) -> None:
    async with Durably(name, jobs=[three_steps]) as durably:
        handle = await durably.trigger(three_steps())
        await handle.result()

    async with Durably(name, jobs=[three_steps]) as durably:
        assert await durably.result(handle.id) == [0, 1, 2]


async def test_second_object_leads_when_the_first_is_left(name: str) -> None:
    told = asyncio.Event()
    second = Durably(name, jobs=[three_steps])
    second.on("tab:follower", lambda event: told.set())
    async with Durably(name, jobs=[three_steps]) as first:
        handle = await first.trigger(three_steps())
        await handle.result()
        entering = asyncio.ensure_future(second.__aenter__())
        await told.wait()
        entered_early = entering.done()
    await entering
    result = await second.result(handle.id)
    await second.__aexit__(None, None, None)

    assert not entered_early
    assert result == [0, 1, 2]


async def test_durably_whose_lock_was_stolen_is_left_without_a_trace(name: str) -> None:
    async with Durably(name, jobs=[three_steps]) as durably:
        led_again = asyncio.Event()
        durably.on("tab:leader", lambda event: led_again.set())
        await (await outside()).steal(name)
        await led_again.wait()
        handle = await durably.trigger(three_steps())

        assert await handle.result() == [0, 1, 2]


async def test_code_behind_a_checkpoint_may_switch_stacks(name: str) -> None:
    """It goes on in a call from JavaScript, which has to be one that ``run_sync`` works in."""
    from pyodide.ffi import can_run_sync, run_sync

    @job
    async def switching(step: Step) -> list[object]:
        answers: list[object] = []
        for number in range(3):
            answers.append(await step.run("number", int, number, key=number))
            answers.append(can_run_sync() and run_sync(asyncio.sleep(0, "slept")))
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is not None
        return answers

    loop = asyncio.get_running_loop()
    async with Durably(name, jobs=[switching]) as durably:
        run = await durably.trigger(switching())

        assert await run.result() == [0, "slept", 1, "slept", 2, "slept"]
