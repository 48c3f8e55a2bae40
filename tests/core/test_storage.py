"""Storage that is full, lost or refused."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from durably import (
    DamagedDatabase,
    Durably,
    NewerSchema,
    RunStatus,
    Step,
    StorageError,
    StorageLost,
    StorageRefused,
    job,
    schema,
)
from durably.local import FileMirror
from durably.testing import FakeClock, MemoryDisk, MemoryMirror, memory_environment, settle
from tests.core.kit import Bodies, Gate, Tab, record, term_of, types, until


@job
async def idle(step: Step) -> str:
    return "done"


def second_tab(first: Tab) -> Tab:
    return Tab(disk=first.disk, clock=first.clock, lock=first.lock)


# Full


async def test_full_storage_loses_nothing_and_goes_on_when_there_is_room(
    tab: Tab, bodies: Bodies, gate: Gate
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", gate)
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        tab.disk.fail(tab.disk.writes + 1, "full")
        gate.open()
        await settle()
        while_full = types(told)
        await tab.clock.advance(2)

        assert while_full == ["storage:full"]
        assert await handle.result() == "b is done"
        assert (bodies.ran, gate.visits) == (["b"], 1)


async def test_file_that_cannot_grow_stops_the_run_and_fails_nothing(tmp_path: Path) -> None:
    path = tmp_path / "full.sqlite3"
    clock = FakeClock()
    environment = replace(memory_environment(clock=clock), mirror=lambda: FileMirror("full", path))

    @job
    async def fill(step: Step) -> str:
        for number in range(100):
            await step.run("fill", bytes, 4000, key=number)
        return "done"

    async with Durably("full", jobs=[fill], environment=environment) as durably:
        database = (await term_of(durably)).database
        database.read("pragma max_page_count = 50", {})
        handle = await durably.trigger(fill())
        await settle()
        while_full = await durably.get_run(handle.id)
        database.read("pragma max_page_count = 5000", {})
        await clock.advance(60)

        assert while_full.status is RunStatus.RUNNING
        assert await handle.result() == "done"


async def test_full_storage_is_told_once_however_often_it_is_tried(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        told = record(durably)
        stay_full(tab.disk)
        triggering = asyncio.ensure_future(durably.trigger(idle()))
        await tab.clock.advance(30)
        tab.disk.revive()
        make_room(tab.disk)
        await tab.clock.advance(2)

        assert types(told).count("storage:full") == 1
        assert await (await triggering).result() == "done"


async def test_nothing_is_claimed_while_the_storage_is_full(tab: Tab, bodies: Bodies) -> None:
    @job
    async def start(step: Step) -> None:
        bodies("start")

    async with tab.durably(start) as durably:
        stay_full(tab.disk)
        triggering = asyncio.ensure_future(durably.trigger(start()))
        await tab.clock.advance(60)
        ran_while_full = list(bodies.ran)
        make_room(tab.disk)
        await tab.clock.advance(2)
        await (await triggering).result()

        assert ran_while_full == []


async def test_waiting_run_is_not_claimed_while_the_storage_is_full(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    async with tab.durably(wait, idle, max_concurrent_runs=2) as durably:
        await durably.trigger(wait())
        await gate.entered.wait()
        tab.visibility.hide()
        waiting = await durably.trigger(idle())
        stay_full(tab.disk)
        gate.open()
        await settle()
        tab.visibility.show()
        await settle()
        while_full = (await durably.get_run(waiting.id)).status
        make_room(tab.disk)
        await tab.clock.advance(4)

        assert while_full is RunStatus.PENDING
        assert await waiting.result() == "done"


async def test_program_can_be_left_while_the_storage_is_full(
    tab: Tab, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    with caplog.at_level(logging.WARNING, "durably"):
        durably = tab.durably(wait, stop_timeout=3)
        await durably.__aenter__()
        handle = await durably.trigger(wait())
        await gate.entered.wait()
        stay_full(tab.disk)
        gate.open()
        await settle()
        leaving = asyncio.ensure_future(durably.__aexit__(None, None, None))
        await tab.clock.advance(10)
        assert leaving.done()
        make_room(tab.disk)

    assert "is full" in caplog.text
    async with tab.durably(wait) as later:
        assert await later.result(handle.id) == "passed" or gate.visits == 2


def stay_full(disk: MemoryDisk) -> None:
    """Every write fails from now on."""
    write = MemoryDisk.write

    def refuse(epoch: int, image: bytes) -> object:
        disk.fail(disk.writes + 1, "full")
        return write(disk, epoch, image)

    disk.write = refuse  # type: ignore[method-assign, assignment]


def make_room(disk: MemoryDisk) -> None:
    disk.revive()
    del disk.write


# Lost


async def test_lost_storage_is_told_and_the_next_term_goes_on(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", bodies, "a")
        await step.run("gate", gate)
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        tab.disk.fail(tab.disk.writes + 1, "lost")
        gate.open()

        assert await handle.result() == "b is done"
        assert types(told)[:3] == ["storage:lost", "step:cancel", "tab:leader"]
        # What was not acknowledged runs again; what was does not.
        assert (bodies.ran, gate.visits) == (["a", "b"], 2)


async def test_storage_that_cannot_be_reopened_is_raised_to_whoever_asks(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def wait(step: Step) -> None:
        await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        waiting = asyncio.ensure_future(handle.result())
        await gate.entered.wait()
        tab.disk.fail(tab.disk.writes + 1, "lost")
        gate.open()
        await until(lambda: tab.disk._plan is not None and tab.disk.writes >= tab.disk._plan[0])
        tab.disk.image = b"garbage"

        with pytest.raises(StorageError):
            await waiting
        with pytest.raises(DamagedDatabase):
            await durably.list_runs()


async def test_lost_trigger_raises(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        tab.disk.fail(tab.disk.writes + 1, "lost")

        with pytest.raises(StorageLost):
            await durably.trigger(idle())


# Refused


async def test_refused_storage_is_an_error_that_says_what_to_do(tab: Tab) -> None:
    tab.disk.fail(1, "refuse")

    with pytest.raises(StorageRefused, match="when_refused"):
        async with tab.durably(idle):
            pass


async def test_database_that_cannot_be_opened_is_told_to_whoever_listens_already(tab: Tab) -> None:
    refused, newer, damaged = (tab.durably(idle) for _ in range(3))
    told = [record(durably) for durably in (refused, newer, damaged)]
    tab.disk.fail(1, "refuse")
    with pytest.raises(StorageRefused) as refusal:
        await refused.__aenter__()
    tab.disk.revive()
    async with tab.durably(idle):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION - 1)
        with pytest.raises(NewerSchema):
            await newer.__aenter__()
    tab.disk.image = b"not a database" * 100
    with pytest.raises(DamagedDatabase):
        await damaged.__aenter__()

    assert [types(events) for events in told] == [["storage:refused"]] * 3
    assert [events[0].error for events in told] == [
        "StorageRefused",
        "NewerSchema",
        "DamagedDatabase",
    ]
    assert told[0][0].reason == str(refusal.value)


async def test_opening_that_waits_for_room_says_so(tab: Tab) -> None:
    durably = tab.durably(idle)
    told = record(durably)
    tab.disk.fail(1, "full")
    entering = asyncio.ensure_future(durably.__aenter__())
    await settle()
    before = types(told)
    await tab.clock.advance(2)
    await entering

    assert before == ["storage:full"]
    assert await (await durably.trigger(idle())).result() == "done"
    await durably.__aexit__(None, None, None)


async def test_after_a_refusal_the_leadership_is_free_again(tab: Tab) -> None:
    tab.disk.fail(1, "refuse")
    with pytest.raises(StorageRefused):
        await tab.durably(idle).__aenter__()
    tab.disk.revive()

    async with second_tab(tab).durably(idle) as durably:
        assert await (await durably.trigger(idle())).result() == "done"


async def test_refused_storage_runs_in_memory_where_asked_for(tab: Tab) -> None:
    tab.disk.fail(1, "refuse")
    durably = tab.durably(idle, when_refused="memory")
    told = record(durably)
    async with durably:
        result = await (await durably.trigger(idle())).result()

    assert result == "done"
    assert types(told)[:2] == ["storage:memory", "tab:leader"]
    assert tab.disk.image == b""


async def test_refused_leadership_is_an_error_too(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    durably = tab.durably(idle)
    refuse_leadership(durably, monkeypatch)

    with pytest.raises(StorageRefused, match="no Web Locks"):
        await durably.__aenter__()


async def test_refused_leadership_runs_in_memory_where_asked_for(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    durably = tab.durably(idle, when_refused="memory")
    refuse_leadership(durably, monkeypatch)
    told = record(durably)
    async with durably:
        result = await (await durably.trigger(idle())).result()

    assert result == "done"
    assert types(told)[:2] == ["storage:memory", "tab:leader"]
    assert tab.disk.image == b""


def refuse_leadership(durably: Durably, monkeypatch: pytest.MonkeyPatch) -> None:
    async def acquire(owner: str, on_wait: object) -> None:
        raise StorageRefused("test", "this page has no Web Locks")

    monkeypatch.setattr(durably._environment.leadership, "acquire", acquire)


async def test_error_nobody_foresaw_while_opening_is_raised(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take_over(self: MemoryMirror, known_epoch: int) -> str:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(MemoryMirror, "take_over", take_over)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        await tab.durably(idle).__aenter__()


async def test_memory_takes_the_place_of_no_storage_that_held_work(tab: Tab) -> None:
    durably = tab.durably(idle, when_refused="memory")
    told = record(durably)
    async with durably:
        await (await durably.trigger(idle(), idempotency_key="k")).result()
        tab.disk.fail(at=tab.disk.writes + 1, fault="lost")
        with pytest.raises(StorageError):
            await durably.trigger(idle())
        tab.disk.fail(at=0, fault="refuse")
        await tab.clock.advance(60)
        with pytest.raises(StorageRefused):
            await durably.list_runs()

    assert "storage:memory" not in types(told)
    assert types(told)[-1] == "worker:error"


async def test_reader_sees_no_step_that_a_crash_would_undo(tab: Tab) -> None:
    @job
    async def one_step(step: Step) -> str:
        return await step.run("only", str, "done")

    async with tab.life(one_step) as life:
        tab.disk.fail(at=tab.disk.writes + 3, fault="die")  # After the trigger and the claim.
        handle = await life.durably.trigger(one_step())
        await settle()
        reading = asyncio.ensure_future(life.durably.get_steps(handle.id))
        await settle()
        was_answered = reading.done()

    assert tab.disk.writes >= 3
    assert not was_answered


async def test_failed_reopenings_of_one_incident_do_not_count_for_the_next(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        for _ in range(5):
            tab.disk.fail(at=tab.disk.writes + 1, fault="lost")
            with pytest.raises(StorageError):
                await durably.trigger(idle())
            tab.disk.fail(at=0, fault="refuse")
            await tab.clock.advance(1)
            tab.disk.revive()
            await tab.clock.advance(5)

        assert await (await durably.trigger(idle())).result() == "done"
