"""Waiting for the end of a run: its result, its progress and log meanwhile, and giving up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from durably import (
    Durably,
    InvalidOption,
    Job,
    Progress,
    RunFailed,
    RunNotFound,
    RunStatus,
    RunWasCancelled,
    Step,
    WaitTimeout,
    job,
)
from durably.events import LogWrite
from durably.local import local_environment
from durably.testing import FakeClock, settle
from tests.core.kit import Gate, Tab, until


@job
async def double(step: Step, number: int) -> int:
    return await step.run("double", lambda: 2 * number)


@job
async def fail(step: Step) -> None:
    raise ValueError("no good")


@job
async def talk(step: Step) -> str:
    step.progress(1, 2)
    step.log("half of it")
    await step.run("work", lambda: None)
    step.progress(2, 2, "all of it")
    return "done"


def standing_at(gate: Gate) -> Job[[], str]:
    @job
    async def stand(step: Step) -> str:
        return await step.run("stand", gate)

    return stand


async def test_trigger_and_wait_returns_what_the_job_returned(tab: Tab) -> None:
    async with tab.durably(double) as durably:
        assert await durably.trigger_and_wait(double(4)) == 8


async def test_trigger_and_wait_joins_the_run_of_its_key(tab: Tab) -> None:
    async with tab.durably(double) as durably:
        await durably.trigger_and_wait(double(4), idempotency_key="k")

        assert await durably.trigger_and_wait(double(5), idempotency_key="k") == 8
        assert len(await durably.list_runs()) == 1


async def test_wait_for_run_returns_the_completed_run(tab: Tab) -> None:
    async with tab.durably(double) as durably:
        handle = await durably.trigger(double(4))
        run = await durably.wait_for_run(handle.id)

        assert run.status is RunStatus.COMPLETED
        assert run.output == 8


async def test_wait_for_run_raises_what_became_of_a_run_that_did_not_complete(
    tab: Tab, gate: Gate
) -> None:
    stand = standing_at(gate)
    async with tab.durably(fail, stand) as durably:
        failed = await durably.trigger(fail())
        with pytest.raises(RunFailed, match="no good"):
            await durably.wait_for_run(failed.id)

        cancelled = await durably.trigger(stand())
        await gate.entered.wait()
        waiting = asyncio.ensure_future(durably.wait_for_run(cancelled.id))
        await settle()
        await durably.cancel(cancelled.id)
        with pytest.raises(RunWasCancelled):
            await waiting


async def test_wait_for_run_raises_for_a_run_that_there_is_not(tab: Tab) -> None:
    async with tab.durably(double) as durably:
        with pytest.raises(RunNotFound):
            await durably.wait_for_run("nobody")


async def test_wait_for_run_raises_where_the_run_is_deleted_meanwhile(tab: Tab, gate: Gate) -> None:
    stand = standing_at(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        waiting = asyncio.ensure_future(durably.wait_for_run(handle.id))
        await settle()
        # Both become durable together, so the one who waits sees the second alone.
        await asyncio.gather(durably.cancel(handle.id), durably.delete_run(handle.id))

        with pytest.raises((RunNotFound, RunWasCancelled)):
            await waiting
        with pytest.raises(RunNotFound):
            await durably.wait_for_run(handle.id)
        gate.open()


@pytest.mark.parametrize("timeout", [30, 30.0, timedelta(seconds=30)])
async def test_waiting_ends_when_the_time_is_over_and_the_run_goes_on(
    tab: Tab, gate: Gate, timeout: float | timedelta
) -> None:
    stand = standing_at(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        waiting = asyncio.ensure_future(handle.result(timeout))
        await settle()
        await tab.clock.advance(29)
        assert not waiting.done()
        await tab.clock.advance(1)

        with pytest.raises(WaitTimeout, match=r"30\.0 s; it goes on"):
            await waiting
        gate.open()
        assert await handle.result() == "passed"


async def test_wait_timeout_is_a_timeout_error(tab: Tab, gate: Gate) -> None:
    stand = standing_at(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        waiting = asyncio.ensure_future(handle.result(1))
        await settle()
        await tab.clock.advance(1)

        with pytest.raises(TimeoutError):
            await waiting
        gate.open()


async def test_wall_clock_that_jumps_ends_no_waiting(tab: Tab, gate: Gate) -> None:
    stand = standing_at(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        waiting = asyncio.ensure_future(handle.result(30))
        await settle()
        tab.clock.jump(3600)
        await tab.clock.advance(5)

        assert not waiting.done()
        gate.open()
        assert await waiting == "passed"


async def test_waiting_that_gave_up_leaves_no_listener_and_no_timer(tab: Tab, gate: Gate) -> None:
    stand = standing_at(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        await tab.clock.advance(1)
        listeners, timers = listener_count(durably), timer_count(tab.clock)
        waiting = asyncio.ensure_future(handle.result(30, on_log=print))
        await settle()
        assert listener_count(durably) == listeners + 1
        waiting.cancel()
        await settle()

        assert listener_count(durably) == listeners
        assert timer_count(tab.clock) == timers
        gate.open()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "soon", True])
async def test_timeout_that_is_no_duration_is_refused(tab: Tab, timeout: float) -> None:
    async with tab.durably(double) as durably:
        handle = await durably.trigger(double(1))
        with pytest.raises(InvalidOption, match="timeout"):
            await handle.result(timeout)


async def test_progress_and_log_are_told_while_waiting(tab: Tab) -> None:
    progress: list[Progress] = []
    lines: list[LogWrite] = []
    async with tab.durably(talk) as durably:
        result = await durably.trigger_and_wait(
            talk(), on_progress=progress.append, on_log=lines.append
        )

    assert result == "done"
    assert progress == [Progress(1, 2), Progress(2, 2, "all of it")]
    assert [line.message for line in lines] == ["half of it"]


async def test_nothing_of_other_runs_is_told_while_waiting(tab: Tab) -> None:
    lines: list[LogWrite] = []
    async with tab.durably(talk, double) as durably:
        other = await durably.trigger(talk())
        await durably.trigger_and_wait(double(1), on_log=lines.append)
        await other.result()

    assert lines == []


async def test_callback_that_raises_reaches_the_error_handlers_and_not_the_waiting(
    tab: Tab,
) -> None:
    errors: list[BaseException] = []

    def refuse(progress: Progress) -> None:
        raise ValueError("not interested")

    async with tab.durably(talk) as durably:
        durably.on_error(lambda error, event: errors.append(error))
        result = await durably.trigger_and_wait(talk(), on_progress=refuse)

    assert result == "done"
    assert [str(error) for error in errors] == ["not interested"] * 2


# Where another process executes the run


@asynccontextmanager
async def two_processes(
    folder: Path, clock: FakeClock, *jobs: Job[..., object]
) -> AsyncIterator[tuple[Durably, Durably]]:
    """One that executes runs and one that only waits for them, on one file."""
    environment = replace(local_environment("shared", folder), clock=clock)
    async with (
        Durably("shared", jobs=jobs, environment=environment) as working,
        Durably("shared", jobs=jobs, environment=environment, autostart=False) as watching,
    ):
        yield working, watching


@pytest.mark.cpython_only
async def test_end_of_a_run_in_another_process_is_found_by_looking_again(
    tmp_path: Path, gate: Gate
) -> None:
    stand, clock = standing_at(gate), FakeClock()
    async with two_processes(tmp_path, clock, stand) as (working, watching):
        handle = await watching.trigger(stand())
        waiting = asyncio.ensure_future(handle.result())
        await clock.advance(1)
        await gate.entered.wait()
        gate.open()
        await working.wait_for_run(handle.id)
        assert not waiting.done()
        await clock.advance(1)

        assert await waiting == "passed"


@pytest.mark.cpython_only
async def test_progress_in_another_process_is_found_by_looking_again(
    tmp_path: Path, gate: Gate
) -> None:
    @job
    async def stand_half_way(step: Step) -> None:
        step.progress(1, 2)
        await step.run("stand", gate)

    progress: list[Progress] = []
    clock = FakeClock()
    async with two_processes(tmp_path, clock, stand_half_way) as (_, watching):
        handle = await watching.trigger(stand_half_way())
        waiting = asyncio.ensure_future(handle.result(on_progress=progress.append))
        await clock.advance(1)
        await gate.entered.wait()
        for _ in range(3):
            await clock.advance(1)
        assert progress == [Progress(1, 2)]
        gate.open()
        await clock.advance(1)
        await until(waiting.done)


def timer_count(clock: FakeClock) -> int:
    return len([timer for timer in clock._timers if not timer.is_cancelled])


def listener_count(durably: Durably) -> int:
    tables = durably._events._run_listeners.values()
    return len({one for table in tables for listeners in table.values() for one in listeners})
