"""The worker: started, stopped, or driven by hand; what it claims, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durably import InvalidOption, NotOpen, RunHandle, RunStatus, Step, Trigger, job
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, executions_of, record, types, until


@job
async def say(step: Step, word: str = "done") -> str:
    return word


@job
async def fail(step: Step) -> None:
    raise ValueError("no good")


@pytest.fixture
def gates() -> list[Gate]:
    return [Gate() for _ in range(6)]


@pytest.fixture
def guarded(gates: list[Gate]) -> Any:
    @job
    async def guarded(step: Step, number: int) -> int:
        await step.run("gate", gates[number])
        return number

    return guarded


# By hand


async def test_nothing_is_claimed_unless_it_is_asked_for(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        handle = await durably.trigger(say())
        await tab.clock.freeze(600)

        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING


async def test_process_one_executes_the_oldest_run_to_its_end(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        first, second = await durably.trigger_many([say("a"), say("b")])
        was_there = await durably.process_one()

        assert was_there is True
        assert (await durably.get_run(first.id)).output == "a"
        assert (await durably.get_run(second.id)).status is RunStatus.PENDING


async def test_end_of_a_run_is_durable_when_process_one_returns(tab: Tab) -> None:
    async with tab.life(say, autostart=False) as life:
        handle = await life.durably.trigger(say("a"))
        told = record(life.durably, "run:complete")
        await life.durably.process_one()
        assert len(told) == 1
        await life.kill()

    async with tab.durably() as durably:
        assert (await durably.get_run(handle.id)).status is RunStatus.COMPLETED


async def test_process_one_says_that_there_is_nothing(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        assert await durably.process_one() is False
        await durably.trigger(say())
        assert await durably.process_one() is True
        assert await durably.process_one() is False


async def test_process_one_executes_a_failing_run_and_raises_nothing(tab: Tab) -> None:
    async with tab.durably(fail, autostart=False) as durably:
        handle = await durably.trigger(fail())

        assert await durably.process_one() is True
        assert (await durably.get_run(handle.id)).status is RunStatus.FAILED


async def test_process_until_idle_counts_what_it_has_executed(tab: Tab) -> None:
    async with tab.durably(say, fail, autostart=False) as durably:
        await durably.trigger_many([say("a"), fail(), say("c")])

        assert await durably.process_until_idle() == 3
        assert await durably.process_until_idle() == 0


async def test_process_until_idle_stops_at_its_limit(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        await durably.trigger_many(say(str(number)) for number in range(5))

        assert await durably.process_until_idle(max_runs=3) == 3
        assert len(await durably.list_runs(status="pending")) == 2
        assert await durably.process_until_idle(max_runs=0) == 0
        assert await durably.process_until_idle(max_runs=100) == 2


@pytest.mark.parametrize("max_runs", [-1, True, 1.5, "3", float("inf"), 2**63])
async def test_limit_that_counts_nothing_is_refused(tab: Tab, max_runs: Any) -> None:
    async with tab.durably(say, autostart=False) as durably:
        await durably.trigger(say())
        with pytest.raises(InvalidOption, match="max_runs"):
            await durably.process_until_idle(max_runs)

        assert len(await durably.list_runs(status="pending")) == 1


async def test_process_until_idle_executes_what_its_runs_trigger(tab: Tab) -> None:
    @job
    async def trigger_another(step: Step) -> None:
        await durably.trigger(say("later"))

    durably = tab.durably(trigger_another, say, autostart=False)
    async with durably:
        await durably.trigger(trigger_another())

        assert await durably.process_until_idle() == 2


async def test_process_until_idle_leaves_waiting_runs_waiting(tab: Tab) -> None:
    @job
    async def ask(step: Step) -> object:
        return (await step.wait_for(await step.prepare_wait("answer"))).payload

    async with tab.durably(ask, say, autostart=False) as durably:
        asking = await durably.trigger(ask())
        await durably.trigger(say())
        first = await durably.process_until_idle()
        (wait,) = await durably.get_waits(asking.id)
        await durably.signal(wait.id, 42)
        second = await durably.process_until_idle()

        assert (first, second) == (2, 1)
        assert (await durably.get_run(asking.id)).output == 42


async def test_run_whose_wait_has_timed_out_is_processed(tab: Tab) -> None:
    @job
    async def ask(step: Step) -> bool:
        return (await step.wait_for(await step.prepare_wait("answer", timeout=60))).timed_out

    async with tab.durably(ask, autostart=False) as durably:
        handle = await durably.trigger(ask())
        await durably.process_until_idle()
        await tab.clock.freeze(61)

        assert await durably.process_until_idle() == 1
        assert (await durably.get_run(handle.id)).output is True


async def test_run_that_was_interrupted_is_processed_in_the_next_life(
    tab: Tab, gates: list[Gate], guarded: Any
) -> None:
    async with tab.life(guarded) as life:
        handle = await life.durably.trigger(guarded(0))
        await gates[0].entered.wait()
        await life.kill()
    gates[0].open()

    async with tab.durably(guarded, autostart=False) as durably:
        assert await durably.process_until_idle() == 1
        assert (await durably.get_run(handle.id)).output == 0


async def test_run_of_an_unknown_job_is_not_processed(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        await durably.trigger(say())

    async with tab.durably(fail, autostart=False) as durably:
        assert await durably.process_until_idle() == 0
        assert len(await durably.list_runs(status="pending")) == 1


async def test_run_of_a_busy_key_is_not_processed(
    tab: Tab, gates: list[Gate], guarded: Any
) -> None:
    async with tab.durably(guarded, autostart=False, max_concurrent_runs=2) as durably:
        await durably.trigger(guarded(0), concurrency_key="c")
        processing = asyncio.ensure_future(durably.process_one())
        await gates[0].entered.wait()
        await durably.trigger(guarded(1), concurrency_key="c")

        assert await durably.process_one() is False
        gates[0].open()
        gates[1].open()
        assert await processing is True
        assert await durably.process_one() is True


async def test_run_that_is_stopped_before_its_first_turn_is_given_back(
    tab: Tab, bodies: Bodies
) -> None:
    @job
    async def act(step: Step) -> str:
        return await step.run("act", bodies, "act")

    async with tab.durably(act, autostart=False) as durably:
        handle = await durably.trigger(act())
        processing = asyncio.ensure_future(durably.process_one())
        await until(lambda: handle.id in executions_of(durably))
        await durably.stop()
        await processing

        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING
        assert bodies.ran == []
        await durably.process_one()
        assert await handle.result() == "act is done"


@pytest.mark.parametrize("verb", ["process_one", "process_until_idle", "stop"])
async def test_worker_is_driven_inside_the_block_only(tab: Tab, verb: str) -> None:
    durably = tab.durably(say, autostart=False)

    with pytest.raises(NotOpen):
        await getattr(durably, verb)()
    async with durably:
        pass
    with pytest.raises(NotOpen):
        await getattr(durably, verb)()


async def test_processing_ends_when_the_durably_is_left(
    tab: Tab, gates: list[Gate], guarded: Any
) -> None:
    async with tab.durably(guarded, say, autostart=False) as durably:
        first = await durably.trigger(guarded(0))
        second = await durably.trigger(say())
        processing = asyncio.ensure_future(durably.process_until_idle())
        await gates[0].entered.wait()
        gates[0].open_once_settled()

    async with tab.durably(autostart=False) as durably:
        assert await statuses(durably, [first, second]) == ["pending", "pending"]
        assert processing.done()
        assert await processing == 0


async def test_processing_ends_when_the_worker_is_stopped(
    tab: Tab, gates: list[Gate], guarded: Any
) -> None:
    async with tab.durably(guarded, say, autostart=False) as durably:
        first = await durably.trigger(guarded(0))
        second = await durably.trigger(say())
        processing = asyncio.ensure_future(durably.process_until_idle())
        await gates[0].entered.wait()
        gates[0].open_once_settled()
        await durably.stop()
        await settle()

        assert processing.done()
        assert await processing == 0
        for handle in (first, second):
            assert (await durably.get_run(handle.id)).status is RunStatus.PENDING
        assert await durably.process_until_idle() == 2


async def test_processing_goes_on_after_the_storage_was_lost(
    tab: Tab, gates: list[Gate], guarded: Any
) -> None:
    async with tab.durably(guarded, say, autostart=False) as durably:
        first = await durably.trigger(guarded(0))
        second = await durably.trigger(say())
        processing = asyncio.ensure_future(durably.process_until_idle())
        await gates[0].entered.wait()
        tab.disk.fail(tab.disk.writes + 1, "lost")
        gates[0].open()
        await settle()
        await tab.clock.advance(10)

        assert await processing >= 2
        for handle in (first, second):
            assert (await durably.get_run(handle.id)).status is RunStatus.COMPLETED


# Started and stopped


async def test_started_worker_claims_what_is_there(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        handle = await durably.trigger(say("a"))
        await settle()
        durably.start()

        assert await handle.result() == "a"


async def test_started_twice_is_started_once(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        durably.start()
        durably.start()

        assert await (await durably.trigger(say("a"))).result() == "a"


async def test_stop_lets_the_step_under_way_finish_and_keeps_its_checkpoint(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", gate)
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        gate.open_once_settled()
        await durably.stop()
        stopped = await durably.get_run(handle.id)
        steps = await durably.get_steps(handle.id)
        ran_until_then = list(bodies.ran)
        durably.start()

        assert stopped.status is RunStatus.PENDING
        assert stopped.interruptions == 0
        assert [step.name for step in steps] == ["a"]
        assert ran_until_then == []
        assert await handle.result() == "b is done"
        assert gate.visits == 1


async def test_run_that_was_given_back_is_durably_so_when_stop_returns(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def one_step(step: Step) -> None:
        await step.run("a", gate)

    async with tab.life(one_step) as life:
        handle = await life.durably.trigger(one_step())
        await gate.entered.wait()
        gate.open_once_settled()
        await life.durably.stop()
        await life.kill()

    async with tab.durably(autostart=False) as durably:
        run = await durably.get_run(handle.id)
        assert (run.status, run.interruptions) == (RunStatus.PENDING, 0)
        assert len(await durably.get_steps(handle.id)) == 1


async def test_stop_waits_for_a_step_no_longer_than_it_was_told_to(tab: Tab, gate: Gate) -> None:
    @job
    async def one_step(step: Step) -> str:
        return await step.run("a", gate)

    async with tab.durably(one_step, stop_timeout=3) as durably:
        handle = await durably.trigger(one_step())
        await gate.entered.wait()
        stopping = asyncio.ensure_future(durably.stop())
        await tab.clock.advance(2.9)
        is_patient = not stopping.done()
        await tab.clock.advance(0.1)

        assert is_patient
        assert stopping.done()
        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING
        assert await durably.get_steps(handle.id) == []
        gate.open()
        durably.start()
        assert await handle.result() == "passed"
        assert gate.visits == 2


async def test_stopped_worker_claims_nothing(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        await durably.stop()
        handle = await durably.trigger(say())
        await tab.clock.freeze(600)

        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING


async def test_stop_of_an_idle_worker_returns_at_once(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        await durably.stop()
        await durably.stop()
        durably.start()

        assert await (await durably.trigger(say("a"))).result() == "a"


async def test_everything_but_the_worker_goes_on_when_it_is_stopped(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        await durably.stop()
        first, second = await durably.trigger_many([say("a"), say("b")])
        await durably.cancel(first.id)
        await durably.delete_run(first.id)

        assert [run.id for run in await durably.list_runs()] == [second.id]


async def test_worker_stays_stopped_in_the_next_term(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        await durably.stop()
        tab.disk.fail(tab.disk.writes + 1, "lost")
        with pytest.raises(Exception, match="lost"):
            await durably.trigger(say())
        await tab.clock.advance(10)
        handle = await durably.trigger(say("a"))
        await tab.clock.advance(10)
        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING
        durably.start()

        assert await handle.result() == "a"


async def test_run_can_be_cancelled_while_its_worker_stops(tab: Tab, gate: Gate) -> None:
    @job
    async def one_step(step: Step) -> str:
        return await step.run("a", gate)

    async with tab.durably(one_step) as durably:
        handle = await durably.trigger(one_step())
        await gate.entered.wait()
        stopping = asyncio.ensure_future(durably.stop())
        await settle()
        await durably.cancel(handle.id)
        await stopping

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED


# Side by side


async def statuses(durably: Any, handles: list[RunHandle[Any]]) -> list[str]:
    return [(await durably.get_run(handle.id)).status.value for handle in handles]


async def test_slot_is_refilled_as_soon_as_a_run_ends(
    tab: Tab, gates: list[Gate], guarded: Any
) -> None:
    async with tab.durably(guarded, max_concurrent_runs=2) as durably:
        handles = await durably.trigger_many(guarded(number) for number in range(4))
        await settle()
        at_first = await statuses(durably, handles)
        gates[1].open()
        await gates[2].entered.wait()
        then = await statuses(durably, handles)
        for gate in gates:
            gate.open()

        assert at_first == ["running", "running", "pending", "pending"]
        assert then == ["running", "completed", "running", "pending"]
        assert [await handle.result() for handle in handles] == [0, 1, 2, 3]


async def test_slot_is_refilled_without_time_passing(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        before = tab.clock.monotonic()
        handles = await durably.trigger_many(say(str(number)) for number in range(20))
        for handle in handles:
            await handle.result()

        assert tab.clock.monotonic() == before


async def test_waiting_run_frees_its_slot(tab: Tab) -> None:
    @job
    async def ask(step: Step) -> object:
        return (await step.wait_for(await step.prepare_wait("answer"))).payload

    async with tab.durably(ask, say) as durably:
        asking = await durably.trigger(ask())

        assert await (await durably.trigger(say("b"))).result() == "b"
        assert (await durably.get_run(asking.id)).status is RunStatus.WAITING


async def test_cancelled_run_frees_its_slot(tab: Tab, gate: Gate) -> None:
    @job
    async def wait_at_gate(step: Step) -> None:
        await step.run("gate", gate)

    async with tab.durably(wait_at_gate, say) as durably:
        handle = await durably.trigger(wait_at_gate())
        await gate.entered.wait()
        after = await durably.trigger(say("b"))
        await durably.cancel(handle.id)

        assert await after.result() == "b"


async def test_runs_of_all_jobs_are_claimed_in_the_order_of_their_creation(tab: Tab) -> None:
    async with tab.durably(say, fail) as durably:
        claimed = record(durably, "run:claimed")
        handles = await durably.trigger_many([say("a"), fail(), say("b"), fail()])
        await until(lambda: len(claimed) == 4)

        assert [event.run_id for event in claimed] == [handle.id for handle in handles]


async def test_order_is_that_of_creation_also_where_the_clock_went_back(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        first = await durably.trigger(say("a"))
        tab.clock.jump(-3600)
        second = await durably.trigger(say("b"))
        claimed = record(durably, "run:claimed")
        await durably.process_until_idle()

        assert [event.run_id for event in claimed] == [first.id, second.id]
        assert [run.id for run in await durably.list_runs()] == [second.id, first.id]


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "2", None, float("inf")])
def test_number_of_concurrent_runs_is_checked_at_construction(tab: Tab, number: Any) -> None:
    with pytest.raises(InvalidOption, match=r"max_concurrent_runs is .* at least 1"):
        tab.durably(say, max_concurrent_runs=number)


async def test_events_of_a_driven_run_are_those_of_any_other(tab: Tab) -> None:
    async with tab.durably(say, autostart=False) as durably:
        told = record(durably)
        await durably.trigger(say())
        await durably.process_one()

        assert types(told) == ["run:trigger", "run:claimed", "run:complete"]


async def test_worker_with_a_backlog_still_looks_after_what_time_settles(tab: Tab) -> None:
    @job
    async def ask(step: Step) -> None:
        await step.wait_for(await step.prepare_wait("answer", timeout=0.3))

    @job
    async def take_a_while(step: Step) -> None:
        is_over = asyncio.Event()
        tab.clock.call_later(0.05, is_over.set)
        await is_over.wait()

    async with tab.durably(ask, take_a_while) as durably:
        waiting = await durably.trigger(ask())
        await settle()
        await durably.trigger_many([take_a_while() for _ in range(20)])
        told = record(durably)
        await tab.clock.advance(2)

        order = [event.type for event in told if event.type in ("run:requeued", "run:complete")]
        assert order.count("run:complete") == 21
        assert 6 <= order.index("run:requeued") <= 9
        assert (await durably.get_run(waiting.id)).is_terminal


async def test_end_of_a_run_and_claim_of_the_next_are_one_commit(tab: Tab) -> None:
    async with tab.durably(say) as durably:
        handles = await durably.trigger_many([say(str(number)) for number in range(10)])
        told = record(durably)
        writes = tab.disk.writes
        assert [await handle.result() for handle in handles] == [str(n) for n in range(10)]

    # The first one was claimed when it was triggered, and the second in a commit of its own.
    assert tab.disk.writes - writes == 11
    assert types(told)[:19] == ["run:complete", *["run:claimed", "run:complete"] * 9]


async def test_successor_is_given_back_where_the_worker_is_stopped_meanwhile(tab: Tab) -> None:
    stopping: list[asyncio.Task[None]] = []
    async with tab.durably(say) as durably:
        first, second, third = await durably.trigger_many([say("a"), say("b"), say("c")])
        await first.result()
        stop = durably.on(
            "run:complete", lambda event: stopping.append(asyncio.ensure_future(durably.stop()))
        )
        await second.result()
        stop()
        await asyncio.gather(*stopping)
        left = await durably.get_run(third.id)

        assert len(stopping) == 1
        assert (left.status, left.lease_generation) == (RunStatus.PENDING, 1)

        durably.start()

        assert await third.result() == "c"
        assert (await durably.get_run(third.id)).lease_generation == 2


async def test_run_that_ends_while_hidden_makes_way_for_nobody(
    tab: Tab, gates: list[Gate], guarded: Any
) -> None:
    async with tab.durably(say, guarded) as durably:
        handles = await durably.trigger_many([say(), guarded(0), say()])
        await gates[0].entered.wait()
        tab.visibility.hide()
        gates[0].open()
        await handles[1].result()
        await settle()

        assert (await durably.get_run(handles[2].id)).status is RunStatus.PENDING

        tab.visibility.show()

        assert await handles[2].result() == "done"


@pytest.mark.parametrize("lands", [False, True])
@pytest.mark.parametrize("at", range(2, 14))
async def test_crash_at_any_write_of_a_backlog_repeats_one_step_at_most(
    tab: Tab, at: int, lands: bool
) -> None:
    bodies = Bodies()

    @job
    async def once(step: Step, number: int) -> str:
        return await step.run("once", bodies, f"body {number}")

    triggers = [Trigger(once(number), idempotency_key=str(number)) for number in range(4)]
    async with tab.life(once) as life:
        tab.disk.fail(at, "die", lands=lands)
        triggering = asyncio.ensure_future(life.durably.trigger_many(triggers))
        await settle()
        triggering.cancel()
    async with tab.life(once) as life:
        handles = await life.durably.trigger_many(triggers)
        results = [await handle.result() for handle in handles]

    assert results == [f"body {number} is done" for number in range(4)]
    assert len(bodies.ran) <= 5
