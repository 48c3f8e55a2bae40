"""Two tabs of one origin: who leads, who waits, and what ends a term."""

from __future__ import annotations

import asyncio
import logging

import pytest

from durably import (
    Step,
    StorageFenced,
    job,
)
from durably.database import Database
from durably.testing import MemoryMirror, settle
from tests.core.kit import Bodies, Gate, Tab, record, types


@job
async def idle(step: Step) -> str:
    return "done"


# Two tabs


def second_tab(first: Tab) -> Tab:
    return Tab(disk=first.disk, clock=first.clock, lock=first.lock)


async def test_second_tab_waits_and_says_so(tab: Tab, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "durably"):
        async with tab.durably(idle):
            waiting = second_tab(tab).durably(idle)
            told = record(waiting)
            entering = asyncio.ensure_future(waiting.__aenter__())
            await settle()

            assert types(told) == ["tab:follower"]
            assert not entering.done()
            entering.cancel()
            await settle()
    assert "Another tab leads 'test'" in caplog.text


async def test_second_tab_leads_when_the_first_closes(tab: Tab) -> None:
    first = tab.durably(idle)
    await first.__aenter__()
    handle = await first.trigger(idle())
    await handle.result()
    second = second_tab(tab).durably(idle)
    told = record(second)
    entering = asyncio.ensure_future(second.__aenter__())
    await settle()
    await first.__aexit__(None, None, None)
    await entering

    assert types(told) == ["tab:follower", "tab:leader"]
    assert await second.result(handle.id) == "done"
    await second.__aexit__(None, None, None)


async def test_tab_that_gives_up_waiting_stands_in_nobodys_way(tab: Tab) -> None:
    async with tab.durably(idle):
        entering = asyncio.ensure_future(second_tab(tab).durably(idle).__aenter__())
        await settle()
        entering.cancel()
        await settle()

    async with second_tab(tab).durably(idle) as third:
        assert await (await third.trigger(idle())).result() == "done"


async def test_lost_leadership_ends_the_term_and_a_new_one_begins(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", bodies, "a")
        await gate()
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        epoch = tab.disk.epoch
        durably._environment.leadership.lose()  # type: ignore[attr-defined]
        gate.open()

        assert await handle.result() == "b is done"
        assert types(told)[0] == "tab:leader"
        assert tab.disk.epoch == epoch + 1
        assert bodies.ran == ["a", "b"]


async def test_commit_under_way_when_the_leadership_is_lost_does_not_count_for_the_next_term(
    tab: Tab,
) -> None:
    async with tab.durably(idle) as durably:
        for _ in range(5):
            await (await durably.trigger(idle())).result()
        triggering = asyncio.ensure_future(durably.trigger(idle()))
        await asyncio.sleep(0)
        durably._environment.leadership.lose()  # type: ignore[attr-defined]
        told = record(durably)
        await settle()
        await asyncio.gather(triggering, return_exceptions=True)

        assert types(told).count("tab:leader") == 1
        assert "storage:lost" not in types(told)
        assert await (await durably.trigger(idle())).result() == "done"


async def test_waiting_for_a_result_outlives_a_term(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> str:
        return await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        waiting = asyncio.ensure_future(handle.result())
        await gate.entered.wait()
        tab.disk.epoch += 1  # Another tab takes over, and is gone again.
        gate.open()

        assert await waiting == "passed"


async def test_fenced_tab_writes_nothing_more(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("a", gate)
        await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        # Another tab has stolen the lock, and works on.
        stolen = asyncio.ensure_future(tab.lock.inner.acquire())
        other = Database("test", MemoryMirror("test", tab.disk), tab.clock)
        await other.open()
        image, writes = tab.disk.image, tab.disk.writes
        told = record(durably)
        gate.open()
        await settle()

        assert stolen.done()
        assert (tab.disk.image, tab.disk.writes) == (image, writes)
        assert "step:complete" not in types(told)
        assert types(told) == ["tab:follower", "step:cancel"]
        assert bodies.ran == []
        await other.close()
        tab.lock.inner.release()
        await durably.result(handle.id)
        assert gate.visits == 2


async def test_fenced_trigger_raises(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        tab.disk.epoch += 1

        with pytest.raises(StorageFenced):
            await durably.trigger(idle())
