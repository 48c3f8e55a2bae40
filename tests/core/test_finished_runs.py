"""What is kept of a finished run: that its steps ran, and their outputs where that is asked for."""

from __future__ import annotations

import pytest

from durably import RunFailed, Step, job
from durably.testing import settle
from tests.core.kit import Gate, Tab, term_of


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
async def test_outputs_of_a_finished_run_are_removed_and_its_steps_stay(
    tab: Tab, gate: Gate, ending: str
) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("large", str.upper, "x" * 10_000)
        await step.run("nothing", lambda: None)
        if ending == "failed":
            raise OSError("no network")
        if ending == "cancelled":
            await step.run("gate", gate)

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        if ending == "cancelled":
            await gate.entered.wait()
            await durably.cancel(handle.id)
        await settle()
        steps = await durably.get_steps(handle.id)

        assert (await durably.get_run(handle.id)).status == ending
        assert [(step.name, step.status) for step in steps] == [
            ("large", "completed"),
            ("nothing", "completed"),
        ]
        assert [(step.output, step.is_output_kept) for step in steps] == [(None, False)] * 2
        assert steps[0].completed_at == tab.clock.now()


async def test_outputs_of_a_finished_run_take_no_room(tab: Tab) -> None:
    @job
    async def large_step(step: Step) -> int:
        return len(await step.run("large", str.upper, "secret " * 1000))

    async with tab.durably(large_step) as durably:
        await durably.trigger_and_wait(large_step())
        database = (await term_of(durably)).database
        (row,) = database.read("select total(length(output)) as size from steps", {})

        assert row["size"] == 0


async def test_outputs_stay_while_the_run_can_go_on(tab: Tab) -> None:
    @job
    async def ask(step: Step) -> str:
        first = await step.run("first", str.upper, "kept")
        await step.wait_for(await step.prepare_wait("answer"))
        return first

    async with tab.durably(ask, autostart=False) as durably:
        handle = await durably.trigger(ask())
        await durably.process_one()
        (step,) = await durably.get_steps(handle.id)
        (wait,) = await durably.get_waits(handle.id)
        await durably.signal(wait.id)
        await durably.process_one()

        assert (step.output, step.is_output_kept) == ("KEPT", True)
        assert await handle.result() == "KEPT"


async def test_failed_steps_keep_their_errors(tab: Tab) -> None:
    def break_down() -> None:
        raise OSError("no network")

    @job
    async def fail(step: Step) -> None:
        await step.run("fetch", break_down)

    async with tab.durably(fail) as durably:
        handle = await durably.trigger(fail())
        with pytest.raises(RunFailed):
            await handle.result()
        (step,) = await durably.get_steps(handle.id)

        assert step.error is not None
        assert step.error.message == "no network"


async def test_preserved_outputs_stay(tab: Tab) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("a", str.upper, "kept")
        await step.run("nothing", lambda: None)

    async with tab.durably(two_steps, preserve_steps=True) as durably:
        handle = await durably.trigger(two_steps())
        await handle.result()
        steps = await durably.get_steps(handle.id)

        assert [(step.output, step.is_output_kept) for step in steps] == [
            ("KEPT", True),
            (None, True),
        ]
