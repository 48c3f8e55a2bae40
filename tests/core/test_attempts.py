"""Attempts: what is known of the tries of a step, and what it costs."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from durably import InvalidOption, RunFailed, RunStatus, Step, job
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, interrupted, only_wait

LONG = 0.3
"""Seconds after which a try has been under way at two looks."""


@job
async def short(step: Step) -> str:
    return await step.run("short", lambda: "done")


def working(gate: Gate) -> Any:
    @job(name="working")
    async def work(step: Step) -> str:
        return await step.run("work", gate)

    return work


def noting(gate: Gate, *notes: dict[str, object]) -> Any:
    """A job whose step sets metadata, and then stands at the gate."""

    @job(name="noting")
    async def work(step: Step) -> None:
        async def note() -> None:
            for metadata in notes:
                await step.set_metadata(metadata)
            await gate()

        await step.run("note", note)

    return work


# How a try ends


async def test_try_that_completed_is_known_with_its_times(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        began = tab.clock.now()
        await tab.clock.advance(60)
        gate.open()
        await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert (attempt.step, attempt.number) == ("work", 1)
        assert (attempt.outcome, attempt.reason) == ("completed", None)
        assert (attempt.started_at, attempt.ended_at) == (began, began + 60_000)


async def test_try_that_failed_is_known_with_its_error(tab: Tab) -> None:
    def fail() -> None:
        raise OSError("out of order")

    @job
    async def failing(step: Step) -> None:
        await step.run("fail", fail)

    async with tab.durably(failing) as durably:
        handle = await durably.trigger(failing())
        with pytest.raises(RunFailed):
            await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert (attempt.outcome, attempt.reason) == ("failed", None)
        assert attempt.error is not None
        assert attempt.error.message == "out of order"


async def test_try_under_way_is_known_once_it_lasts(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        began = tab.clock.now()
        await tab.clock.advance(LONG)
        (attempt,) = await durably.get_attempts(handle.id)
        gate.open()

        assert (attempt.number, attempt.outcome) == (1, "running")
        assert (attempt.started_at, attempt.ended_at) == (began, None)


async def test_try_of_a_program_that_was_killed_was_interrupted(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    async with tab.life(work) as life:
        handle = await life.durably.trigger(work())
        await gate.entered.wait()
        await tab.clock.advance(LONG)
        await life.kill()
    gate.open()
    async with tab.durably(work) as durably:
        await durably.result(handle.id)
        first, second = await durably.get_attempts(handle.id)

        assert (first.number, first.outcome, first.reason) == (1, "interrupted", "unknown")
        assert (second.number, second.outcome, second.reason) == (2, "completed", None)
        assert first.ended_at == tab.clock.now()


async def test_try_whose_owner_went_stale_lost_its_lease(tab: Tab, gate: Gate) -> None:
    tab.proves_death = False
    work = working(gate)
    async with tab.life(work) as life:
        handle = await life.durably.trigger(work())
        await gate.entered.wait()
        await tab.clock.advance(LONG)
        await life.kill()
    gate.open()
    async with tab.durably(work) as durably:
        await tab.clock.advance(60)
        await durably.result(handle.id)
        first, _ = await durably.get_attempts(handle.id)

        assert (first.outcome, first.reason) == ("interrupted", "lease-lost")


async def test_try_of_a_cancelled_run_was_cancelled_however_short_it_was(
    tab: Tab, gate: Gate
) -> None:
    work = working(gate)
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()

        (attempt,) = await durably.get_attempts(handle.id)
        assert (attempt.outcome, attempt.reason) == ("interrupted", "cancelled")


async def test_try_that_outlasts_the_stop_timeout_lost_its_lease_however_short_it_was(
    tab: Tab, gate: Gate
) -> None:
    work = working(gate)
    durably = tab.durably(work, stop_timeout=0.01)
    await durably.__aenter__()
    handle = await durably.trigger(work())
    await gate.entered.wait()
    leaving = asyncio.ensure_future(durably.__aexit__(None, None, None))
    await tab.clock.advance(0.01)
    await leaving

    async with tab.durably() as later:
        (attempt,) = await later.get_attempts(handle.id)
        assert (attempt.outcome, attempt.reason) == ("interrupted", "lease-lost")


async def test_try_that_its_job_gave_up_was_cancelled_at_once(tab: Tab, gate: Gate) -> None:
    entered, going_on = Gate(), Gate()

    @job
    async def give_up(step: Step) -> None:
        task = asyncio.ensure_future(step.run("slow", entered))
        await entered.entered.wait()
        task.cancel()
        await asyncio.wait([task])
        await step.run("next", going_on)

    async with tab.durably(give_up) as durably:
        handle = await durably.trigger(give_up())
        await going_on.entered.wait()
        (attempt,) = await durably.get_attempts(handle.id)
        going_on.open()
        await handle.result()

        assert (attempt.step, attempt.outcome) == ("slow", "interrupted")
        assert (attempt.reason, attempt.ended_at) == ("cancelled", tab.clock.now())


async def test_try_that_nobody_awaited_was_cancelled_at_the_end_of_its_run(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def forget(step: Step) -> str:
        task = asyncio.ensure_future(step.run("forgotten", gate))
        await gate.entered.wait()
        del task
        return "done"

    async with tab.durably(forget) as durably:
        with pytest.warns(RuntimeWarning, match="'forgotten'"):
            handle = await durably.trigger(forget())
            await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert (attempt.outcome, attempt.reason) == ("interrupted", "cancelled")


async def test_last_try_of_a_crash_loop_was_interrupted_too(tab: Tab) -> None:
    gates: list[Gate] = []

    @job
    async def crash(step: Step) -> None:
        gates.append(Gate())
        await step.run("crash", gates[-1])

    run_id = ""
    for number in range(3):
        async with tab.life(crash, max_interruptions=2) as life:
            if not run_id:
                run_id = (await life.durably.trigger(crash())).id
            await settle()
            assert len(gates) == number + 1
            await tab.clock.advance(LONG)
            await life.kill()
    async with tab.durably(crash, max_interruptions=2) as durably:
        attempts = await durably.get_attempts(run_id)

        assert (await durably.get_run(run_id)).status is RunStatus.FAILED
        assert [attempt.number for attempt in attempts] == [1, 2, 3]
        assert {(attempt.outcome, attempt.reason) for attempt in attempts} == {
            ("interrupted", "unknown")
        }


async def test_tries_are_listed_in_the_order_in_which_they_began(tab: Tab) -> None:
    @job
    async def several(step: Step) -> None:
        for name in ("c", "a", "b"):
            await step.run(name, lambda: None)

    async with tab.durably(several) as durably:
        handle = await durably.trigger(several())
        await handle.result()

        attempts = await durably.get_attempts(handle.id)
        assert [attempt.step for attempt in attempts] == ["c", "a", "b"]


async def test_completed_step_has_no_second_try_in_a_replay(tab: Tab) -> None:
    @job
    async def work_and_ask(step: Step) -> None:
        await step.run("work", lambda: None)
        await step.wait_for(await step.prepare_wait("answer"))

    async with tab.durably(work_and_ask) as durably:
        handle = await durably.trigger(work_and_ask())
        await durably.signal((await only_wait(durably, handle.id)).id)
        await handle.result()

        assert [one.number for one in await durably.get_attempts(handle.id)] == [1]


# Metadata


async def test_metadata_survives_a_crash(tab: Tab, gate: Gate) -> None:
    work = noting(gate, {"tokens": 7, "model": ["a", None, 1.5, {"b": True}]})
    run_id = await interrupted(tab, work, gate)
    async with tab.durably(work) as durably:
        await durably.result(run_id)
        first, second = await durably.get_attempts(run_id)

        assert (first.number, first.outcome) == (1, "interrupted")
        assert first.metadata == {"tokens": 7, "model": ["a", None, 1.5, {"b": True}]}
        assert (second.number, second.outcome) == (2, "completed")


async def test_metadata_belongs_to_the_try_that_set_it(tab: Tab, gate: Gate) -> None:
    costs = iter([1, 2])

    @job
    async def work(step: Step) -> None:
        async def spend() -> None:
            await step.set_metadata({"cost": next(costs)})
            await gate()

        await step.run("spend", spend)

    run_id = await interrupted(tab, work, gate)
    async with tab.durably(work) as durably:
        await durably.result(run_id)

        attempts = await durably.get_attempts(run_id)
        assert [attempt.metadata for attempt in attempts] == [{"cost": 1}, {"cost": 2}]


async def test_metadata_of_a_try_that_completed_stays(tab: Tab, gate: Gate) -> None:
    gate.open()
    work = noting(gate, {"tokens": 7})
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert (attempt.outcome, attempt.metadata) == ("completed", {"tokens": 7})


async def test_metadata_of_a_try_that_failed_stays(tab: Tab) -> None:
    @job
    async def failing(step: Step) -> None:
        async def fail() -> None:
            await step.set_metadata({"tokens": 7})
            raise OSError("out of order")

        await step.run("fail", fail)

    async with tab.durably(failing) as durably:
        handle = await durably.trigger(failing())
        with pytest.raises(RunFailed):
            await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert (attempt.outcome, attempt.metadata) == ("failed", {"tokens": 7})


async def test_metadata_of_a_cancelled_try_stays(tab: Tab, gate: Gate) -> None:
    work = noting(gate, {"tokens": 7})
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        await durably.cancel(handle.id)

        (attempt,) = await durably.get_attempts(handle.id)
        assert (attempt.reason, attempt.metadata) == ("cancelled", {"tokens": 7})


async def test_metadata_is_replaced_and_not_merged(tab: Tab, gate: Gate) -> None:
    gate.open()
    work = noting(gate, {"a": 1}, {"b": 2})
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert attempt.metadata == {"b": 2}


async def test_metadata_is_what_it_was_at_the_time_of_the_call(tab: Tab, gate: Gate) -> None:
    metadata: dict[str, object] = {"list": [1]}

    @job
    async def work(step: Step) -> None:
        async def note() -> None:
            setting = asyncio.ensure_future(step.set_metadata(metadata))
            await asyncio.sleep(0)
            metadata["list"] = "changed"
            await setting

        await step.run("note", note)

    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert attempt.metadata == {"list": [1]}


async def test_steps_side_by_side_have_their_own_metadata(tab: Tab) -> None:
    @job
    async def work(step: Step) -> None:
        async def note(name: str) -> None:
            await step.set_metadata({"name": name})

        await step.all(left=lambda: note("left"), right=lambda: note("right"))

    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await handle.result()

        attempts = await durably.get_attempts(handle.id)
        assert {one.step: one.metadata for one in attempts} == {
            "left": {"name": "left"},
            "right": {"name": "right"},
        }


async def test_metadata_waits_for_room_in_a_full_storage(tab: Tab, gate: Gate) -> None:
    gate.open()
    work = noting(gate, {"tokens": 7})
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await settle()
        await handle.result()
        writes = tab.disk.writes
        tab.disk.fail(writes + 3, "full")  # Behind the trigger and the claim.
        second = await durably.trigger(work())
        await settle()
        was_done = (await durably.get_run(second.id)).is_terminal
        await tab.clock.advance(2)
        await second.result()

        (attempt,) = await durably.get_attempts(second.id)
        assert not was_done
        assert (attempt.outcome, attempt.metadata) == ("completed", {"tokens": 7})


async def test_step_whose_metadata_cannot_be_stored_any_more_does_not_fail(
    tab: Tab, gate: Gate
) -> None:
    gate.open()
    work = noting(gate, {"tokens": 7})
    async with tab.durably(work) as durably:
        tab.disk.fail(tab.disk.writes + 3, "lost")  # Behind the trigger and the claim.
        handle = await durably.trigger(work())
        await tab.clock.advance(5)

        await handle.result()
        steps = await durably.get_steps(handle.id)
        assert [step.status for step in steps] == ["completed"]


def circular() -> dict[str, object]:
    value: dict[str, object] = {}
    value["itself"] = [value]
    return value


def deep() -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(5000):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        7,
        "text",
        [1],
        [("a", 1)],
        {1: "an int as its key"},
        {None: 1},
        {"a": (1, 2)},
        {"a": {1, 2}},
        {"a": math.nan},
        {"a": [math.inf]},
        {"a": object()},
        {"a": b"bytes"},
        circular(),
        deep(),
    ],
    ids=lambda value: None,
)
async def test_metadata_that_is_no_json_object_is_refused_and_not_stored(
    tab: Tab, metadata: Any
) -> None:
    errors: list[InvalidOption] = []

    @job
    async def work(step: Step) -> None:
        async def note() -> None:
            await step.set_metadata({"kept": True})
            try:
                await step.set_metadata(metadata)
            except InvalidOption as error:
                errors.append(error)

        await step.run("note", note)

    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert [error.option for error in errors] == ["metadata"]
        assert attempt.metadata == {"kept": True}


@pytest.mark.parametrize("metadata", [{}, {"": None}, {"$type": "mine"}, {"half": "\ud800"}])
async def test_any_json_object_can_be_metadata(
    tab: Tab, gate: Gate, metadata: dict[str, object]
) -> None:
    gate.open()
    work = noting(gate, metadata)
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await handle.result()

        (attempt,) = await durably.get_attempts(handle.id)
        assert attempt.metadata == metadata


async def test_metadata_outside_a_step_is_refused(tab: Tab) -> None:
    @job
    async def misuse(step: Step) -> None:
        await step.set_metadata({"a": 1})

    async with tab.durably(misuse) as durably:
        handle = await durably.trigger(misuse())
        with pytest.raises(RunFailed, match=r"NotInsideStep: step.set_metadata works inside"):
            await handle.result()


async def test_metadata_from_a_task_that_outlives_its_step_is_refused(tab: Tab, gate: Gate) -> None:
    tasks: list[asyncio.Task[None]] = []

    @job
    async def misuse(step: Step) -> None:
        async def note_late() -> None:
            await gate()
            await step.set_metadata({"a": 1})

        await step.run("start", lambda: tasks.append(asyncio.ensure_future(note_late())))
        gate.open()
        await tasks[0]

    async with tab.durably(misuse) as durably:
        handle = await durably.trigger(misuse())
        with pytest.raises(RunFailed, match="NotInsideStep"):
            await handle.result()


async def test_step_of_one_run_is_no_step_of_a_run_that_it_drives(tab: Tab) -> None:
    other = Tab()

    @job
    async def drive(step: Step) -> str:
        async def run_another() -> str:
            async with other.durably(short) as durably:
                handle = await durably.trigger(short())
                return await handle.result()

        return await step.run("drive", run_another)

    async with tab.durably(drive) as durably:
        assert await (await durably.trigger(drive())).result() == "done"


# What it costs


async def test_short_step_writes_once(tab: Tab, bodies: Bodies) -> None:
    writes: list[int] = []

    @job
    async def three_steps(step: Step) -> None:
        for name in ("a", "b", "c"):
            await step.run(name, lambda: writes.append(tab.disk.writes))
        writes.append(tab.disk.writes)

    async with tab.durably(three_steps) as durably:
        handle = await durably.trigger(three_steps())
        await handle.result()

        assert [write - writes[0] for write in writes] == [0, 1, 2, 3]
        assert len(await durably.get_attempts(handle.id)) == 3


async def test_long_step_writes_twice_however_long_it_is(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    async with tab.durably(work) as durably:
        await durably.trigger(work())
        await gate.entered.wait()
        writes = tab.disk.writes
        await tab.clock.advance(3600)
        gate.open()

        assert tab.disk.writes == writes + 1


async def test_try_under_way_is_looked_at_no_more_once_it_is_stored(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    async with tab.durably(work, heartbeat_interval=5) as durably:
        await durably.trigger(work())
        await gate.entered.wait()
        at_first = tab.clock.timers
        await tab.clock.advance(LONG)
        stored = tab.clock.timers
        gate.open()

        assert at_first == [0.1, 5]
        assert stored == [5 - LONG]


async def test_try_that_is_killed_at_once_leaves_no_record(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    run_id = await interrupted(tab, work, gate)
    async with tab.durably(work) as durably:
        await durably.result(run_id)

        assert [one.number for one in await durably.get_attempts(run_id)] == [1]


async def test_durably_that_was_left_leaves_no_timer_behind(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    async with tab.durably(work) as durably:
        await durably.trigger(work())
        await gate.entered.wait()
        opening = gate.open_once_settled()
    await opening

    assert tab.clock.timers == []


async def test_cancelled_run_leaves_no_timer_behind(tab: Tab, gate: Gate) -> None:
    work = working(gate)
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        await durably.cancel(handle.id)
        await settle()
        await tab.clock.advance(5)

        assert tab.clock.timers == []
