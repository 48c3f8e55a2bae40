"""Who leads next: by theft from a tab that stands still, or by handover from a hidden one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from durably import NotOpen, Step, StorageLost, job
from durably.leader import OFFER_PATIENCE
from durably.protocol import STEAL_PAUSE
from durably.testing import FakeClock, settle
from tests.core.kit import Bodies, Gate, Tab, record, types
from tests.core.tabs import another, idle, pair, silence, watch_channel


async def test_visible_follower_takes_the_leadership_from_a_tab_that_stands_still(
    tab: Tab,
) -> None:
    async with pair(tab, idle) as tabs:
        told = record(tabs.follower)
        silence(tabs.leader)
        await tab.clock.advance(29)
        before = types(told)
        await tab.clock.advance(10)

        assert before == []
        assert types(told) == ["tab:leader"]
        assert (tabs.leader.tabs.role, tabs.follower.tabs.role) == ("follower", "leader")
        assert await (await tabs.leader.trigger(idle())).result() == "done"


async def test_hidden_follower_takes_nothing(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        tabs.other.visibility.hide()
        silence(tabs.leader)
        await tab.clock.advance(300)

        assert tabs.follower.tabs.role == "follower"


async def test_follower_that_stood_still_itself_takes_nothing_at_once(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        await tab.clock.freeze(100)

        assert tabs.follower.tabs.role == "follower"


async def test_leadership_is_stolen_once_a_minute_at_most(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        silence(tabs.leader)
        await tab.clock.advance(40)
        stolen_first = tabs.follower.tabs.role
        await settle()
        silence(tabs.follower)
        await tab.clock.advance(STEAL_PAUSE - 25)
        await settle()

        assert stolen_first == "leader"
        # The one that lost it had never stolen, and so may: it follows the same rule.
        assert tabs.leader.tabs.role == "leader"
        silence(tabs.leader)
        await tab.clock.advance(20)
        assert tabs.leader.tabs.role == "leader"


async def test_hidden_leader_hands_over_to_a_visible_follower_at_a_step_boundary(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", gate)
        return await step.run("b", bodies, "b")

    async with pair(tab, two_steps) as tabs:
        handle = await tabs.leader.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        await tab.clock.advance(60)
        before = tabs.leader.tabs.role
        gate.open()
        await settle()

        assert before == "leader"
        assert (tabs.leader.tabs.role, tabs.follower.tabs.role) == ("follower", "leader")
        assert await handle.result() == "b is done"
        assert (gate.visits, bodies.ran) == (1, ["b"])


async def test_what_is_asked_of_a_leader_while_it_hands_over_is_answered_by_the_next(
    tab: Tab,
) -> None:
    async with pair(tab, idle) as tabs:
        handle = await tabs.leader.trigger(idle())
        await handle.result()
        old = await tabs.leader._leader.asking.whom()
        tab.visibility.hide()
        await settle()

        with pytest.raises(StorageLost):
            await old.ask("run", (handle.id,))  # What a call that was under way meets.
        assert (await tabs.leader.get_run(handle.id)).output == "done"


async def test_leader_that_is_visible_again_at_the_step_boundary_goes_on(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", gate)
        return await step.run("b", bodies, "b")

    async with pair(tab, two_steps) as tabs:
        handle = await tabs.leader.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        await settle()
        tab.visibility.show()
        gate.open()

        assert await handle.result() == "b is done"
        assert tabs.leader.tabs.role == "leader"
        assert (gate.visits, bodies.ran) == (1, ["b"])


async def test_hidden_leader_keeps_the_leadership_where_every_follower_is_hidden(
    tab: Tab,
) -> None:
    async with pair(tab, idle) as tabs:
        tabs.other.visibility.hide()
        await settle()
        tab.visibility.hide()
        await tab.clock.advance(60)

        assert tabs.leader.tabs.role == "leader"


async def test_handover_that_is_called_off_gives_the_run_back_to_the_hidden_tab(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", gate)
        return await step.run("b", bodies, "b")

    async with pair(tab, two_steps) as tabs:
        handle = await tabs.leader.trigger(two_steps())
        later = await tabs.leader.trigger(two_steps())
        await gate.entered.wait()
        tab.visibility.hide()
        await settle()
        tabs.other.visibility.hide()
        gate.open()

        assert await handle.result() == "b is done"
        await settle()
        # It claims no more than it had, as long as nobody sees it.
        assert (await tabs.leader.get_run(later.id)).status == "pending"
        assert tabs.leader.tabs.role == "leader"
        assert (gate.visits, bodies.ran) == (1, ["b"])


async def test_tab_that_took_what_was_offered_may_steal_soon_after(tab: Tab) -> None:
    hidden = another(tab)
    hidden.visibility.hide()
    async with tab.durably(idle) as first, hidden.durably(idle):
        other = another(tab)
        async with other.durably(idle) as second:
            await settle()
            tab.visibility.hide()
            await settle()
            offered = second.tabs.role
            tab.visibility.show()
            other.visibility.hide()
            await settle()
            other.visibility.show()
            roles = first.tabs.role, second.tabs.role
            silence(first)
            await tab.clock.advance(40)

            assert offered == "leader"
            assert roles == ("leader", "follower")
            assert second.tabs.role == "leader"


async def test_handover_leaves_out_a_hidden_tab_that_has_waited_longer(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", gate)
        return await step.run("b", bodies, "b")

    hidden, other = another(tab), another(tab)
    hidden.visibility.hide()
    async with tab.durably(two_steps) as first, hidden.durably(two_steps) as passed_over:
        told = record(passed_over)
        async with other.durably(two_steps) as second:
            handle = await second.trigger(two_steps())
            await gate.entered.wait()
            tab.visibility.hide()
            gate.open()

            assert await handle.result() == "b is done"
            assert (first.tabs.role, second.tabs.role) == ("follower", "leader")
            assert "tab:leader" not in types(told)
            assert (gate.visits, bodies.ran) == (1, ["b"])


async def test_leadership_that_nobody_takes_is_free_again(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        follower: Any = tabs.follower._leader.asking.following
        follower._take = lambda: None
        tab.visibility.hide()
        await settle()
        before = tab.lock.holder is tabs.leader._leader.environment.leadership
        await tab.clock.advance(OFFER_PATIENCE)

        assert before
        assert (tabs.leader.tabs.role, tabs.follower.tabs.role) == ("follower", "leader")


async def test_tab_that_leaves_while_it_offers_the_leadership_lets_the_lock_go(tab: Tab) -> None:
    other = another(tab)
    async with AsyncExitStack() as leading:
        leader = await leading.enter_async_context(tab.durably(idle))
        async with other.durably(idle) as follower:
            await settle()
            following: Any = follower._leader.asking.following
            following._take = lambda: None
            tab.visibility.hide()
            await settle()
            is_offering = leader._leader.environment.leadership is tab.lock.holder
            await leading.aclose()
            await settle()

            assert is_offering
            assert follower.tabs.role == "leader"


class SlowTimers(FakeClock):
    """The clock of a hidden page: the browser lets its timers fire once a minute."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def now(self) -> int:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Any:
        return self._clock.call_later(max(seconds, 60), callback)


