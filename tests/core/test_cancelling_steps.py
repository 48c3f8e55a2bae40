"""What a step under way can know of its end, and what becomes of what it does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durably import LeaseLost, RunCancelled, RunStatus, RunSuspended, Step, job
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, record, types


async def leave_after(tab: Tab, durably: Any, seconds: float) -> None:
    leaving = asyncio.ensure_future(durably.__aexit__(None, None, None))
    await tab.clock.advance(seconds)
    await leaving


async def test_step_sees_that_its_run_was_cancelled(tab: Tab, gate: Gate) -> None:
    seen: list[bool] = []

    @job
    async def look(step: Step) -> None:
        async def work() -> None:
            seen.append(step.cancelled)
            try:
                await gate()
            finally:
                seen.append(step.cancelled)

        await step.run("work", work)

    async with tab.durably(look) as durably:
        handle = await durably.trigger(look())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        assert seen == [False, True]


async def test_cancel_event_can_be_awaited_by_what_no_cancellation_reaches(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    watchers: list[asyncio.Task[None]] = []

    @job
    async def fetch(step: Step) -> None:
        async def abort_request() -> None:
            await step.cancel_event.wait()
            bodies("aborted")

        async def request() -> None:
            watchers.append(asyncio.ensure_future(abort_request()))
            await gate()

        await step.run("request", request)

    async with tab.durably(fetch) as durably:
        handle = await durably.trigger(fetch())
        await gate.entered.wait()
        await settle()
        ran_before = list(bodies.ran)
        await durably.cancel(handle.id)
        await watchers[0]

        assert ran_before == []
        assert bodies.ran == ["aborted"]


async def test_step_that_swallows_its_cancellation_can_still_end_itself(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    caught: list[BaseException] = []

    @job
    async def stubborn(step: Step) -> None:
        async def work() -> None:
            step.raise_if_cancelled()
            try:
                await gate()
            except asyncio.CancelledError:
                bodies("swallowed")
            try:
                step.raise_if_cancelled()
            except BaseException as error:
                caught.append(error)
                raise
            bodies("went on")

        await step.run("work", work)

    async with tab.durably(stubborn) as durably:
        handle = await durably.trigger(stubborn())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        assert bodies.ran == ["swallowed"]
        assert [type(error) for error in caught] == [RunCancelled]
        assert await durably.get_steps(handle.id) == []


async def test_step_whose_lease_is_lost_is_told_so(tab: Tab, gate: Gate) -> None:
    caught: list[BaseException] = []

    @job
    async def work(step: Step) -> None:
        async def look() -> None:
            try:
                await gate()
            finally:
                try:
                    step.raise_if_cancelled()
                except BaseException as error:
                    caught.append(error)

        await step.run("look", look)

    async with tab.durably(work) as durably:
        told = record(durably, "step:cancel")
        await durably.trigger(work())
        await gate.entered.wait()
        tab.visibility.hide()  # So that nothing is claimed in the next term.
        await settle()
        tab.disk.epoch += 1  # Another tab has taken over.
        await durably.trigger(work())
        await settle()

        assert [type(error) for error in caught] == [LeaseLost]
        assert [event.reason for event in told] == ["lease-lost"]


async def test_step_that_may_finish_when_its_durably_is_left_is_not_cancelled(
    tab: Tab, gate: Gate
) -> None:
    seen: list[bool] = []

    @job
    async def look(step: Step) -> None:
        async def work() -> None:
            await gate()
            step.raise_if_cancelled()
            seen.append(step.cancelled)

        await step.run("work", work)

    async with tab.durably(look) as durably:
        handle = await durably.trigger(look())
        await gate.entered.wait()
        opening = gate.open_once_settled()
    await opening

    async with tab.durably() as later:
        assert seen == [False]
        assert [step.name for step in await later.get_steps(handle.id)] == ["work"]


async def test_step_that_outlasts_the_stop_timeout_is_cancelled(tab: Tab, gate: Gate) -> None:
    caught: list[BaseException] = []
    seen: list[bool] = []

    @job
    async def look(step: Step) -> None:
        async def work() -> None:
            try:
                await gate()
            finally:
                seen.append(step.cancelled)
                try:
                    step.raise_if_cancelled()
                except BaseException as error:
                    caught.append(error)

        await step.run("work", work)

    durably = tab.durably(look, stop_timeout=3)
    await durably.__aenter__()
    told = record(durably, "step:cancel")
    await durably.trigger(look())
    await gate.entered.wait()
    await leave_after(tab, durably, 3)

    assert seen == [True]
    assert [type(error) for error in caught] == [RunSuspended]
    assert [(event.step, event.reason) for event in told] == [("work", "lease-lost")]


async def test_half_a_result_of_a_step_that_was_cut_off_is_not_stored(tab: Tab, gate: Gate) -> None:
    @job
    async def collect(step: Step) -> str:
        async def work() -> str:
            try:
                await gate()
            except asyncio.CancelledError:
                return "half"
            return "whole"

        return await step.run("work", work)

    durably = tab.durably(collect, stop_timeout=3)
    await durably.__aenter__()
    handle = await durably.trigger(collect())
    await gate.entered.wait()
    await leave_after(tab, durably, 3)

    gate.open()
    async with tab.durably(collect) as later:
        assert await later.result(handle.id) == "whole"
        assert (await later.get_run(handle.id)).interruptions == 0


async def test_step_that_turns_its_cancellation_into_a_failure_has_not_failed(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def collect(step: Step) -> str:
        async def work() -> str:
            try:
                return await gate()
            except asyncio.CancelledError:
                raise OSError("connection closed") from None

        return await step.run("work", work)

    durably = tab.durably(collect, stop_timeout=3)
    await durably.__aenter__()
    handle = await durably.trigger(collect())
    await gate.entered.wait()
    await leave_after(tab, durably, 3)

    gate.open()
    async with tab.durably(collect) as later:
        assert await later.result(handle.id) == "passed"


async def test_cancelled_step_is_told_of_after_the_cancel(tab: Tab, gate: Gate) -> None:
    @job
    async def work(step: Step) -> None:
        await step.all(left=gate, right=lambda: gate())

    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        await settle()
        told = record(durably)
        await durably.cancel(handle.id)
        await settle()

        assert types(told) == ["run:cancel", "step:cancel", "step:cancel"]
        assert {(event.step, event.reason) for event in told[1:]} == {
            ("left", "cancelled"),
            ("right", "cancelled"),
        }


async def test_step_that_its_job_gave_up_is_told_of_as_cancelled(tab: Tab, gate: Gate) -> None:
    @job
    async def give_up(step: Step) -> str:
        task = asyncio.ensure_future(step.run("slow", gate))
        await gate.entered.wait()
        task.cancel()
        await asyncio.wait([task])
        return "without it"

    async with tab.durably(give_up) as durably:
        told = record(durably, "step:cancel")
        handle = await durably.trigger(give_up())

        assert await handle.result() == "without it"
        assert [(event.step, event.reason) for event in told] == [("slow", "cancelled")]


async def test_step_that_completed_is_not_told_of_as_cancelled(tab: Tab, gate: Gate) -> None:
    @job
    async def work(step: Step) -> None:
        await step.run("first", lambda: None)
        await step.run("second", gate)

    async with tab.durably(work) as durably:
        told = record(durably, "step:cancel")
        handle = await durably.trigger(work())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        assert [event.step for event in told] == ["second"]


async def test_step_that_nobody_awaits_sees_the_end_of_its_run(tab: Tab, gate: Gate) -> None:
    seen: list[bool] = []

    @job
    async def forget(step: Step) -> str:
        async def work() -> None:
            try:
                await gate()
            finally:
                seen.append(step.cancel_event.is_set())

        task = asyncio.ensure_future(step.run("forgotten", work))
        await gate.entered.wait()
        del task
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'"):
            handle = await durably.trigger(forget())
            await handle.result()

        assert seen == [True]


async def test_job_can_look_between_its_steps(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def look(step: Step) -> None:
        step.raise_if_cancelled()
        try:
            await gate()
        except asyncio.CancelledError:
            bodies(str(step.cancelled))
        step.raise_if_cancelled()
        bodies("went on")

    async with tab.durably(look) as durably:
        handle = await durably.trigger(look())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert bodies.ran == ["True"]


async def test_metadata_of_a_cancelled_step_is_not_changed_any_more(tab: Tab, gate: Gate) -> None:
    @job
    async def work(step: Step) -> None:
        async def note() -> None:
            await step.set_metadata({"before": True})
            try:
                await gate()
            finally:
                await step.set_metadata({"after": True})

        await step.run("note", note)

    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        (attempt,) = await durably.get_attempts(handle.id)
        assert attempt.metadata == {"before": True}
