"""Steps: run once, stored, and answered from their checkpoints afterwards."""

from __future__ import annotations

import asyncio

import pytest

from durably import (
    Step,
    job,
)
from tests.core.kit import Bodies, Gate, Tab, interrupted, record, steps_told, types

# Replay


async def test_finished_step_is_not_run_again(tab: Tab, bodies: Bodies, gate: Gate) -> None:
    @job
    async def two_steps(step: Step) -> list[str]:
        first = await step.run("first", bodies, "first")
        await gate()
        return [first, await step.run("second", bodies, "second")]

    run_id = await interrupted(tab, two_steps, gate)
    async with tab.durably(two_steps) as durably:
        result = await durably.result(run_id)

    assert result == ["first is done", "second is done"]
    assert bodies.ran == ["first", "second"]


async def test_job_function_itself_runs_again_from_the_top(tab: Tab, gate: Gate) -> None:
    starts = []

    @job
    async def count_starts(step: Step) -> None:
        starts.append(step.run_id)
        await gate()

    run_id = await interrupted(tab, count_starts, gate)
    async with tab.durably(count_starts) as durably:
        await durably.result(run_id)

    assert starts == [run_id, run_id]


async def test_none_is_a_result(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def give_none(step: Step) -> None:
        await step.run("none", bodies.ran.append, "none")
        await gate()

    run_id = await interrupted(tab, give_none, gate)
    async with tab.durably(give_none) as durably:
        await durably.result(run_id)

    assert bodies.ran == ["none"]


@pytest.mark.parametrize(
    "new_names", [["a", "new", "b"], ["new", "a", "b"], ["b"], ["b", "a"], ["a", "b", "new"]]
)
async def test_steps_can_be_inserted_removed_and_reordered_in_new_code(
    tab: Tab, bodies: Bodies, gate: Gate, new_names: list[str]
) -> None:
    @job(name="evolving")
    async def old(step: Step) -> None:
        await step.run("a", bodies, "a")
        await step.run("b", bodies, "b")
        await gate()

    @job(name="evolving")
    async def new(step: Step) -> list[str]:
        return [await step.run(name, bodies, name) for name in new_names]

    run_id = await interrupted(tab, old, gate)
    async with tab.durably(new) as durably:
        result = await durably.result(run_id)

    assert result == [f"{name} is done" for name in new_names]
    assert bodies.ran == ["a", "b"] + ["new"] * ("new" in new_names)


async def test_replayed_step_is_told_as_such(tab: Tab, bodies: Bodies, gate: Gate) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("a", bodies, "a")
        await gate()
        await step.run("b", bodies, "b")

    run_id = await interrupted(tab, two_steps, gate)
    durably = tab.durably(two_steps)
    told = record(durably)
    async with durably:
        await durably.result(run_id)

    assert steps_told(told, "step:replay") == ["a"]
    assert steps_told(told, "step:start") == ["b"]
    assert steps_told(told, "step:complete") == ["b"]


async def test_start_of_a_step_is_told_before_its_function_is_called(tab: Tab) -> None:
    seen: list[list[str]] = []

    @job
    async def look(step: Step) -> None:
        await step.run("look", lambda: seen.append(types(told)))

    async with tab.durably(look) as durably:
        told = record(durably)
        await (await durably.trigger(look())).result()

    assert seen[0][-1] == "step:start"


# What a step calls


async def test_function_of_a_step_can_be_sync_or_async(tab: Tab) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    class Tripler:
        async def __call__(self, number: int) -> int:
            return number * 3

    @job
    async def call_all(step: Step) -> list[int]:
        return [
            await step.run("sync", lambda number: number + 1, 10),
            await step.run("async", double, 10),
            await step.run("object", Tripler(), 10),
            await step.run("lambda that returns a coroutine", lambda: double(20)),
        ]

    async with tab.durably(call_all) as durably:
        assert await (await durably.trigger(call_all())).result() == [11, 20, 30, 40]


async def test_key_tells_the_steps_of_a_loop_apart(tab: Tab, bodies: Bodies, gate: Gate) -> None:
    @job
    async def loop(step: Step) -> None:
        for number in range(3):
            await step.run("save", bodies, f"save {number}", key=number)
        await gate()

    run_id = await interrupted(tab, loop, gate)
    async with tab.durably(loop) as durably:
        await durably.result(run_id)
        steps = await durably.get_steps(run_id)

    assert bodies.ran == ["save 0", "save 1", "save 2"]
    assert [step.name for step in steps] == ["save[0]", "save[1]", "save[2]"]


async def test_steps_run_side_by_side_and_results_keep_their_order(tab: Tab) -> None:
    turns: list[str] = []

    async def work(name: str, times: int) -> str:
        for _ in range(times):
            turns.append(name)
            await asyncio.sleep(0)
        return name

    @job
    async def side_by_side(step: Step) -> list[str]:
        return await asyncio.gather(  # type: ignore[return-value] # A list, when it is decoded.
            step.run("slow", work, "slow", 9), step.run("fast", work, "fast", 1)
        )

    async with tab.durably(side_by_side) as durably:
        result = await (await durably.trigger(side_by_side())).result()

    assert result == ["slow", "fast"]
    assert turns.index("fast") < len(turns) - 1 - turns[::-1].index("slow")
