"""Progress and log lines of a run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durably import RunFailed, Step, job
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, record, types

# Progress and logs


async def test_progress_is_told_each_time_and_written_once_a_second(tab: Tab, gate: Gate) -> None:
    @job
    async def report(step: Step) -> None:
        for number in range(100):
            step.progress(number, 100)
        await gate()

    async with tab.durably(report) as durably:
        told = record(durably, "run:progress")
        handle = await durably.trigger(report())
        await gate.entered.wait()
        at_once = (await durably.get_run(handle.id)).progress
        await tab.clock.advance(1)
        a_second_later = (await durably.get_run(handle.id)).progress
        gate.open()
        await handle.result()

        assert len(told) == 100
        assert at_once is not None
        assert a_second_later is not None
        assert (at_once.current, a_second_later.current) == (0, 99)


async def test_progress_costs_no_write_of_its_own(tab: Tab, gate: Gate) -> None:
    @job
    async def report(step: Step) -> None:
        await step.run("first", lambda: None)
        for number in range(100):
            step.progress(number)
            await asyncio.sleep(0)
        await gate()

    async with tab.durably(report) as durably:
        await durably.trigger(report())
        await gate.entered.wait()
        await settle()
        writes = tab.disk.writes
        await tab.clock.advance(4)
        gate.open()

        assert tab.disk.writes == writes


async def test_last_progress_is_stored_at_the_end(tab: Tab) -> None:
    @job
    async def report(step: Step) -> None:
        for number in range(1, 4):
            step.progress(number, 3, f"part {number}")

    async with tab.durably(report) as durably:
        handle = await durably.trigger(report())
        await handle.result()
        progress = (await durably.get_run(handle.id)).progress

        assert progress is not None
        assert (progress.current, progress.total, progress.message) == (3, 3, "part 3")


async def test_log_line_names_its_step_also_where_steps_overlap(tab: Tab) -> None:
    @job
    async def talk(step: Step) -> None:
        async def work(name: str) -> None:
            for _ in range(3):
                step.log(f"in {name}")
                await asyncio.sleep(0)

        step.log("before")
        await asyncio.gather(step.run("a", work, "a"), step.run("b", work, "b"))
        step.log("after", "warning", count=2)

    async with tab.durably(talk) as durably:
        told = record(durably, "log:write")
        await (await durably.trigger(talk())).result()

        lines = [(event.message, event.step) for event in told]
        assert lines[0] == ("before", None)
        assert lines[-1] == ("after", None)
        assert lines[1:-1] == [("in a", "a"), ("in b", "b")] * 3
        assert (told[-1].level, told[-1].data) == ("warning", {"count": 2})


async def test_events_of_a_run_end_with_its_end(tab: Tab, bodies: Bodies) -> None:
    @job
    async def one_step(step: Step) -> None:
        await step.run("a", bodies, "a")

    async with tab.durably(one_step) as durably:
        told = record(durably)
        handle = await durably.trigger(one_step())
        await handle.result()
        await tab.clock.advance(60)

        assert types(told)[-1] == "run:complete"


@pytest.mark.parametrize("progress", [("5", 10), (True, 10), (5, "10"), (5, 10, 15)])
async def test_progress_that_is_no_number_fails_the_run_once(
    tab: Tab, bodies: Bodies, progress: tuple[Any, ...]
) -> None:
    @job
    async def report(step: Step) -> None:
        bodies("report")
        step.progress(*progress)

    async with tab.durably(report) as durably:
        handle = await durably.trigger(report())
        with pytest.raises(RunFailed, match="InvalidOption"):
            await handle.result()
        await settle()

    assert bodies.count("report") == 1
