"""The contract of the Leadership port, for every implementation.

To add one, derive ``Leaderships`` for it, give its fixture the name ``leaderships``, and derive a
test class from ``ExclusiveLeadershipContract``; or, where every side leads, from
``LeadershipContract``.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod

from durably.ports import Leadership


class Leaderships(ABC):
    """The sides that want to lead one database: tabs of one origin, or processes on one file."""

    @abstractmethod
    def make(self) -> Leadership:
        """One more side."""

    async def lose(self, leadership: Leadership) -> None:
        """Take the leadership away from its holder, as the place it runs in can."""
        raise NotImplementedError


def new_owner() -> str:
    """An id that no side has had before."""
    return os.urandom(8).hex()


class Waiter:
    """A side that has asked to lead while another one did."""

    def __init__(self, leadership: Leadership) -> None:
        self.leadership = leadership
        self.waits = asyncio.Event()
        self.times_told = 0
        self.leading = asyncio.ensure_future(leadership.acquire(new_owner(), self._on_wait))

    def _on_wait(self) -> None:
        self.times_told += 1
        self.waits.set()


def nobody_waits() -> None:
    raise AssertionError("nobody else leads")


class LeadershipContract:
    """What every leadership keeps."""

    async def test_first_leads_at_once(self, leaderships: Leaderships) -> None:
        leadership = leaderships.make()
        await leadership.acquire(new_owner(), nobody_waits)

        leadership.release()

    async def test_released_leadership_can_be_acquired_again(
        self, leaderships: Leaderships
    ) -> None:
        leadership = leaderships.make()
        for _ in range(3):
            await leadership.acquire(new_owner(), nobody_waits)
            leadership.release()

        await leaderships.make().acquire(new_owner(), nobody_waits)

    async def test_release_twice_is_harmless(self, leaderships: Leaderships) -> None:
        leadership = leaderships.make()
        leadership.release()
        await leadership.acquire(new_owner(), nobody_waits)
        leadership.release()
        leadership.release()

        await leadership.acquire(new_owner(), nobody_waits)
        leadership.release()

    async def test_owner_that_left_runs_behind_has_provably_ended(
        self, leaderships: Leaderships
    ) -> None:
        first, second = leaderships.make(), leaderships.make()
        ended = new_owner()
        await first.acquire(ended, nobody_waits)
        first.release(leaves_runs=True)
        await second.acquire(new_owner(), lambda: None)

        assert list(second.ended({ended})) == [ended]
        second.release()

    async def test_side_that_leads_again_has_ended_as_its_earlier_owner(
        self, leaderships: Leaderships
    ) -> None:
        leadership, earlier = leaderships.make(), new_owner()
        await leadership.acquire(earlier, nobody_waits)
        leadership.release(leaves_runs=True)
        await leadership.acquire(new_owner(), lambda: None)

        assert list(leadership.ended({earlier})) == [earlier]
        leadership.release()

    async def test_own_owner_has_not_ended(self, leaderships: Leaderships) -> None:
        leadership, owner = leaderships.make(), new_owner()
        await leadership.acquire(owner, nobody_waits)

        assert list(leadership.ended({owner})) == []
        leadership.release()

    async def test_who_does_not_lead_proves_nothing(self, leaderships: Leaderships) -> None:
        first, second = leaderships.make(), leaderships.make()
        ended = new_owner()
        await first.acquire(ended, nobody_waits)
        first.release(leaves_runs=True)
        before = list(second.ended({ended}))
        await second.acquire(new_owner(), lambda: None)
        second.release()

        assert (before, list(second.ended({ended}))) == ([], [])


class ExclusiveLeadershipContract(LeadershipContract):
    """What a leadership keeps that one side has at a time."""

    async def test_second_waits_and_is_told_so_once(self, leaderships: Leaderships) -> None:
        first = leaderships.make()
        await first.acquire(new_owner(), nobody_waits)
        second = Waiter(leaderships.make())
        await second.waits.wait()
        led_already = second.leading.done()
        first.release()
        await second.leading

        assert not led_already
        assert second.times_told == 1
        second.leadership.release()

    async def test_those_who_wait_lead_in_their_order_and_one_at_a_time(
        self, leaderships: Leaderships
    ) -> None:
        first = leaderships.make()
        await first.acquire(new_owner(), nobody_waits)
        second, third = Waiter(leaderships.make()), None
        await second.waits.wait()
        third = Waiter(leaderships.make())
        await third.waits.wait()
        first.release()
        await second.leading
        third_led_too = third.leading.done()
        second.leadership.release()
        await third.leading

        assert not third_led_too
        third.leadership.release()

    async def test_release_without_holding_is_harmless(self, leaderships: Leaderships) -> None:
        holder, other = leaderships.make(), leaderships.make()
        await holder.acquire(new_owner(), nobody_waits)
        other.release()
        waiter = Waiter(leaderships.make())
        await waiter.waits.wait()

        assert not waiter.leading.done()
        holder.release()
        holder.release()
        await waiter.leading
        waiter.leadership.release()

    async def test_who_gives_up_waiting_never_leads(self, leaderships: Leaderships) -> None:
        first = leaderships.make()
        await first.acquire(new_owner(), nobody_waits)
        impatient = Waiter(leaderships.make())
        await impatient.waits.wait()
        patient = Waiter(leaderships.make())
        await patient.waits.wait()
        impatient.leading.cancel()
        await asyncio.wait([impatient.leading])
        first.release()
        await patient.leading

        assert impatient.leading.cancelled()
        patient.leadership.release()

    async def test_loss_is_told_and_lets_the_next_lead(self, leaderships: Leaderships) -> None:
        lost = asyncio.Event()
        first = leaderships.make()
        first.on_lost(lost.set)
        await first.acquire(new_owner(), nobody_waits)
        second = Waiter(leaderships.make())
        await second.waits.wait()
        await leaderships.lose(first)
        await lost.wait()
        first.release()
        await second.leading

        second.leadership.release()

    async def test_release_is_not_told_as_a_loss(self, leaderships: Leaderships) -> None:
        losses: list[bool] = []
        first = leaderships.make()
        first.on_lost(lambda: losses.append(True))
        await first.acquire(new_owner(), nobody_waits)
        second = Waiter(leaderships.make())
        await second.waits.wait()
        first.release()
        await second.leading

        assert losses == []
        second.leadership.release()

    async def test_lost_leadership_can_be_acquired_again(self, leaderships: Leaderships) -> None:
        lost = asyncio.Event()
        leadership = leaderships.make()
        leadership.on_lost(lost.set)
        await leadership.acquire(new_owner(), nobody_waits)
        await leaderships.lose(leadership)
        await lost.wait()
        leadership.release()
        await leadership.acquire(new_owner(), nobody_waits)
        waiter = Waiter(leaderships.make())
        await waiter.waits.wait()

        leadership.release()
        await waiter.leading
        waiter.leadership.release()
