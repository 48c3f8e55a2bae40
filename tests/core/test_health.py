"""``health()`` says how the storage is, and ``persist()`` asks for it to stay."""

from __future__ import annotations

import asyncio
import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from durably import Durably, NotOpen, Step, StorageLost, job
from durably.health import LEAST_ROOM_BYTES, Health, eviction_risk
from durably.local import local_environment
from durably.ports import MirrorState
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, record, term_of, types

GIB = 2**30


@job
async def idle(step: Step) -> str:
    return "done"


async def test_health_says_who_writes_and_where(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        health = await durably.health()

    assert (health.role, health.place, health.epoch) == ("leader", "memory", 1)


async def test_each_takeover_has_an_epoch_of_its_own(tab: Tab) -> None:
    epochs = []
    for _ in range(2):
        async with tab.durably(idle) as durably:
            epochs.append((await durably.health()).epoch)

    assert epochs == [1, 2]


async def test_last_durable_commit_is_told_by_its_time(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        await tab.clock.advance(7)
        before = await durably.health()
        await (await durably.trigger(idle())).result()
        stored_at = tab.clock.now()
        await tab.clock.advance(7)
        after = await durably.health()

    assert before.last_durable_at == stored_at - 7000
    assert after.last_durable_at == stored_at


async def test_full_storage_and_its_dirty_pages_are_told_until_there_is_room(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def one_step(step: Step) -> None:
        await step.run("gate", gate)

    async with tab.durably(one_step) as durably:
        handle = await durably.trigger(one_step())
        await gate.entered.wait()
        tab.disk.fail(tab.disk.writes + 1, "full")
        gate.open()
        await settle()
        while_full = await durably.health()
        await tab.clock.advance(2)
        await handle.result()
        later = await durably.health()

    assert while_full.is_full
    assert while_full.dirty_pages > 0
    assert (later.is_full, later.dirty_pages) == (False, 0)


async def test_event_of_a_full_storage_has_the_figures(tab: Tab) -> None:
    tab.disk.quota_bytes = 123_456
    async with tab.durably(idle) as durably:
        told = record(durably, "storage:full")
        tab.disk.fail(tab.disk.writes + 1, "full")
        usage = len(tab.disk.image)
        triggering = asyncio.ensure_future(durably.trigger(idle()))
        await tab.clock.advance(2)
        await (await triggering).result()

    (event,) = told
    assert (event.usage_bytes, event.quota_bytes) == (usage, 123_456)


async def test_persist_is_asked_for_and_told(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        before = (await durably.health()).is_persisted
        answer = await durably.persist()
        after = (await durably.health()).is_persisted

    assert (before, answer, after) == (False, True, True)


@pytest.mark.cpython_only
async def test_file_is_its_users_own(tmp_path: Path) -> None:
    environment = local_environment("test", tmp_path)
    async with Durably("test", jobs=[idle], environment=environment) as durably:
        health = await durably.health()
        answer = await durably.persist()

    assert (health.place, health.epoch, health.is_persisted, answer) == ("file", None, True, True)
    assert health.usage_bytes
    assert health.quota_bytes
    assert health.usage_bytes < health.quota_bytes


async def test_memory_in_place_of_refused_storage_is_at_risk(tab: Tab) -> None:
    tab.disk.fail(1, "refuse")
    async with tab.durably(idle, when_refused="memory") as durably:
        health = await durably.health()

    assert (health.place, health.is_at_risk) == ("memory", True)


async def test_health_can_be_asked_only_of_an_open_durably(tab: Tab) -> None:
    with pytest.raises(NotOpen):
        await tab.durably(idle).health()


async def test_health_cannot_be_changed(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        health = await durably.health()

    with pytest.raises(FrozenInstanceError):
        health.role = "follower"  # type: ignore[misc]
    assert isinstance(health, Health)


def state(persisted: bool | None, usage: int | None, quota: int | None) -> MirrorState:
    return MirrorState("indexeddb", 1, 0, persisted, usage, quota)


@pytest.mark.parametrize(
    ("stored", "risk"),
    [
        (state(True, 1_000, 10 * GIB), None),
        (state(True, None, None), None),
        (state(False, 1_000, 10 * GIB), r"call persist\(\)"),
        (state(None, 1_000, 10 * GIB), "does not say"),
        (state(True, GIB, GIB + LEAST_ROOM_BYTES - 1), "Little room"),
        (state(True, GIB, GIB + 2 * LEAST_ROOM_BYTES), None),
        (state(True, 95 * GIB, 100 * GIB), "Little room"),
        (MirrorState("file", None, 0, True, 1_000, 2_000), "Little room"),
        (MirrorState("memory", None, 0, False, None, None), "Nothing is kept"),
    ],
)
def test_risk_is_no_promise_to_keep_the_data_or_little_room(
    stored: MirrorState, risk: str | None
) -> None:
    found = eviction_risk(stored)

    if risk is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(risk, found)


async def test_storage_that_goes_away_between_commits_ends_the_run_and_is_told(
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
        mirror = (await term_of(durably)).database.mirror
        mirror.lose()  # type: ignore[attr-defined]
        await settle()
        gate.open()

        assert await handle.result() == "b is done"
        assert types(told)[:3] == ["storage:lost", "step:cancel", "tab:leader"]
        assert bodies.ran == ["a", "b"]


async def test_storage_that_is_lost_twice_in_one_term_is_told_once(tab: Tab, gate: Gate) -> None:
    async with tab.durably(idle) as durably:
        told = record(durably, "storage:lost")
        mirror = (await term_of(durably)).database.mirror
        tab.disk.fail(tab.disk.writes + 1, "lost")
        with pytest.raises(StorageLost):
            await durably.trigger(idle())
        mirror.lose()  # type: ignore[attr-defined]
        await settle()

    assert len(told) == 1
