"""Time enters the library here, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from .errors import InvalidOption

LONGEST_PAUSE = 86_400.0
"""Seconds. A browser's timer that is due in more than 24.8 days is due at once."""
MOST_SECONDS = timedelta.max.total_seconds()
"""As much as a timedelta can say; added to the time of day, it is still an integer for SQLite."""


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

    monotonic = staticmethod(time.monotonic)

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


class Bell:
    """An event that one can wait for with a limit, without a task of its own for each waiting."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: set[asyncio.Future[None]] = set()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for waiter in self._waiters:
            _end(waiter)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, clock: Clock, timeout: float | None) -> bool:
        """Return when the bell is set or ``timeout`` seconds are over; True if it is set.

        May return after LONGEST_PAUSE already: whoever waits for longer looks, and waits again.
        """
        if self._is_set or (timeout is not None and timeout <= 0):
            return self._is_set
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = None
        if timeout is not None:
            timer = clock.call_later(min(timeout, LONGEST_PAUSE), lambda: _end(waiter))
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()
        return self._is_set


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def seconds(value: float | timedelta, option: str) -> float:
    """A duration given in seconds or as a timedelta, as seconds. Positive, and not without end."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not 0 < number <= MOST_SECONDS:
        raise InvalidOption(option, value, "a positive number of seconds or a timedelta")
    return float(number)
