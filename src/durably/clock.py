"""Time enters the library here, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from .errors import InvalidOption

LONGEST_TIMER = 86_400.0
"""Seconds of one timer at most. Browsers count its milliseconds in 31 bits, which is 24.8 days; a
longer one fires at once, or, where Pyodide cuts it, too early."""
LONGEST_DURATION = timedelta.max.total_seconds()
"""Seconds; longer ones are taken for mistakes, and as milliseconds would be no column's integer."""


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where the time comes from. ``testing.FakeClock`` is the other implementation."""

    def now(self) -> int:
        """The wall clock: UTC milliseconds. It may jump either way."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back. In-process deadlines use this one."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` once, on the event loop, after ``seconds``."""
        ...


class SystemClock:
    """The machine's own clocks. In Pyodide these are ``Date.now`` and ``performance.now``."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


class SteadyTime:
    """The wall clock of the moment it was anchored, plus the time that has passed since.

    Deadlines that are stored are compared with it: a wall clock that is set an hour forward ends no
    wait early. A machine that sleeps may stop the monotonic clock, so the program anchors it again
    whenever it is shown or resumed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.anchor()

    def anchor(self) -> None:
        """Believe the wall clock again."""
        self._wall, self._monotonic = self._clock.now(), self._clock.monotonic()

    def now(self) -> int:
        """UTC milliseconds."""
        return self._wall + int((self._clock.monotonic() - self._monotonic) * 1000)


async def wait(clock: Clock, event: asyncio.Event, timeout: float | None) -> bool:
    """Wait until ``event`` is set or ``timeout`` seconds are over; True if the event is set."""
    if timeout is None:
        await event.wait()
        return True
    if timeout > LONGEST_TIMER:
        end = clock.monotonic() + timeout
        while end - clock.monotonic() > LONGEST_TIMER:
            if await wait(clock, event, LONGEST_TIMER):
                return True
        timeout = end - clock.monotonic()
    if event.is_set() or timeout <= 0:
        return event.is_set()
    woken = asyncio.ensure_future(event.wait())
    timer = clock.call_later(timeout, woken.cancel)
    try:
        await asyncio.wait([woken])
    finally:
        timer.cancel()
        woken.cancel()
    return event.is_set()


def seconds(value: float | timedelta, option: str) -> float:
    """A duration given in seconds or as a timedelta, as seconds. It has to be positive, and no
    longer than a timedelta can be."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not 0 < number <= LONGEST_DURATION
    ):
        raise InvalidOption(option, value, "a positive number of seconds or a timedelta")
    return float(number)
