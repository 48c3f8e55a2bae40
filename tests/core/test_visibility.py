"""Hidden and visible: what pauses, what goes on, and what comes first."""

from __future__ import annotations

import asyncio

from durably import RunStatus, Step, job
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, record, steps_told, types, until


@job
async def idle(step: Step) -> str:
    return "done"


async def test_hiding_writes_one_last_heartbeat_and_makes_it_durable(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await gate()

    async with tab.life(wait) as life:
        handle = await life.durably.trigger(wait())
        await gate.entered.wait()
        await tab.clock.advance(2)
        hidden_at = tab.clock.now()
        tab.visibility.hide()
        await settle()

    tab.proves_death = False
    async with tab.durably() as later:
        assert (await later.get_run(handle.id)).heartbeat_at == hidden_at


async def test_heartbeats_pause_while_hidden(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await gate()

    async with tab.durably(wait) as durably:
        await durably.trigger(wait())
        await gate.entered.wait()
        tab.visibility.hide()
        await settle()
        beats = record(durably, "run:heartbeat")
        await tab.clock.advance(600)
        gate.open()

        assert beats == []


async def test_heartbeats_go_on_when_visible_again_and_begin_at_once(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await gate()

    async with tab.durably(wait, heartbeat_interval=5) as durably:
        await durably.trigger(wait())
        await gate.entered.wait()
        tab.visibility.hide()
        await tab.clock.advance(600)
        beats = record(durably, "run:heartbeat")
        tab.visibility.show()
        await settle()
        at_once = len(beats)
        await tab.clock.advance(10)
        gate.open()

        assert (at_once, len(beats)) == (1, 3)


async def test_first_act_when_visible_is_to_renew_the_leases(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await gate()

    async with tab.durably(wait, idle, max_concurrent_runs=2) as durably:
        await durably.trigger(wait())
        await gate.entered.wait()
        tab.visibility.hide()
        await durably.trigger(idle())
        await settle()
        await tab.clock.freeze(3600)
        told = record(durably)
        tab.visibility.show()
        await settle()
        gate.open()

        assert types(told)[:2] == ["run:heartbeat", "run:claimed"]


async def test_nothing_is_claimed_while_hidden(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        tab.visibility.hide()
        handle = await durably.trigger(idle())
        await tab.clock.advance(600)
        while_hidden = (await durably.get_run(handle.id)).status
        tab.visibility.show()

        assert while_hidden is RunStatus.PENDING
        assert await handle.result() == "done"


async def test_step_under_way_finishes_and_is_stored_while_hidden(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("first", gate)
        await step.run("second", bodies, "second")

    async with tab.durably(two_steps, on_hidden="pause") as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        gate.open()
        await settle()

        assert [step.name for step in await durably.get_steps(handle.id)] == ["first"]
        assert bodies.ran == []


async def test_paused_run_goes_on_when_visible_again(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("first", gate)
        return await step.run("second", bodies, "second")

    async with tab.durably(two_steps, on_hidden="pause") as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        gate.open()
        await settle()
        tab.visibility.show()

        assert await handle.result() == "second is done"
        assert (await durably.get_run(handle.id)).lease_generation == 1


async def test_steps_go_on_while_hidden_unless_asked_to_pause(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("first", gate)
        return await step.run("second", bodies, "second")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        gate.open()

        assert await handle.result() == "second is done"


async def test_stored_step_is_answered_while_paused(tab: Tab, bodies: Bodies) -> None:
    gates = [Gate(), Gate()]
    lives = iter(gates)

    @job
    async def two_steps(step: Step) -> None:
        await next(lives)()
        await step.run("first", bodies, "first")
        await gates[0]()
        await step.run("second", bodies, "second")

    gates[0].open()
    async with tab.life(two_steps) as life:
        handle = await life.durably.trigger(two_steps())
        await until(lambda: "step:complete" in types(life.told))
    async with tab.durably(two_steps, on_hidden="pause") as durably:
        told = record(durably)
        await gates[1].entered.wait()
        tab.visibility.hide()
        gates[1].open()
        await settle()

        assert steps_told(told, "step:replay") == ["first"]
        assert bodies.count("first") == 1
        tab.visibility.show()
        await durably.result(handle.id)


async def test_paused_run_can_be_cancelled(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("first", gate)
        await step.run("second", bodies, "second")

    async with tab.durably(two_steps, on_hidden="pause") as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        gate.open()
        await settle()
        await durably.cancel(handle.id)
        tab.visibility.show()
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert bodies.ran == []


async def test_run_that_waits_to_be_seen_is_given_back_when_the_durably_is_left(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("first", gate)
        await step.run("second", bodies, "second")

    async with tab.durably(two_steps, on_hidden="pause") as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        gate.open()
        await settle()

    async with tab.durably() as later:
        run = await later.get_run(handle.id)
        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert bodies.ran == []


async def test_held_step_that_is_not_awaited_never_starts(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def forget(step: Step) -> str:
        await step.run("first", gate)
        task = asyncio.create_task(step.run("held", bodies, "held"))
        await settle()
        del task
        return "done"

    async with tab.durably(forget, on_hidden="pause") as durably:
        handle = await durably.trigger(forget())
        await gate.entered.wait()
        tab.visibility.hide()
        gate.open()
        result = await handle.result()
        tab.visibility.show()
        await settle()

        assert result == "done"
        assert bodies.ran == []


async def test_run_is_not_taken_from_an_owner_that_was_hidden_for_long(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def wait(step: Step) -> str:
        return await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        await gate.entered.wait()
        tab.visibility.hide()
        await tab.clock.freeze(86_400)
        tab.visibility.show()
        await settle()
        gate.open()

        assert await handle.result() == "passed"
        assert gate.visits == 1
