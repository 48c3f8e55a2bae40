"""Web Locks keep the contract of Leadership, whichever way they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from durably.browser.tabs import TabLeadership
from durably.ports import Leadership
from tests.contracts.leadership import (
    ExclusiveLeadershipContract,
    Leaderships,
    Waiter,
    new_owner,
    nobody_waits,
)
from tests.in_browser.page import outside

TURNS = 20
"""Of the event loop; more than asking for a lock takes."""


class TabLeaderships(Leaderships):
    def __init__(self, name: str) -> None:
        self.name = name
        self.made: list[TabLeadership] = []

    def make(self) -> Leadership:
        self.made.append(TabLeadership(self.name))
        return self.made[-1]

    async def lose(self, leadership: Leadership) -> None:
        await (await outside()).steal(self.name)


class PutAway(TabLeaderships):
    async def lose(self, leadership: Leadership) -> None:
        (await outside()).putAway()


@pytest.fixture(params=[TabLeaderships, PutAway], ids=["stolen", "put away"])
def leaderships(request: Any, name: str) -> Iterator[TabLeaderships]:
    leaderships = request.param(name)
    yield leaderships
    for leadership in leaderships.made:
        leadership.release()


class TestTabLeadership(ExclusiveLeadershipContract):
    async def test_lock_has_the_name_of_its_database(self, leaderships: TabLeaderships) -> None:
        world = await outside()
        leadership = leaderships.make()
        before = await world.lockIsHeld(leaderships.name)
        await leadership.acquire(new_owner(), nobody_waits)
        during = await world.lockIsHeld(leaderships.name)
        leadership.release()
        # The lock manager is another process; a request behind the release tells when it is free.
        await leaderships.make().acquire(new_owner(), lambda: None)
        leaderships.made[-1].release()

        assert (before, during) == (False, True)

    async def test_databases_of_other_names_have_other_leaders(
        self, leaderships: TabLeaderships
    ) -> None:
        await leaderships.make().acquire(new_owner(), nobody_waits)
        other = TabLeadership(f"{leaderships.name}-other")
        await other.acquire(new_owner(), nobody_waits)

        other.release()

    async def test_who_gives_up_at_once_never_leads(self, leaderships: TabLeaderships) -> None:
        for turns in range(20):
            early = asyncio.ensure_future(leaderships.make().acquire(new_owner(), lambda: None))
            for _ in range(turns):
                await asyncio.sleep(0)
            early.cancel()
            await asyncio.wait([early])
            leaderships.made[-1].release()

        await asyncio.wait_for(leaderships.make().acquire(new_owner(), lambda: None), 5)

    async def test_loss_is_told_once(self, leaderships: TabLeaderships) -> None:
        losses: list[bool] = []
        leadership = leaderships.make()
        leadership.on_lost(lambda: losses.append(True))
        await leadership.acquire(new_owner(), nobody_waits)
        next_one = Waiter(leaderships.make())
        await next_one.waits.wait()
        await leaderships.lose(leadership)
        await next_one.leading
        leadership.release()
        await leaderships.lose(leadership)

        assert losses == [True]

    async def test_followed_page_that_freezes_lets_the_lock_go_and_learns_of_it_when_it_thaws(
        self, leaderships: TabLeaderships
    ) -> None:
        world = await outside()
        leadership = leaderships.make()
        lost: list[str] = []
        leadership.on_lost(lambda: lost.append("lost"))
        await leadership.acquire(new_owner(), nobody_waits)
        world.lifecycle("freeze")
        kept_alone = await world.lockIsHeld(leaderships.name)
        leadership.followed(True)
        world.lifecycle("freeze")
        await until_held(world, leaderships.name, False)
        while_frozen = list(lost)
        world.lifecycle("resume")

        assert kept_alone
        assert (while_frozen, lost) == ([], ["lost"])

    async def test_followed_page_that_is_put_away_while_it_is_frozen_learns_of_its_loss(
        self, leaderships: TabLeaderships
    ) -> None:
        world = await outside()
        leadership = leaderships.make()
        lost: list[str] = []
        leadership.on_lost(lambda: lost.append("lost"))
        await leadership.acquire(new_owner(), nobody_waits)
        leadership.followed(True)
        world.lifecycle("freeze")
        world.putAway()

        assert lost == ["lost"]

    async def test_page_that_is_put_away_asks_for_no_lock_before_it_comes_back(
        self, leaderships: TabLeaderships
    ) -> None:
        world = await outside()
        told: list[str] = []
        # The module listens from its first use on.
        await leaderships.make().acquire(new_owner(), nobody_waits)
        leaderships.made[-1].release()
        world.pageEvent("pagehide")
        leading = asyncio.ensure_future(
            leaderships.make().acquire(new_owner(), lambda: told.append("waits"))
        )
        for _ in range(TURNS):
            await asyncio.sleep(0)
        was_held = await world.lockIsHeld(leaderships.name)
        world.pageEvent("pageshow")
        await leading

        assert (was_held, told) == (False, [])

    async def test_frozen_page_that_waits_is_given_no_lock_and_waits_on_when_it_thaws(
        self, leaderships: TabLeaderships
    ) -> None:
        world = await outside()
        holder, frozen = leaderships.make(), leaderships.make()
        await holder.acquire(new_owner(), nobody_waits)
        is_waiting = asyncio.Event()
        waiting = asyncio.ensure_future(frozen.acquire(new_owner(), is_waiting.set))
        await is_waiting.wait()
        holder.release()
        world.lifecycle("freeze")
        world.lifecycle("resume")
        await waiting

        assert await world.lockIsHeld(leaderships.name)

    async def test_steal_takes_the_lock_from_its_holder(self, leaderships: TabLeaderships) -> None:
        holder, thief = leaderships.make(), leaderships.make()
        lost = asyncio.Event()
        holder.on_lost(lost.set)
        await holder.acquire(new_owner(), nobody_waits)
        is_waiting = asyncio.Event()
        waiting = asyncio.ensure_future(thief.acquire(new_owner(), is_waiting.set))
        await is_waiting.wait()
        thief.steal()
        await waiting
        await lost.wait()


async def until_held(world: Any, name: str, is_held: bool) -> None:
    while await world.lockIsHeld(name) is not is_held:
        pass
