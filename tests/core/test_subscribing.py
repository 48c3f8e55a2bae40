"""Joining a run's events late, and plugins."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from durably import Durably, EventsOverflow, Job, Progress, RunNotFound, Step, job
from durably.emitter import EVENT_QUEUE_LIMIT
from durably.events import (
    EVENT_TYPES,
    Event,
    RunClaimed,
    RunComplete,
    RunDelete,
    RunFail,
    RunProgress,
)
from durably.testing import settle
from tests.core.kit import Gate, Tab, record, types
from tests.core.tabs import another


@job
async def quick(step: Step) -> str:
    await step.run("work", lambda: None)
    return "done"


@job
async def fail(step: Step) -> None:
    raise ValueError("no good")


def half_way(gate: Gate) -> Job[[], str]:
    @job
    async def stand_half_way(step: Step) -> str:
        step.progress(1, 2)
        step.progress(1.5, 2)
        return await step.run("stand", gate)

    return stand_half_way


async def all_of(durably: Durably, run_id: str) -> list[Any]:
    return [event async for event in durably.subscribe(run_id)]


async def test_late_subscriber_of_a_completed_run_gets_its_end_and_nothing_more(tab: Tab) -> None:
    async with tab.durably(quick) as durably:
        handle = await durably.trigger(quick())
        await handle.result()
        (event,) = await all_of(durably, handle.id)

        assert isinstance(event, RunComplete)
        assert (event.run_id, event.job, event.output) == (handle.id, "quick", "done")


async def test_late_subscriber_of_a_failed_run_gets_its_error(tab: Tab) -> None:
    async with tab.durably(fail) as durably:
        handle = await durably.trigger(fail())
        while not (await durably.get_run(handle.id)).is_terminal:
            await settle()
        (event,) = await all_of(durably, handle.id)

        assert isinstance(event, RunFail)
        assert event.error.message == "no good"


async def test_subscriber_of_a_running_run_gets_where_it_stands_and_then_what_happens(
    tab: Tab, gate: Gate
) -> None:
    stand = half_way(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        gate.open()
        events = await reading

        assert types(events) == ["run:claimed", "run:progress", "step:complete", "run:complete"]
        assert isinstance(events[0], RunClaimed)
        assert events[0].lease_generation == 1
        assert isinstance(events[1], RunProgress)
        assert events[1].progress == Progress(1.5, 2)


async def test_subscriber_of_a_pending_run_sees_all_of_it(tab: Tab) -> None:
    async with tab.durably(quick, autostart=False) as durably:
        handle = await durably.trigger(quick())
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        durably.start()

        assert types(await reading) == [
            "run:trigger",
            "run:claimed",
            "step:start",
            "step:complete",
            "run:complete",
        ]


async def test_subscriber_of_a_waiting_run_gets_its_open_waits(tab: Tab) -> None:
    @job
    async def ask(step: Step) -> object:
        wait = await step.prepare_wait("approval")
        return (await step.wait_for(wait)).payload

    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        await settle()
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        (wait,) = await durably.get_waits(handle.id)
        await durably.signal(wait.id, "yes")
        events = await reading

        assert types(events) == ["run:waiting", "run:requeued", "run:claimed", "run:complete"]
        assert events[0].wait_ids == (wait.id,)


async def test_sequence_of_what_a_subscriber_gets_never_goes_back(tab: Tab, gate: Gate) -> None:
    stand = half_way(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        gate.open()
        sequence = [event.sequence for event in await reading]

        assert sequence == sorted(sequence)
        assert sequence[0] > 0


async def test_subscription_ends_when_the_run_is_cancelled(tab: Tab, gate: Gate) -> None:
    stand = half_way(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        await durably.cancel(handle.id)

        assert types(await reading)[-1] == "run:cancel"


async def test_subscription_to_a_run_that_there_is_not_raises(tab: Tab) -> None:
    async with tab.durably(quick) as durably:
        with pytest.raises(RunNotFound):
            await all_of(durably, "nobody")


async def test_subscriber_hears_nothing_of_other_runs(tab: Tab, gate: Gate) -> None:
    stand = half_way(gate)
    async with tab.durably(stand, quick, max_concurrent_runs=2) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        await durably.trigger_and_wait(quick())
        gate.open()

        assert {event.run_id for event in await reading} == {handle.id}


async def test_subscription_goes_on_over_a_change_of_the_leader(tab: Tab, gate: Gate) -> None:
    stand = half_way(gate)
    async with tab.durably(stand) as durably:
        handle = await durably.trigger(stand())
        await gate.entered.wait()
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        durably._environment.leadership.lose()  # type: ignore[attr-defined]
        gate.open()
        events = await reading

        assert types(events)[-1] == "run:complete"


async def test_subscriber_that_falls_too_far_behind_is_told(tab: Tab, gate: Gate) -> None:
    @job
    async def chatter(step: Step) -> None:
        await step.run("stand", gate)
        for number in range(EVENT_QUEUE_LIMIT + 1):
            step.log(f"line {number}")

    async with tab.durably(chatter) as durably:
        handle = await durably.trigger(chatter())
        await gate.entered.wait()
        reader = durably.subscribe(handle.id)
        await anext(reader)
        gate.open()
        await handle.result()

        with pytest.raises(EventsOverflow):
            async for _ in reader:
                pass


# Plugins


async def test_plugin_is_installed_at_once_and_hears_what_it_asks_for(tab: Tab) -> None:
    class Counter:
        def __init__(self) -> None:
            self.heard: list[Event] = []

        def install(self, durably: Durably) -> None:
            durably.on("run:complete", self.heard.append)

    counter = Counter()
    durably = tab.durably(quick)
    assert durably.use(counter) is durably
    async with durably:
        await durably.trigger_and_wait(quick())

    assert types(counter.heard) == ["run:complete"]


# Kinds of events


async def test_operational_events_are_those_about_the_machinery(tab: Tab) -> None:
    kinds = {kind.type: kind.is_operational for kind in all_event_classes()}

    assert kinds.keys() == EVENT_TYPES
    assert {name for name, is_operational in kinds.items() if is_operational} == {
        "run:claimed",
        "run:heartbeat",
        "run:requeued",
        "worker:error",
        "storage:memory",
        "storage:refused",
        "storage:full",
        "storage:lost",
        "tab:leader",
        "tab:follower",
    }


async def test_everything_told_of_a_run_that_is_left_alone_is_domain_but_its_claim(
    tab: Tab,
) -> None:
    async with tab.durably(quick) as durably:
        told = record(durably)
        await durably.trigger_and_wait(quick())

        assert [event.type for event in told if event.is_operational] == ["run:claimed"]


def all_event_classes() -> list[type[Event]]:
    found, left = [], [Event]
    while left:
        kind = left.pop()
        # A slotted dataclass replaces the class it was made of, which is still somewhere about.
        left += kind.__subclasses__()
        if "type" in vars(kind) and isinstance(vars(kind)["type"], str):
            found.append(kind)
    return found


async def test_subscriber_gets_the_end_that_the_last_leader_could_not_tell(
    tab: Tab, gate: Gate
) -> None:
    work = half_way(gate)
    async with AsyncExitStack() as leading:
        leader = await leading.enter_async_context(tab.durably(work))
        async with another(tab).durably(work) as follower:
            handle = await follower.trigger(work())
            await gate.entered.wait()
            reading = asyncio.ensure_future(all_of(follower, handle.id))
            await settle()
            leader._leader._answering._unlisten()  # type: ignore[union-attr, misc]
            gate.open()
            await leader.result(handle.id)
            await settle()
            was_told = reading.done()
            await leading.aclose()

            told = await reading
            assert not was_told
            assert isinstance(told[-1], RunComplete)
            assert [type(event) for event in told].count(RunClaimed) == 1


async def test_subscriber_is_told_that_the_run_is_gone_by_the_next_leader(
    tab: Tab, gate: Gate
) -> None:
    work = half_way(gate)
    async with AsyncExitStack() as leading:
        leader = await leading.enter_async_context(tab.durably(work))
        async with another(tab).durably(work) as follower:
            handle = await follower.trigger(work())
            await gate.entered.wait()
            reading = asyncio.ensure_future(all_of(follower, handle.id))
            await settle()
            leader._leader._answering._unlisten()  # type: ignore[union-attr, misc]
            await leader.cancel(handle.id)
            await leader.delete_run(handle.id)
            await leading.aclose()

            assert isinstance((await reading)[-1], RunDelete)


async def test_subscription_ends_when_the_durably_is_left(tab: Tab, gate: Gate) -> None:
    work = half_way(gate)
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work())
        await gate.entered.wait()
        reading = asyncio.ensure_future(all_of(durably, handle.id))
        await settle()
        gate.open_once_settled()
    assert isinstance((await reading)[0], RunClaimed)
