"""Steps: run once, stored, and answered from their checkpoints afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from durably import (
    DuplicateStep,
    Job,
    NestedStep,
    RunFailed,
    Step,
    StepFailed,
    StepOutputError,
    job,
)
from durably.codec import encode
from tests.core.kit import Bodies, Gate, Tab, record, steps_told, types


@dataclass
class Order:
    id: int
    lines: tuple[str, ...]


class Color(enum.Enum):
    RED = 1


async def interrupted(tab: Tab, durable: Job[[], object], gate: Gate) -> str:
    """Run a job until it stands at the gate, and kill its tab; the answer is the run's id."""
    async with tab.life(durable) as life:
        handle = await life.durably.trigger(durable())
        await gate.entered.wait()
        await life.kill()
    gate.open()
    return handle.id


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


VALUES: list[object] = [
    None,
    math.nan,
    math.inf,
    (1, (2,)),
    {3, 4},
    b"\x00\xff",
    Decimal("1.10"),
    datetime(2026, 11, 22, 10, 0, tzinfo=UTC),
    {1: "one", (2, 3): "pair"},
    Order(7, ("a", "b")),
    Color.RED,
    [],
    "",
    0,
    False,
    "half a \ud800 pair",
    "x" * 10_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_first_value_equals_the_replayed_one(tab: Tab, gate: Gate, value: object) -> None:
    got = []

    @job
    async def give(step: Step) -> None:
        got.append(await step.run("give", lambda: value))
        await gate()

    run_id = await interrupted(tab, give, gate)
    async with tab.durably(give) as durably:
        await durably.result(run_id)

    first, replayed = got
    assert type(first) is type(replayed) is type(value)
    assert encode(first) == encode(replayed) == encode(value)


async def test_first_value_is_the_stored_one_and_not_the_object_itself(tab: Tab) -> None:
    shared = {"items": [1]}

    @job
    async def give(step: Step) -> bool:
        return await step.run("give", lambda: shared) is shared

    async with tab.durably(give) as durably:
        assert await (await durably.trigger(give())).result() is False


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


# Failing steps


def break_down() -> None:
    raise OSError("no network")


async def test_failed_step_raises_step_failed_with_the_original_as_its_cause(tab: Tab) -> None:
    caught = []

    @job
    async def try_it(step: Step) -> None:
        try:
            await step.run("fetch", break_down)
        except StepFailed as error:
            caught.append(error)

    async with tab.durably(try_it) as durably:
        await (await durably.trigger(try_it())).result()

    (error,) = caught
    assert (error.step, error.error.type, error.error.message) == ("fetch", "OSError", "no network")
    assert isinstance(error.__cause__, OSError)


async def test_replay_takes_the_same_branch_around_a_failed_step(tab: Tab, gate: Gate) -> None:
    branches = []
    attempts = []

    def fail_once() -> None:
        attempts.append(1)
        raise OSError("no network")

    @job
    async def fall_back(step: Step) -> None:
        try:
            await step.run("fetch", fail_once)
        except StepFailed as error:
            branches.append((error.step, error.error.type, error.error.message, str(error)))
        await gate()

    run_id = await interrupted(tab, fall_back, gate)
    async with tab.durably(fall_back) as durably:
        await durably.result(run_id)

    assert len(attempts) == 1
    assert len(branches) == 2
    assert branches[0] == branches[1]


def other_break_down() -> None:
    raise KeyError("other")


async def let_go_after_catching(step: Step) -> None:
    try:
        await step.run("first", break_down)
    except StepFailed:
        await step.run("second", other_break_down)


async def raise_from(step: Step) -> None:
    try:
        await step.run("second", other_break_down)
    except StepFailed as error:
        raise RuntimeError("the import failed") from error


async def raise_in_a_task_group(step: Step) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(step.run("second", other_break_down))


async def raise_bare(step: Step) -> None:
    with contextlib.suppress(StepFailed):
        await step.run("first", break_down)
    await asyncio.gather(step.run("second", other_break_down))


@pytest.mark.parametrize(
    "function", [let_go_after_catching, raise_from, raise_in_a_task_group, raise_bare]
)
async def test_error_of_the_run_names_the_step_that_propagated(
    tab: Tab, function: Callable[[Step], Awaitable[None]]
) -> None:
    failing = job(function)

    async with tab.durably(failing) as durably:
        handle = await durably.trigger(failing())
        with pytest.raises(RunFailed) as caught:
            await handle.result()

    assert caught.value.error.step == "second"


async def test_error_after_a_caught_step_failure_names_no_step(tab: Tab) -> None:
    @job
    async def fail_otherwise(step: Step) -> None:
        with contextlib.suppress(StepFailed):
            await step.run("first", break_down)
        raise RuntimeError("something else")

    async with tab.durably(fail_otherwise) as durably:
        handle = await durably.trigger(fail_otherwise())
        with pytest.raises(RunFailed, match="something else") as caught:
            await handle.result()

    assert caught.value.error.step is None


async def test_error_of_the_run_has_the_type_and_message_of_what_the_step_raised(tab: Tab) -> None:
    @job
    async def fetch(step: Step) -> None:
        await step.run("fetch", break_down)

    async with tab.durably(fetch) as durably:
        handle = await durably.trigger(fetch())
        with pytest.raises(RunFailed) as caught:
            await handle.result()

    error = caught.value.error
    assert (error.type, error.message, error.step) == ("OSError", "no network", "fetch")
    assert "break_down" in error.traceback


async def test_result_that_cannot_be_stored_names_its_path_and_is_not_tried_again(
    tab: Tab, gate: Gate
) -> None:
    attempts = []
    messages = []

    def open_socket() -> Any:
        attempts.append(1)
        return {"items": [{"when": object()}]}

    @job
    async def store_it(step: Step) -> None:
        try:
            await step.run("open", open_socket)
        except StepOutputError as error:
            messages.append(str(error))
        await gate()

    run_id = await interrupted(tab, store_it, gate)
    async with tab.durably(store_it) as durably:
        await durably.result(run_id)

    assert len(attempts) == 1
    assert messages[0] == messages[1]
    assert "$.items[0].when: object" in messages[0]


async def test_step_whose_own_code_cannot_store_something_failed_as_a_step(
    tab: Tab, gate: Gate
) -> None:
    kinds = []

    def encode_a_socket() -> str:
        return encode(object())

    @job
    async def use_the_codec(step: Step) -> None:
        try:
            await step.run("encode", encode_a_socket)
        except StepFailed as error:
            kinds.append(type(error))
        await gate()

    run_id = await interrupted(tab, use_the_codec, gate)
    async with tab.durably(use_the_codec) as durably:
        await durably.result(run_id)

    assert kinds[0] is kinds[1]


async def test_step_that_awaits_something_cancelled_fails_like_any_other(tab: Tab) -> None:
    async def await_cancelled() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    @job
    async def try_it(step: Step) -> None:
        await step.run("wait", await_cancelled)

    async with tab.durably(try_it) as durably:
        handle = await durably.trigger(try_it())

        with pytest.raises(RunFailed, match="CancelledError") as caught:
            await handle.result()
        assert caught.value.error.step == "wait"


class Quit(BaseException):
    pass


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, Quit])
async def test_job_that_raises_a_base_exception_of_its_own_fails(
    tab: Tab, error: type[BaseException]
) -> None:
    @job
    async def leave(step: Step) -> None:
        raise error("by itself")

    async with tab.durably(leave) as durably:
        handle = await durably.trigger(leave())

        with pytest.raises(RunFailed, match="by itself"):
            await handle.result()


