"""The leaderships of CPython, and the one of tests, keep the contract of their port."""

from __future__ import annotations

import pytest

from durably.local import EveryoneLeads
from durably.ports import Leadership
from durably.testing import FakeLeadership, FakeLock
from tests.contracts.leadership import (
    ExclusiveLeadershipContract,
    Leaderships,
    new_owner,
    nobody_waits,
)


class FakeLeaderships(Leaderships):
    def __init__(self) -> None:
        self._lock = FakeLock()

    def make(self) -> Leadership:
        return FakeLeadership(self._lock)

    async def lose(self, leadership: Leadership) -> None:
        assert isinstance(leadership, FakeLeadership)
        leadership.lose()


class TestFakeLeadership(ExclusiveLeadershipContract):
    @pytest.fixture
    def leaderships(self) -> Leaderships:
        return FakeLeaderships()

    async def test_can_be_one_that_proves_nothing(self) -> None:
        leadership = FakeLeadership(FakeLock(), proves_death=False)
        await leadership.acquire(new_owner(), nobody_waits)

        assert list(leadership.ended({new_owner()})) == []


class TestEveryoneLeads:
    async def test_nobody_waits_and_no_end_is_proven(self) -> None:
        one, two = EveryoneLeads(), EveryoneLeads()
        one.on_lost(nobody_waits)
        await one.acquire(new_owner(), nobody_waits)
        await two.acquire("two", nobody_waits)
        two.release(leaves_runs=True)
        one.release()
        one.release()
        await one.acquire(new_owner(), nobody_waits)

        assert list(one.ended({"two"})) == []
