"""The machine's own clock, and the one of tests, keep the contract of their port."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from durably import InvalidOption
from durably.clock import SystemClock, seconds
from durably.testing import FakeClock
from tests.contracts.clock import ClockContract, Times


class SystemTimes(Times):
    def __init__(self) -> None:
        self.clock = SystemClock()

    async def pass_time(self, seconds: float) -> None:
        # The one real sleep of these tests: nobody can move this clock.
        await asyncio.sleep(seconds)


class FakeTimes(Times):
    def __init__(self) -> None:
        self._fake = self.clock = FakeClock()

    async def pass_time(self, seconds: float) -> None:
        await self._fake.advance(seconds)


class TestSystemClock(ClockContract):
    @pytest.fixture
    def times(self) -> Times:
        return SystemTimes()


class TestFakeClock(ClockContract):
    @pytest.fixture
    def times(self) -> Times:
        return FakeTimes()

    async def test_each_timer_is_called_at_its_own_moment(self) -> None:
        clock = FakeClock()
        start = clock.monotonic()
        called: list[float] = []
        for due in (3, 1, 2):
            clock.call_later(due, lambda: called.append(clock.monotonic() - start))
        await clock.advance(10)

        assert called == [1, 2, 3]
        assert clock.monotonic() - start == 10

    async def test_freeze_calls_what_was_due_at_its_end_only(self) -> None:
        clock = FakeClock()
        called: list[float] = []
        clock.call_later(1, lambda: called.append(clock.monotonic()))
        await clock.freeze(60)

        assert called == [60]

    async def test_jump_moves_the_wall_clock_only(self) -> None:
        clock = FakeClock()
        now, monotonic = clock.now(), clock.monotonic()
        clock.jump(-3600)

        assert clock.now() == now - 3_600_000
        assert clock.monotonic() == monotonic


@pytest.mark.parametrize(("given", "expected"), [(2, 2.0), (0.5, 0.5), (timedelta(minutes=1), 60)])
def test_duration_is_seconds_or_a_timedelta(given: float | timedelta, expected: float) -> None:
    assert seconds(given, "interval") == expected


@pytest.mark.parametrize("given", [0, -1, True, "5", None, float("nan"), timedelta(0)])
def test_duration_that_is_not_positive_is_refused(given: float) -> None:
    with pytest.raises(InvalidOption, match="interval"):
        seconds(given, "interval")
