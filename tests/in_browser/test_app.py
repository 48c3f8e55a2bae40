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


async def test_code_that_waits_in_run_sync_holds_nobody_up(name: str) -> None:
    """Three runs go on from one commit, and the first of them waits for the others."""
    from pyodide.ffi import run_sync

    ended: list[str] = []
    all_ended = asyncio.Event()

    @job
    async def work(step: Step, who: str) -> str:
        await step.run("first", meet, who)
        if who == "a":
            run_sync(all_ended.wait())
        await step.run("second", str, who)
        ended.append(who)
        if len(ended) == 2:
            all_ended.set()
        return who

    async def meet(who: str) -> str:
        arrived.append(who)
        if len(arrived) == 3:
            together.set()
        await together.wait()
        return who

    arrived: list[str] = []
    together = asyncio.Event()
    async with Durably(name, jobs=[work], max_concurrent_runs=3) as durably:
        runs = [await durably.trigger(work(who)) for who in "abc"]

        assert [await run.result(timeout=20) for run in runs] == ["a", "b", "c"]
        assert ended[2] == "a"


async def test_step_behind_a_checkpoint_may_wait_for_another_run_with_run_sync(name: str) -> None:
    from pyodide.ffi import run_sync

    @job
    async def child(step: Step) -> str:
        return await step.run("a", str, "done")

    @job
    async def parent(step: Step) -> str:
        await step.run("first", int, 1)
        return await step.run(
            "second", lambda: run_sync(durably.trigger_and_wait(child(), timeout=5))
        )

    async with Durably(name, jobs=[parent, child], max_concurrent_runs=2) as durably:
        assert await durably.trigger_and_wait(parent(), timeout=10) == "done"
