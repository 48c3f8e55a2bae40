"""What one tab knows of the others, and of being seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator

from ..ports import Unsubscribe, VisibilitySignal


class FakeLeadership:
    """Leadership among the fakes of one ``FakeLock``.

    Without ``proves_death`` it cannot tell of any owner whether it has ended.
    """

    def __init__(self, lock: FakeLock, *, proves_death: bool = True) -> None:
        self._lock = lock
        self._proves_death = proves_death
        self._owner = ""
        self._lost: Callable[[], None] = lambda: None

    async def acquire(self, owner: str, on_wait: Callable[[], None]) -> None:
        if self._lock.is_taken:
            on_wait()
        await self._lock.acquire(self)
        self._owner = owner

    def followed(self, is_followed: bool) -> None:
        pass

    def steal(self) -> None:
        self._lock.steal(self)

    def ended(self, owners: Collection[str]) -> Iterator[str]:
        if self._lock.holder is self and self._proves_death:
            yield from (owner for owner in owners if owner != self._owner)

    def on_lost(self, callback: Callable[[], None]) -> None:
        self._lost = callback

    def release(self, *, leaves_runs: bool = False) -> None:
        self._lock.release(self)

    def lose(self) -> None:
        """Take the leadership away, as a browser does with a page that it puts away."""
        self.release()
        self._lost()


class EveryoneLeads:
    """Leadership where every side works, and nobody can tell which of them have ended."""

    async def acquire(self, owner: str, on_wait: Callable[[], None]) -> None:
        pass

    def ended(self, owners: Collection[str]) -> Iterator[str]:
        return iter(())

    def followed(self, is_followed: bool) -> None:
        pass

    def steal(self) -> None:
        pass

    def on_lost(self, callback: Callable[[], None]) -> None:
        pass

    def release(self, *, leaves_runs: bool = False) -> None:
        pass


class FakeLock:
    """What the Web Lock of one origin and name is: one holder, and waiters in order."""

    def __init__(self) -> None:
        self.holder: object = None
        self._waiters: dict[object, asyncio.Future[None]] = {}

    @property
    def is_taken(self) -> bool:
        return self.holder is not None

    async def acquire(self, side: object) -> None:
        """Return when ``side`` holds it."""
        if not self.is_taken:
            self.holder = side
            return
        self._waiters[side] = asyncio.get_running_loop().create_future()
        try:
            await self._waiters[side]
        except asyncio.CancelledError:
            self.release(side)
            raise
        finally:
            del self._waiters[side]

    def release(self, side: object) -> None:
        """Let it go, to whoever has waited longest. Harmless where ``side`` does not hold it."""
        if self.holder is side:
            self.holder = None
            for waiting, granted in self._waiters.items():
                if not granted.done():
                    self.holder = waiting
                    granted.set_result(None)
                    return

    def steal(self, side: object) -> None:
        """Give it to ``side`` at once, where that waits for it."""
        granted = self._waiters.get(side)
        if granted is None or granted.done():
            return
        victim, self.holder = self.holder, side
        granted.set_result(None)
        if isinstance(victim, FakeLeadership):
            victim._lost()


class FakeVisibility:
    """Visibility as the test sets it."""

    def __init__(self) -> None:
        self.is_visible = True
        self._callbacks: list[Callable[[VisibilitySignal], None]] = []

    def subscribe(self, callback: Callable[[VisibilitySignal], None]) -> Unsubscribe:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def hide(self) -> None:
        self._tell(False, "hidden")

    def show(self) -> None:
        self._tell(True, "visible")

    def _tell(self, is_visible: bool, signal: VisibilitySignal) -> None:
        self.is_visible = is_visible
        for callback in list(self._callbacks):
            callback(signal)