# Misuse


def line_of(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if line.strip() == text)
    return number


async def test_name_used_twice_is_refused_with_both_places(tab: Tab, bodies: Bodies) -> None:
    @job
    async def twice(step: Step) -> None:
        await step.run("same", bodies, "one by one, first")
        await step.run("same", bodies, "one by one, second")

    first = line_of('await step.run("same", bodies, "one by one, first")')
    async with tab.durably(twice) as durably:
        handle = await durably.trigger(twice())
        with pytest.raises(RunFailed) as caught:
            await handle.result()

    error = caught.value.error
    assert error.type.endswith("DuplicateStep")
    assert f"test_replay.py:{first}, again at" in error.message
    assert f"test_replay.py:{first + 1}." in error.message
    assert bodies.ran == ["one by one, first"]


async def test_name_used_twice_side_by_side_is_refused_with_both_places(
    tab: Tab, bodies: Bodies
) -> None:
    @job
    async def twice(step: Step) -> None:
        await asyncio.gather(
            step.run("same", bodies, "side by side, first"),
            step.run("same", bodies, "side by side, second"),
        )

    first = line_of('step.run("same", bodies, "side by side, first"),')
    async with tab.durably(twice) as durably:
        handle = await durably.trigger(twice())
        with pytest.raises(RunFailed) as caught:
            await handle.result()

    assert f"test_replay.py:{first}, again at" in caught.value.error.message
    assert f"test_replay.py:{first + 1}." in caught.value.error.message
    assert "side by side, second" not in bodies.ran


async def test_name_used_twice_is_refused_on_replay_too(
    tab: Tab, bodies: Bodies, gate: Gate
) -> None:
    refusals = []

    @job
    async def twice(step: Step) -> None:
        await step.run("same", bodies, "same")
        try:
            await step.run("same", bodies, "same")
        except DuplicateStep as error:
            refusals.append(error)
        await gate()

    run_id = await interrupted(tab, twice, gate)
    async with tab.durably(twice) as durably:
        await durably.result(run_id)

    assert len(refusals) == 2
    assert bodies.ran == ["same"]


async def test_key_used_twice_is_refused(tab: Tab, bodies: Bodies) -> None:
    @job
    async def twice(step: Step) -> None:
        await step.run("save", bodies, "save", key="a")
        await step.run("save", bodies, "save", key="a")

    async with tab.durably(twice) as durably:
        handle = await durably.trigger(twice())

        with pytest.raises(RunFailed, match=r"'save\[a\]' is used twice"):
            await handle.result()


async def test_step_inside_a_step_is_refused_with_both_names(tab: Tab, bodies: Bodies) -> None:
    @job
    async def nest(step: Step) -> None:
        async def outer() -> None:
            await step.run("inner", bodies, "inner")

        await step.run("outer", outer)

    async with tab.durably(nest) as durably:
        handle = await durably.trigger(nest())
        with pytest.raises(RunFailed, match="'inner' was started inside step 'outer'"):
            await handle.result()

    assert bodies.ran == []


async def test_step_in_a_task_of_a_step_is_refused(tab: Tab, bodies: Bodies) -> None:
    refusals = []

    @job
    async def nest(step: Step) -> None:
        async def outer() -> None:
            task = asyncio.create_task(step.run("inner", bodies, "inner"))
            try:
                await task
            except NestedStep as error:
                refusals.append(error)

        await step.run("outer", outer)

    async with tab.durably(nest) as durably:
        await (await durably.trigger(nest())).result()

    assert len(refusals) == 1
    assert bodies.ran == []