async def test_hidden_leader_whose_timers_are_slowed_down_is_not_robbed_of_a_long_step(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def long(step: Step) -> str:
        return await step.run("long", gate)

    other = another(tab)
    slowed = Tab(disk=tab.disk, clock=SlowTimers(tab.clock), lock=tab.lock)
    async with slowed.durably(long) as leader, other.durably(long) as follower:
        await settle()
        handle = await follower.trigger(long())
        await gate.entered.wait()
        slowed.visibility.hide()
        followed: list[bool] = []
        leadership: Any = leader._leader.environment.leadership
        leadership.followed = followed.append
        await tab.clock.advance(300)

        assert (leader.tabs.role, follower.tabs.role) == ("leader", "follower")
        assert set(followed) == {True}
        gate.open()
        assert await handle.result() == "passed"
        assert gate.visits == 1


async def test_frozen_leader_that_still_hears_is_robbed(tab: Tab) -> None:
    other = another(tab)
    frozen = Tab(disk=tab.disk, clock=SlowTimers(tab.clock), lock=tab.lock)
    async with frozen.durably(idle) as leader, other.durably(idle) as follower:
        await settle()
        frozen.visibility._tell(False, "hidden")
        frozen.visibility._tell(False, "freeze")
        leader._leader._handover.call_off()
        await tab.clock.advance(40)

        assert follower.tabs.role == "leader"


async def test_follower_waits_for_a_tab_that_has_the_lock_and_loads(
    tab: Tab, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tab, idle) as tabs:
        third = another(tab)
        async with third.durably(idle) as waiting:
            await settle()
            told = record(waiting)
            thief = tabs.follower._leader
            load = thief._open

            async def load_slowly(mirror: Any) -> Any:
                await gate()
                return await load(mirror)

            monkeypatch.setattr(thief, "_open", load_slowly)
            third.visibility.hide()  # So that the other one is the thief.
            silence(tabs.leader)
            await tab.clock.advance(20)
            third.visibility.show()
            await tab.clock.advance(20)
            assert gate.visits == 1
            await tab.clock.advance(20)  # 40 s after the last beat, 20 s after the theft.

            assert types(told) == []
            gate.open()
            await settle()
            assert tabs.follower.tabs.role == "leader"


async def test_role_is_not_told_before_it_is_known(tab: Tab) -> None:
    durably = tab.durably(idle)
    entering = asyncio.ensure_future(durably.__aenter__())
    await asyncio.sleep(0)

    with pytest.raises(NotOpen):
        _ = durably.tabs
    await entering
    assert durably.tabs.role == "leader"
    await durably.__aexit__(None, None, None)


async def test_tab_that_is_refused_its_storage_is_alone(tab: Tab) -> None:
    sent = watch_channel(tab)
    other = another(tab)
    tab.disk.fail(at=1, fault="refuse")
    async with tab.durably(idle, when_refused="memory") as first:
        tab.disk.revive()
        async with other.durably(idle) as second:
            await settle()
            handle = await second.trigger(idle())
            await handle.result()

            assert (first.tabs.role, second.tabs.role) == ("leader", "leader")
            assert [run.id for run in await second.list_runs()] == [handle.id]
            assert await first.list_runs() == []
            assert sent == ["beat"]


async def test_tab_that_has_followed_makes_nothing_empty_of_what_was_cleared(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        await (await tabs.leader.trigger(idle())).result()
        tab.disk.clear()
        asking = [
            asyncio.ensure_future(durably.trigger(idle()))
            for durably in (tabs.leader, tabs.follower)
        ]
        await tab.clock.advance(60)

        for asked in asking:
            with pytest.raises(StorageLost, match="cleared"):
                await asked
        assert tab.disk.image == b""
