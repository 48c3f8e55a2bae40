"""Steps that fail, and steps that are used wrongly."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from durably import (
    DuplicateStep,
    NestedStep,
    RunFailed,
    Step,
    StepFailed,
    StepOutputError,
    job,
)
from durably.codec import encode
from tests.core.kit import Bodies, Gate, Tab, interrupted

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
    assert f"test_failing_steps.py:{first}, again at" in error.message
    assert f"test_failing_steps.py:{first + 1}." in error.message
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

    assert f"test_failing_steps.py:{first}, again at" in caught.value.error.message
    assert f"test_failing_steps.py:{first + 1}." in caught.value.error.message
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


async def test_result_of_a_call_in_the_place_of_the_function_is_refused(tab: Tab) -> None:
    @job
    async def misuse(step: Step) -> None:
        await step.run("misuse", len("abc"))  # type: ignore[call-overload]

    async with tab.durably(misuse) as durably:
        handle = await durably.trigger(misuse())
        with pytest.raises(RunFailed, match="InvalidOption"):
            await handle.result()

        assert await durably.get_steps(handle.id) == []


async def test_exception_that_was_raised_from_itself_fails_the_run(tab: Tab) -> None:
    @job
    async def knot(step: Step) -> None:
        error = ValueError("a knot")
        raise error from error

    async with tab.durably(knot) as durably:
        handle = await durably.trigger(knot())
        with pytest.raises(RunFailed, match="a knot"):
            await handle.result()
