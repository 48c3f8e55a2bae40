"""The contract of the Clock port, for every implementation.

To add one, derive ``Times`` for it, give its fixture the name ``times``, and derive a test class
from ``ClockContract``. Its durations are milliseconds, because the machine's own clock is one of
the implementations.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from durably.clock import Bell, Clock

SHORT = 0.005
LONG = 0.02
NEVER = 3600.0


class Times(ABC):
    clock: Clock

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Return when at least this time has passed, and what was due has been called."""


class ClockContract:
    async def test_now_is_utc_in_whole_milliseconds(self, times: Times) -> None:
        now = times.clock.now()

        assert isinstance(now, int)
        assert now > 1_700_000_000_000

    async def test_time_passes_on_both_clocks(self, times: Times) -> None:
        now, monotonic = times.clock.now(), times.clock.monotonic()
        await times.pass_time(LONG)

        assert times.clock.now() > now
        assert times.clock.monotonic() > monotonic

    async def test_monotonic_never_goes_back(self, times: Times) -> None:
        readings = []
        for _ in range(100):
            readings.append(times.clock.monotonic())
            await asyncio.sleep(0)

        assert readings == sorted(readings)

    async def test_timer_is_due_after_its_time_and_not_before(self, times: Times) -> None:
        started = times.clock.monotonic()
        called: list[float] = []
        times.clock.call_later(LONG, lambda: called.append(times.clock.monotonic()))
        at_once = list(called)
        await times.pass_time(2 * LONG)

        assert at_once == []
        # asyncio calls a timer up to one tick of its clock early.
        assert called[0] - started >= LONG - 0.002

    async def test_timer_is_called_once(self, times: Times) -> None:
        called: list[int] = []
        times.clock.call_later(SHORT, lambda: called.append(1))
        await times.pass_time(LONG)
        await times.pass_time(LONG)

        assert called == [1]

    async def test_cancelled_timer_is_not_called(self, times: Times) -> None:
        called: list[str] = []
        timer = times.clock.call_later(SHORT, lambda: called.append("cancelled"))
        times.clock.call_later(LONG, lambda: called.append("other"))
        timer.cancel()
        timer.cancel()
        await times.pass_time(2 * LONG)

        assert called == ["other"]

    async def test_timers_are_called_in_the_order_of_their_times(self, times: Times) -> None:
        called: list[str] = []
        times.clock.call_later(LONG, lambda: called.append("second"))
        times.clock.call_later(SHORT, lambda: called.append("first"))
        await times.pass_time(2 * LONG)

        assert called == ["first", "second"]

    async def test_wait_ends_when_the_event_is_set(self, times: Times) -> None:
        event = Bell()
        waiting = asyncio.ensure_future(event.wait(times.clock, NEVER))
        await asyncio.sleep(0)
        event.set()

        assert await waiting is True

    async def test_wait_ends_when_the_time_is_over(self, times: Times) -> None:
        waiting = asyncio.ensure_future(Bell().wait(times.clock, SHORT))
        await asyncio.sleep(0)
        await times.pass_time(LONG)

        assert await waiting is False

    async def test_wait_without_a_limit_ends_with_the_event_only(self, times: Times) -> None:
        event = Bell()
        waiting = asyncio.ensure_future(event.wait(times.clock, None))
        await times.pass_time(LONG)
        was_over = waiting.done()
        event.set()

        assert not was_over
        assert await waiting is True

    async def test_wait_does_not_wait_where_the_event_is_set_or_no_time_is_left(
        self, times: Times
    ) -> None:
        event = Bell()
        no_time = await event.wait(times.clock, 0)
        event.set()

        assert no_time is False
        assert await event.wait(times.clock, NEVER) is True

    async def test_wait_that_is_cancelled_leaves_nothing_behind(self, times: Times) -> None:
        before = asyncio.all_tasks()
        waiting = asyncio.ensure_future(Bell().wait(times.clock, SHORT))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await times.pass_time(LONG)

        assert waiting.cancelled()
        assert asyncio.all_tasks() <= before
