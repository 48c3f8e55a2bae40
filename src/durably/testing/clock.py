"""Time that a test moves, and turns of the event loop in which none passes."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Self

SETTLE_TURNS = 100
"""Turns of the event loop after which ``settle`` ends in any case."""


async def settle() -> None:
    """Let everything that can go on without the passing of time go on.

    Returns when nothing is left that has asked the event loop for a turn: by then each task waits
    for time, for another thread, or for the caller. Tasks that never stop asking get
    ``SETTLE_TURNS``, and so does everything on a loop that lets nobody count who asks.
    """
    with _CallSoon.counted(asyncio.get_running_loop()) as asked:
        for _ in range(SETTLE_TURNS):
            before = asked.count
            await asyncio.sleep(0)
            if asked.count == before + 1:
                return


class _CallSoon:
    """The ``call_soon`` of an event loop, counted. Turns come in the order of asking."""

    def __init__(self, original: Callable[..., asyncio.Handle]) -> None:
        self.count = 0
        self._original = original
        self._users = 0

    @classmethod
    @contextmanager
    def counted(cls, loop: asyncio.AbstractEventLoop) -> Iterator[Self]:
        """The one that the loop has until the last of all such blocks has ended."""
        call_soon = loop.call_soon
        counted = call_soon if isinstance(call_soon, cls) else cls(call_soon)
        counted._users += 1
        with suppress(AttributeError):  # Of a loop that is not written in Python.
            loop.call_soon = counted  # type: ignore[method-assign]
        try:
            yield counted
        finally:
            counted._users -= 1
            if counted._users == 0:
                with suppress(AttributeError):
                    del loop.call_soon

    def __call__(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        self.count += 1
        return self._original(callback, *args, context=context)


@dataclass(order=True)
class _FakeTimer:
    due: float
    order: int
    callback: Callable[[], object] = field(compare=False)
    is_cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: int = 1_750_000_000_000) -> None:
        self._now = now
        self._monotonic = 0.0
        self._order = itertools.count()
        self._timers: list[_FakeTimer] = []

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    @property
    def timers(self) -> list[float]:
        """In how many seconds each callback is due that waits for its time, the next one first."""
        due = sorted(timer.due for timer in self._timers if not timer.is_cancelled)
        return [moment - self._monotonic for moment in due]

    def call_later(self, seconds: float, callback: Callable[[], object]) -> _FakeTimer:
        timer = _FakeTimer(self._monotonic + seconds, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass: every timer that becomes due fires at its moment, in order."""
        end = self._monotonic + seconds
        await settle()
        while self._timers and self._timers[0].due <= end:
            timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                self._move(timer.due - self._monotonic)
                timer.callback()
                await settle()
        self._move(end - self._monotonic)
        await settle()

    async def freeze(self, seconds: float) -> None:
        """Let time pass while the program stands still: what was due fires only at the end."""
        self.block(seconds)
        await self.advance(0)

    def block(self, seconds: float) -> None:
        """Let time pass while nothing else gets a turn, as a long computation does.

        What was due fires at the next ``advance``.
        """
        self._move(seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back, as a person or a time server does."""
        self._now += round(seconds * 1000)

    def _move(self, seconds: float) -> None:
        self._monotonic += max(seconds, 0)
        self._now += round(max(seconds, 0) * 1000)
