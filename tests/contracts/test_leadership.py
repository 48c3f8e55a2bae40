"""The leaderships of CPython, and the one of tests, keep the contract of their port."""

from __future__ import annotations

import pytest

from durably.local import EveryoneLeads
from durably.ports import Leadership
from durably.testing import FakeLeadership, FakeLock
from tests.contracts.leadership import LeadershipContract, Leaderships, nobody_waits


class FakeLeaderships(Leaderships):
    def __init__(self) -> None:
        self._lock = FakeLock()

    def make(self) -> Leadership:
        return FakeLeadership(self._lock)

    async def lose(self, leadership: Leadership) -> None:
        assert isinstance(leadership, FakeLeadership)
        leadership.lose()


class TestFakeLeadership(LeadershipContract):
    @pytest.fixture
    def leaderships(self) -> Leaderships:
        return FakeLeaderships()


class TestEveryoneLeads:
    async def test_nobody_waits_and_no_death_is_proven(self) -> None:
        one, two = EveryoneLeads(), EveryoneLeads()
        one.on_lost(nobody_waits)
        await one.acquire(nobody_waits)
        await two.acquire(nobody_waits)
        one.release()
        one.release()
        await one.acquire(nobody_waits)

        assert not one.proves_death
