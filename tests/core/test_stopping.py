"""What ends a run's local execution, and that no user code can get round it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from durably import RunStatus, Step, StopSignal, job
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, record, types

Swallow = Callable[[Step, Gate, Bodies], Awaitable[object]]


async def except_base_exception(step: Step, gate: Gate, bodies: Bodies) -> object:
    try:
        await step.run("under way", gate)
    except BaseException:
        bodies("swallowed")
    return await step.run("next", bodies, "next")


async def except_base_exception_everywhere(step: Step, gate: Gate, bodies: Bodies) -> object:
    for name in ("under way", "next", "after that"):
        try:
            await step.run(name, gate if name == "under way" else lambda name=name: bodies(name))
        except BaseException:
            bodies("swallowed")
    return "completed all the same"


async def finally_return(step: Step, gate: Gate, bodies: Bodies) -> object:
    try:
        await step.run("under way", gate)
    finally:
        return "completed all the same"  # noqa: B012


async def gather_that_returns_exceptions(step: Step, gate: Gate, bodies: Bodies) -> object:
    await asyncio.gather(step.run("under way", gate), return_exceptions=True)
    return await step.run("next", bodies, "next")


async def task_group(step: Step, gate: Gate, bodies: Bodies) -> object:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(step.run("under way", gate))
    except BaseException:
        bodies("swallowed")
    return await step.run("next", bodies, "next")


async def wait_for(step: Step, gate: Gate, bodies: Bodies) -> object:
    try:
        await asyncio.wait_for(step.run("under way", gate), 3600)
    except BaseException:
        bodies("swallowed")
    return await step.run("next", bodies, "next")


async def shield(step: Step, gate: Gate, bodies: Bodies) -> object:
    try:
        await asyncio.shield(step.run("under way", gate))
    except BaseException:
        bodies("swallowed")
    return await step.run("next", bodies, "next")


async def step_that_swallows(step: Step, gate: Gate, bodies: Bodies) -> object:
    async def stubborn() -> str:
        try:
            await gate()
        except BaseException:
            bodies("swallowed")
        return "a result all the same"

    await step.run("under way", stubborn)
    return await step.run("next", bodies, "next")


async def task_that_is_not_awaited(step: Step, gate: Gate, bodies: Bodies) -> object:
    task = asyncio.create_task(step.run("under way", gate))
    await gate.entered.wait()
    try:
        await asyncio.Event().wait()
    except BaseException:
        bodies("swallowed")
    del task
    return "completed all the same"


SWALLOWS: list[Swallow] = [
    except_base_exception,
    except_base_exception_everywhere,
    finally_return,
    gather_that_returns_exceptions,
    task_group,
    wait_for,
    shield,
    step_that_swallows,
    task_that_is_not_awaited,
]


@pytest.mark.parametrize("swallow", SWALLOWS)
async def test_cancelled_run_stays_cancelled_whatever_its_code_swallows(
    tab: Tab, gate: Gate, bodies: Bodies, swallow: Swallow
) -> None:
    @job
    async def stubborn(step: Step) -> object:
        return await swallow(step, gate, bodies)

    async with tab.durably(stubborn) as durably:
        told = record(durably)
        handle = await durably.trigger(stubborn())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        gate.open()
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert await durably.get_steps(handle.id) == []
        assert set(bodies.ran) <= {"swallowed"}
        assert set(types(told)[types(told).index("run:cancel") + 1 :]) <= {"step:cancel"}


@pytest.mark.parametrize("swallow", SWALLOWS)
async def test_lost_lease_stops_a_run_whatever_its_code_swallows(
    tab: Tab, gate: Gate, bodies: Bodies, swallow: Swallow
) -> None:
    @job
    async def stubborn(step: Step) -> object:
        return await swallow(step, gate, bodies)

    async with tab.durably(stubborn) as durably:
        handle = await durably.trigger(stubborn())
        await gate.entered.wait()
        tab.visibility.hide()  # So that nothing is claimed in the next term.
        await settle()
        tab.disk.epoch += 1  # Another tab has taken over.
        with pytest.raises(BaseException, match="taken"):
            await durably.trigger(stubborn())
        gate.open()
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING
        assert await durably.get_steps(handle.id) == []
        assert set(bodies.ran) <= {"swallowed"}


@pytest.mark.parametrize("swallow", SWALLOWS)
async def test_suspended_run_starts_no_step_whatever_its_code_swallows(
    tab: Tab, gate: Gate, bodies: Bodies, swallow: Swallow
) -> None:
    @job
    async def stubborn(step: Step) -> object:
        return await swallow(step, gate, bodies)

    durably = tab.durably(stubborn)
    async with durably:
        handle = await durably.trigger(stubborn())
        await gate.entered.wait()
        opening = gate.open_once_settled()

    await opening
    async with tab.durably() as later:
        run = await later.get_run(handle.id)
        steps = await later.get_steps(handle.id)

        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert {step.name for step in steps} <= {"under way"}
        assert set(bodies.ran) <= {"swallowed"}


async def test_signal_is_no_ordinary_exception(tab: Tab, gate: Gate) -> None:
    caught: list[BaseException] = []

    @job
    async def look(step: Step) -> None:
        try:
            await step.run("under way", gate)
        except Exception as error:
            caught.append(error)
        except BaseException as error:
            assert isinstance(error, StopSignal | asyncio.CancelledError)
            raise

    async with tab.durably(look) as durably:
        handle = await durably.trigger(look())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        assert caught == []


async def test_run_can_be_cancelled_by_its_own_step(tab: Tab, bodies: Bodies) -> None:
    @job
    async def cancel_itself(step: Step) -> None:
        async def cancel() -> str:
            await durably.cancel(step.run_id)
            return "cancelled"

        await step.run("cancel", cancel)
        await step.run("next", bodies, "next")

    async with tab.durably(cancel_itself) as durably:
        handle = await durably.trigger(cancel_itself())
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert await durably.get_steps(handle.id) == []
        assert bodies.ran == []


async def test_worker_goes_on_after_a_cancelled_run(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> str:
        return await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        first = await durably.trigger(wait())
        second = await durably.trigger(wait())
        await gate.entered.wait()
        await durably.cancel(first.id)
        gate.open()

        assert await second.result() == "passed"


async def test_progress_after_a_cancel_changes_nothing(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        step.progress(1, 3)
        try:
            await gate()
        finally:
            step.progress(2, 3)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        await gate.entered.wait()
        told = record(durably)
        await durably.cancel(handle.id)
        await tab.clock.advance(5)
        progress = (await durably.get_run(handle.id)).progress

        assert progress is not None
        assert progress.current == 1
        assert "run:progress" not in types(told)


# Steps that nobody waits for


async def test_step_that_is_not_awaited_ends_with_its_run(tab: Tab, gate: Gate) -> None:
    @job
    async def forget(step: Step) -> str:
        task = asyncio.create_task(step.run("forgotten", gate))
        await gate.entered.wait()
        del task
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'.* was started but not awaited"):
            handle = await durably.trigger(forget())
            result = await handle.result()
        gate.open()
        await settle()

        assert result == "done"
        assert await durably.get_steps(handle.id) == []
        (attempt,) = await durably.get_attempts(handle.id)
        assert attempt.outcome == "interrupted"


async def test_step_that_is_not_awaited_and_swallows_its_end_is_not_stored(
    tab: Tab, gate: Gate
) -> None:
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await gate()
        return "late"

    @job
    async def forget(step: Step) -> str:
        task = asyncio.create_task(step.run("forgotten", stubborn))
        await gate.entered.wait()
        del task
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'"):
            handle = await durably.trigger(forget())
            await handle.result()

        assert await durably.get_steps(handle.id) == []


async def test_step_that_would_start_after_the_end_of_its_run_does_not(
    tab: Tab, bodies: Bodies
) -> None:
    tasks = []

    @job
    async def forget(step: Step) -> str:
        tasks.append(asyncio.create_task(step.run("forgotten", bodies, "forgotten")))
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'.* was started but not awaited"):
            handle = await durably.trigger(forget())
            result = await handle.result()
            await settle()

        assert result == "done"
        assert bodies.ran == []
        assert tasks[0].cancelled()
