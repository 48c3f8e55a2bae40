"""Runs that wait: how they come to it, what they hold meanwhile, and how they go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine

import pytest

from durably import (
    Durably,
    RunConflict,
    RunFailed,
    RunStatus,
    RunWasCancelled,
    Step,
    StepFailed,
    WaitIsOver,
    job,
)
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, only_wait, record, steps_told, types, waits_of

HOUR = 3600


@job
async def ask(step: Step, timeout: float | None = None) -> object:
    wait = await step.prepare_wait("answer", timeout=timeout)
    return (await step.wait_for(wait)).payload


@job
async def act(step: Step) -> str:
    return await step.run("act", lambda: "done")


# Going on


async def test_run_goes_on_as_the_same_run_under_a_new_generation(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        before = await durably.get_run(handle.id)
        await durably.signal(wait.id, "go")
        await handle.result()
        after = await durably.get_run(handle.id)

        assert (before.lease_owner, before.heartbeat_at) == (None, None)
        assert (before.lease_generation, after.lease_generation) == (1, 2)
        assert before.started_at == after.started_at
        assert (after.interruptions, len(await durably.list_runs())) == (0, 1)


async def test_steps_before_the_wait_are_not_run_again(tab: Tab, bodies: Bodies) -> None:
    @job
    async def ask_between(step: Step) -> object:
        await step.run("before", bodies, "before")
        wait = await step.prepare_wait("answer")
        await step.run("tell", bodies, wait.id)
        payload = (await step.wait_for(wait)).payload
        await step.run("after", bodies, "after")
        return payload

    async with tab.durably(ask_between) as durably:
        handle = await durably.trigger(ask_between())
        wait = await only_wait(durably, handle.id)
        await durably.signal(wait.id, "go")

        assert await handle.result() == "go"
        assert bodies.ran == ["before", wait.id, "after"]


async def test_waits_can_follow_one_another(tab: Tab, bodies: Bodies) -> None:
    @job
    async def ask_three_times(step: Step) -> list[object]:
        answers = []
        for number in range(3):
            wait = await step.prepare_wait(f"answer {number}")
            answers.append((await step.wait_for(wait)).payload)
            await step.run("after", bodies, str(number), key=number)
        return answers

    async with tab.durably(ask_three_times) as durably:
        handle = await durably.trigger(ask_three_times())
        for number in range(3):
            waits = await waits_of(durably, handle.id)
            assert [wait.outcome for wait in waits] == ["signal"] * number + ["open"]
            await durably.signal(waits[-1].id, number)

        assert await handle.result() == [0, 1, 2]
        assert bodies.ran == ["0", "1", "2"]
        assert (await durably.get_run(handle.id)).lease_generation == 4


async def test_settled_wait_can_be_awaited_again(tab: Tab) -> None:
    @job
    async def look_twice(step: Step) -> list[object]:
        wait = await step.prepare_wait("answer")
        return [(await step.wait_for(wait)).payload for _ in range(2)]

    async with tab.durably(look_twice) as durably:
        handle = await durably.trigger(look_twice())
        await durably.signal((await only_wait(durably, handle.id)).id, "go")

        assert await handle.result() == ["go", "go"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_waits_side_by_side_take_their_signals_in_either_order(
    tab: Tab, order: tuple[int, int]
) -> None:
    @job
    async def ask_two(step: Step) -> list[object]:
        waits = [await step.prepare_wait(name) for name in ("left", "right")]
        results = await asyncio.gather(*(step.wait_for(wait) for wait in waits))
        return [result.payload for result in results]

    async with tab.durably(ask_two) as durably:
        handle = await durably.trigger(ask_two())
        waits = await waits_of(durably, handle.id)
        for place in order:
            await settle()
            await durably.signal(waits[place].id, waits[place].name)

        assert await handle.result() == ["left", "right"]


async def test_run_that_waits_tells_of_it_and_of_going_on(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        told = record(durably)
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        await durably.signal(wait.id, "go")
        await handle.result()

        waiting = next(event for event in told if event.type == "run:waiting")
        resumed = next(event for event in told if event.type == "run:requeued")
        assert types(told) == [
            *("run:trigger", "run:claimed", "run:waiting"),
            *("run:requeued", "run:claimed", "run:complete"),
        ]
        assert waiting.wait_ids == (wait.id,)
        assert resumed.reason == "its wait was signalled"


async def test_run_whose_wait_times_out_tells_of_going_on(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        told = record(durably, "run:requeued")
        handle = await durably.trigger(ask(timeout=HOUR))
        await only_wait(durably, handle.id)
        await tab.clock.advance(HOUR)
        await handle.result()

        assert [event.reason for event in told] == ["its wait timed out"]


async def test_resumption_is_told_when_it_is_durable(tab: Tab) -> None:
    async with tab.life(ask) as life:
        handle = await life.durably.trigger(ask())
        wait = await only_wait(life.durably, handle.id)
        tab.disk.is_dead = True
        sending = asyncio.ensure_future(life.durably.signal(wait.id, "go"))
        await settle()

        assert not sending.done()
        assert types(life.told)[-1] == "run:waiting"


async def test_all_runs_whose_waits_time_out_together_go_on(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handles = [await durably.trigger(ask(timeout=HOUR)) for _ in range(3)]
        await settle()
        await tab.clock.advance(HOUR)

        assert [await handle.result() for handle in handles] == [None] * 3


async def test_hidden_tab_goes_on_with_a_signalled_run_when_it_is_seen(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        tab.visibility.hide()
        await durably.signal(wait.id, "go")
        await settle()
        while_hidden = (await durably.get_run(handle.id)).status
        tab.visibility.show()

        assert while_hidden is RunStatus.PENDING
        assert await handle.result() == "go"


async def test_worker_that_is_driven_by_hand_goes_on_with_a_run_whose_time_is_over(
    tab: Tab,
) -> None:
    async with tab.durably(ask, autostart=False) as durably:
        handle = await durably.trigger(ask(timeout=HOUR))
        processed = [await durably.process_until_idle()]
        await tab.clock.advance(HOUR)
        processed.append(await durably.process_until_idle())

        assert processed == [1, 1]
        assert await handle.result() is None


# What a run holds while it waits


async def test_waiting_run_frees_its_slot(tab: Tab) -> None:
    async with tab.durably(ask, act, max_concurrent_runs=1) as durably:
        first = await durably.trigger(ask())
        second = await durably.trigger(act())

        assert await second.result() == "done"
        assert (await durably.get_run(first.id)).is_waiting


async def test_waiting_run_frees_its_concurrency_key(tab: Tab) -> None:
    async with tab.durably(ask, max_concurrent_runs=2) as durably:
        first = await durably.trigger(ask(), concurrency_key="key")
        await only_wait(durably, first.id)
        second = await durably.trigger(ask(), concurrency_key="key")
        wait = await only_wait(durably, second.id)
        await durably.signal(wait.id, "go")

        assert await second.result() == "go"
        assert (await durably.get_run(first.id)).is_waiting


async def test_waiting_run_costs_no_write_and_no_timer(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        await durably.trigger(ask())
        await settle()
        await tab.clock.advance(60)
        writes, timers = tab.disk.writes, tab.clock.timers
        await tab.clock.advance(100 * HOUR)

        assert tab.disk.writes == writes
        assert timers == []


async def test_deadline_is_the_only_timer_of_a_waiting_run(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        await durably.trigger(ask(timeout=HOUR))
        await settle()
        await tab.clock.advance(60)

        assert tab.clock.timers == [HOUR - 60]


async def test_waiting_run_shows_its_last_progress(tab: Tab) -> None:
    @job
    async def report(step: Step) -> None:
        wait = await step.prepare_wait("answer")
        for number in range(3):
            step.progress(number, 3)
        await step.wait_for(wait)

    async with tab.durably(report) as durably:
        handle = await durably.trigger(report())
        await only_wait(durably, handle.id)
        progress = (await durably.get_run(handle.id)).progress

        assert progress is not None
        assert progress.current == 2


async def test_waiting_run_can_be_cancelled(tab: Tab, bodies: Bodies) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask(timeout=HOUR))
        wait = await only_wait(durably, handle.id)
        await durably.cancel(handle.id)
        told = record(durably)
        await tab.clock.advance(2 * HOUR)

        (closed,) = await durably.get_waits(handle.id)
        assert closed.outcome == "closed"
        assert types(told) == []
        with pytest.raises(RunWasCancelled):
            await handle.result()
        with pytest.raises(WaitIsOver, match="its run has ended"):
            await durably.signal(wait.id, "late")


@pytest.mark.parametrize(
    ("refused", "verb"),
    [
        (Durably.delete_run, "be deleted before it has ended"),
        (Durably.retrigger, "be triggered again before it has ended"),
    ],
)
async def test_waiting_run_is_neither_deleted_nor_triggered_again(
    tab: Tab, refused: Callable[[Durably, str], Awaitable[object]], verb: str
) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)

        with pytest.raises(RunConflict, match=f"already waiting and cannot {verb}"):
            await refused(durably, handle.id)
        await durably.signal(wait.id, "go")
        assert await handle.result() == "go"


# The way into waiting


async def test_finally_blocks_with_awaits_run_before_the_run_is_handed_over(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def tidy(step: Step) -> None:
        wait = await step.prepare_wait("answer")
        try:
            await step.wait_for(wait)
        finally:
            await gate()
            bodies("tidied")

    async with tab.durably(tidy, max_concurrent_runs=2) as durably:
        handle = await durably.trigger(tidy())
        await gate.entered.wait()
        await settle()
        unwinding = await durably.get_run(handle.id)
        gate.open()
        await only_wait(durably, handle.id)

        assert unwinding.status is RunStatus.RUNNING
        assert bodies.ran == ["tidied"]


async def test_signal_that_comes_while_the_job_unwinds_is_not_lost(tab: Tab, gate: Gate) -> None:
    @job
    async def tidy(step: Step) -> object:
        wait = await step.prepare_wait("answer")
        try:
            return (await step.wait_for(wait)).payload
        finally:
            await gate()

    async with tab.durably(tidy) as durably:
        told = record(durably)
        handle = await durably.trigger(tidy())
        await gate.entered.wait()
        (wait,) = await durably.get_waits(handle.id)
        await durably.signal(wait.id, "go")
        gate.open()

        assert await handle.result() == "go"
        assert (await durably.get_run(handle.id)).lease_generation == 2
        assert "run:waiting" not in types(told)
        assert types(told).count("run:requeued") == 1


async def test_deadline_that_passes_while_the_job_unwinds_is_not_lost(tab: Tab, gate: Gate) -> None:
    @job
    async def tidy(step: Step) -> bool:
        wait = await step.prepare_wait("answer", timeout=1)
        try:
            return (await step.wait_for(wait)).timed_out
        finally:
            await gate()

    async with tab.durably(tidy) as durably:
        handle = await durably.trigger(tidy())
        await gate.entered.wait()
        await tab.clock.advance(HOUR)
        gate.open()

        assert await handle.result() is True


async def test_run_that_unwinds_into_waiting_keeps_its_lease(tab: Tab, gate: Gate) -> None:
    @job
    async def tidy(step: Step) -> None:
        wait = await step.prepare_wait("answer")
        try:
            await step.wait_for(wait)
        finally:
            await gate()

    async with tab.durably(tidy, heartbeat_interval=5, stale_threshold=30) as durably:
        handle = await durably.trigger(tidy())
        await gate.entered.wait()
        await tab.clock.advance(HOUR)
        run = await durably.get_run(handle.id)
        gate.open()

        assert (run.status, run.lease_generation) == (RunStatus.RUNNING, 1)
        await only_wait(durably, handle.id)


async def test_step_of_another_branch_finishes_and_is_stored_before_the_run_waits(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_branches(step: Step) -> list[object]:
        wait = await step.prepare_wait("answer")

        async def work() -> str:
            await step.run("first", gate)
            return await step.run("second", bodies, "second")

        async def listen() -> object:
            return (await step.wait_for(wait)).payload

        return list(await asyncio.gather(work(), listen()))

    async with tab.durably(two_branches) as durably:
        told = record(durably)
        handle = await durably.trigger(two_branches())
        await gate.entered.wait()
        await settle()
        before = (await durably.get_run(handle.id)).status
        gate.open()
        wait = await only_wait(durably, handle.id)
        ran_before = list(bodies.ran)
        await durably.signal(wait.id, "go")

        assert before is RunStatus.RUNNING
        assert ran_before == []
        assert await handle.result() == ["second is done", "go"]
        assert gate.visits == 1
        assert steps_told(told, "step:complete") == ["first", "second"]


async def test_failure_of_the_other_branch_is_stored_before_the_run_waits(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    async def fail() -> None:
        bodies("fail")
        await gate()
        raise OSError("out of order")

    @job
    async def two_branches(step: Step) -> None:
        wait = await step.prepare_wait("answer")
        await asyncio.gather(step.run("fail", fail), step.wait_for(wait))

    async with tab.durably(two_branches) as durably:
        handle = await durably.trigger(two_branches())
        await gate.entered.wait()
        await settle()
        gate.open()
        wait = await only_wait(durably, handle.id)
        await durably.signal(wait.id, "go")

        with pytest.raises(RunFailed, match="out of order in step 'fail'"):
            await handle.result()
        assert bodies.ran == ["fail"]


async def gather(*branches: Awaitable[object]) -> None:
    await asyncio.gather(*branches)


async def task_group(*branches: Coroutine[object, object, object]) -> None:
    async with asyncio.TaskGroup() as group:
        for branch in branches:
            group.create_task(branch)


async def main_waits(work: Awaitable[object], listen: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    await listen
    await task


@pytest.mark.parametrize("join", [gather, task_group, main_waits])
async def test_finally_block_is_not_cut_when_the_step_of_another_branch_ends(
    tab: Tab, bodies: Bodies, join: Callable[..., Awaitable[None]]
) -> None:
    working, tidying = Gate(), Gate()

    @job
    async def two_branches(step: Step) -> None:
        wait = await step.prepare_wait("answer")
        try:
            await join(step.run("work", working), step.wait_for(wait))
        finally:
            await tidying()
            bodies("tidied")

    async with tab.durably(two_branches) as durably:
        handle = await durably.trigger(two_branches())
        await working.entered.wait()
        await settle()
        working.open()
        await settle()
        tidying.open()
        await only_wait(durably, handle.id)

        assert bodies.ran == ["tidied"]


async def test_cancel_reaches_a_run_that_waits_for_its_last_step(tab: Tab, gate: Gate) -> None:
    @job
    async def two_branches(step: Step) -> None:
        wait = await step.prepare_wait("answer")
        await asyncio.gather(step.run("work", gate), step.wait_for(wait))

    async with tab.durably(two_branches, act) as durably:
        handle = await durably.trigger(two_branches())
        await gate.entered.wait()
        await settle()
        await durably.cancel(handle.id)
        other = await durably.trigger(act())

        assert await other.result() == "done"
        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert await durably.get_steps(handle.id) == []


# Code that swallows the stop signal


Swallow = Callable[[Step, Bodies], Awaitable[object]]


async def except_base_exception(step: Step, bodies: Bodies) -> object:
    wait = await step.prepare_wait("answer")
    try:
        return (await step.wait_for(wait)).payload
    except BaseException:
        await step.run("next", bodies, "next")
        return "completed all the same"


async def finally_return(step: Step, bodies: Bodies) -> object:
    wait = await step.prepare_wait("answer")
    payload: object = "completed all the same"
    try:
        payload = (await step.wait_for(wait)).payload
    finally:
        return payload  # noqa: B012


async def gather_that_returns_exceptions(step: Step, bodies: Bodies) -> object:
    wait = await step.prepare_wait("answer")
    (result,) = await asyncio.gather(step.wait_for(wait), return_exceptions=True)
    if isinstance(result, BaseException):
        await step.run("next", bodies, "next")
        return "completed all the same"
    return result.payload


async def task_group_that_is_caught(step: Step, bodies: Bodies) -> object:
    wait = await step.prepare_wait("answer")
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(step.wait_for(wait))
    except BaseException:
        await step.run("next", bodies, "next")
        return "completed all the same"
    return task.result().payload


async def failure_instead(step: Step, bodies: Bodies) -> object:
    wait = await step.prepare_wait("answer")
    try:
        return (await step.wait_for(wait)).payload
    except BaseException:
        raise ValueError("not what it was") from None


async def another_wait(step: Step, bodies: Bodies) -> object:
    wait = await step.prepare_wait("answer")
    try:
        return (await step.wait_for(wait)).payload
    except BaseException:
        with contextlib.suppress(BaseException):
            await step.prepare_wait("another")
        with contextlib.suppress(BaseException):
            await step.wait_for(wait)
        return "completed all the same"


SWALLOWS: list[Swallow] = [
    except_base_exception,
    finally_return,
    gather_that_returns_exceptions,
    task_group_that_is_caught,
    failure_instead,
    another_wait,
]


@pytest.mark.parametrize("swallow", SWALLOWS)
async def test_waiting_run_waits_whatever_its_code_swallows(
    tab: Tab, bodies: Bodies, swallow: Swallow
) -> None:
    @job
    async def stubborn(step: Step) -> object:
        return await swallow(step, bodies)

    async with tab.durably(stubborn) as durably:
        handle = await durably.trigger(stubborn())
        wait = await only_wait(durably, handle.id)
        ran = list(bodies.ran)
        await durably.signal(wait.id, "go")

        assert ran == []
        assert await handle.result() == "go"


async def test_wait_that_is_not_awaited_does_not_keep_its_run_from_completing(tab: Tab) -> None:
    tasks = []

    @job
    async def forget(step: Step) -> str:
        wait = await step.prepare_wait("answer")
        tasks.append(asyncio.ensure_future(step.wait_for(wait)))
        return "done"

    async with tab.durably(forget) as durably:
        handle = await durably.trigger(forget())
        result = await handle.result()
        await settle()

        assert result == "done"
        assert tasks[0].cancelled()


# Waits inside steps


@pytest.mark.parametrize("verb", ["prepare_wait", "wait_for"])
@pytest.mark.parametrize("place", ["step", "task of a step", "branch"])
async def test_wait_inside_a_step_is_refused_with_both_names(
    tab: Tab, verb: str, place: str
) -> None:
    @job
    async def misuse(step: Step) -> None:
        prepared = await step.prepare_wait("answer")

        async def use() -> None:
            if verb == "prepare_wait":
                await step.prepare_wait("inner")
            else:
                await step.wait_for(prepared)

        async def use_in_a_task() -> None:
            await asyncio.ensure_future(use())

        if place == "branch":
            await step.all(outer=use)
        else:
            await step.run("outer", use if place == "step" else use_in_a_task)

    async with tab.durably(misuse) as durably:
        handle = await durably.trigger(misuse())
        with pytest.raises(RunFailed, match=r"WaitInsideStep: Wait '(inner|answer)'.*step 'outer'"):
            await handle.result()


# Leaving and crashing


async def test_run_waits_on_in_the_next_life(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)

    async with tab.durably(ask) as later:
        assert await only_wait(later, handle.id) == wait
        await later.signal(wait.id, "go")
        assert await later.result(handle.id) == "go"


async def test_run_that_is_about_to_wait_is_given_back_when_its_durably_is_left(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def work_and_ask(step: Step) -> object:
        wait = await step.prepare_wait("answer")
        await step.run("work", gate)
        return (await step.wait_for(wait)).payload

    async with tab.durably(work_and_ask) as durably:
        handle = await durably.trigger(work_and_ask())
        await gate.entered.wait()
        opening = gate.open_once_settled()
    await opening

    async with tab.durably(work_and_ask) as later:
        wait = await only_wait(later, handle.id)
        await later.signal(wait.id, "go")

        assert await later.result(handle.id) == "go"
        assert gate.visits == 1
        assert (await later.get_run(handle.id)).interruptions == 0


async def test_run_that_unwinds_into_waiting_waits_after_its_durably_is_left(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def tidy(step: Step) -> object:
        wait = await step.prepare_wait("answer")
        try:
            return (await step.wait_for(wait)).payload
        finally:
            await gate()
            bodies("tidied")

    async with tab.durably(tidy) as durably:
        handle = await durably.trigger(tidy())
        await gate.entered.wait()
        opening = gate.open_once_settled()
    await opening

    async with tab.durably(tidy) as later:
        wait = await only_wait(later, handle.id)
        await later.signal(wait.id, "go")
        assert await later.result(handle.id) == "go"
        assert bodies.ran == ["tidied", "tidied"]


async def test_step_that_outlasts_the_stop_timeout_keeps_its_run_from_nothing_but_itself(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def two_branches(step: Step) -> list[object]:
        wait = await step.prepare_wait("answer")
        return list(await asyncio.gather(step.run("work", gate), step.wait_for(wait)))

    durably = tab.durably(two_branches, stop_timeout=3)
    await durably.__aenter__()
    handle = await durably.trigger(two_branches())
    await gate.entered.wait()
    await settle()
    leaving = asyncio.ensure_future(durably.__aexit__(None, None, None))
    await tab.clock.advance(3)
    await leaving

    async with tab.durably(two_branches) as later:
        wait = await only_wait(later, handle.id)
        (attempt,) = await later.get_attempts(handle.id)
        assert (attempt.outcome, attempt.reason) == ("interrupted", "lease-lost")
        gate.open()
        await later.signal(wait.id, "go")
        result = await later.result(handle.id)
        assert isinstance(result, list)
        assert result[0] == "passed"


async def test_crash_between_prepare_and_wait_keeps_the_wait(tab: Tab, gate: Gate) -> None:
    @job
    async def ask_late(step: Step) -> object:
        wait = await step.prepare_wait("answer")
        await gate()
        return (await step.wait_for(wait)).payload

    async with tab.life(ask_late) as life:
        handle = await life.durably.trigger(ask_late())
        await gate.entered.wait()
        (wait,) = await life.durably.get_waits(handle.id)
        await life.kill()
    gate.open()
    async with tab.durably(ask_late) as durably:
        assert await only_wait(durably, handle.id) == wait


async def test_crash_between_signal_and_resumption_loses_nothing(tab: Tab) -> None:
    async with tab.life(ask) as life:
        handle = await life.durably.trigger(ask())
        wait = await only_wait(life.durably, handle.id)
        await life.durably.signal(wait.id, "go")
        await life.kill()  # Before the run is claimed again.
    async with tab.durably(ask) as durably:
        assert await durably.result(handle.id) == "go"


async def test_crash_after_the_timeout_does_not_make_it_undone(tab: Tab, gate: Gate) -> None:
    @job
    async def ask_and_work(step: Step) -> bool:
        wait = await step.prepare_wait("answer", timeout=HOUR)
        timed_out = (await step.wait_for(wait)).timed_out
        await gate()
        return timed_out

    async with tab.life(ask_and_work) as life:
        handle = await life.durably.trigger(ask_and_work())
        wait = await only_wait(life.durably, handle.id)
        await tab.clock.advance(HOUR)
        await gate.entered.wait()
        await life.kill()
    gate.open()
    tab.clock.jump(-2 * HOUR)
    async with tab.durably(ask_and_work) as durably:
        assert await durably.result(handle.id) is True
        with pytest.raises(WaitIsOver, match="its time was over"):
            await durably.signal(wait.id, "late")


async def test_failed_step_is_answered_from_its_checkpoint_after_a_wait(
    tab: Tab, bodies: Bodies
) -> None:
    def fail() -> None:
        bodies("fail")
        raise OSError("out of order")

    @job
    async def fail_and_ask(step: Step) -> object:
        try:
            await step.run("fail", fail)
        except StepFailed:
            wait = await step.prepare_wait("answer")
            return (await step.wait_for(wait)).payload
        return "not reached"

    async with tab.durably(fail_and_ask) as durably:
        handle = await durably.trigger(fail_and_ask())
        await durably.signal((await only_wait(durably, handle.id)).id, "go")

        assert await handle.result() == "go"
        assert bodies.ran == ["fail"]
