"""Fakes for tests of programs that use durably, and of durably itself.

Each passes the contract suite of its port. A test drives time with ``FakeClock.advance``, ends a
life of the program by dropping its Durably, and begins the next on the same ``MemoryDisk``.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .clock import Clock
from .errors import (
    DamagedDatabase,
    StorageError,
    StorageFenced,
    StorageFull,
    StorageLost,
    StorageRefused,
)
from .local import LocalChannel
from .model import Durability
from .ports import Environment, Landed, MirrorState, Unsubscribe, VisibilitySignal

PAGE_BYTES = 4096
SETTLE_TURNS = 100
"""Turns of the event loop that ``settle`` gives: more than any chain of callbacks in the engine."""

Fault = Literal["refuse", "full", "lost", "die"]


async def settle() -> None:
    """Let everything that can go on without the passing of time go on."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)


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


class MemoryDisk:
    """What would be in IndexedDB: it outlives the mirrors that are opened on it.

    ``fail`` plans one fault at write ``at`` (counted over the whole life of the disk, from 1):
    ``refuse`` the takeover, be ``full``, be ``lost``, or ``die``: the write, whether or not it has
    landed, is never acknowledged, and no later one is either, as when a tab is killed.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.writes = 0
        self.image = b""
        self.quota_bytes = 10_000_000
        """What it says of its size. It is full when a test says so."""
        self.is_persisted = False
        self._plan: tuple[int, Fault, bool] | None = None
        self.is_dead = False

    def fail(self, at: int, fault: Fault, *, lands: bool = False) -> None:
        """Plan ``fault`` at write ``at``; with ``lands`` the bytes arrive all the same."""
        self._plan = (at, fault, lands)

    def revive(self) -> None:
        """Begin the next life: no fault is planned, and a dead disk answers again."""
        self._plan = None
        self.is_dead = False

    def clear(self) -> None:
        """Let everything that is stored be gone, as when the user clears the site's data."""
        self.epoch, self.image = 0, b""

    def write(self, epoch: int, image: bytes) -> Fault | Literal["fenced"] | None:
        """Store the image of a commit of ``epoch``; the answer is what went wrong."""
        if self.is_dead:
            return "die"
        if epoch != self.epoch:
            return "fenced"
        self.writes += 1
        planned = self._plan
        if planned is None or planned[0] != self.writes:
            self.image = image
            return None
        _, fault, lands = planned
        if lands:
            self.image = image
        self.is_dead = fault == "die"
        return fault


class MemoryMirror:
    """A mirror whose durable copy is a ``MemoryDisk``. The SQLite file is a temporary one."""

    is_shared = False

    def __init__(self, name: str, disk: MemoryDisk) -> None:
        self._name = name
        self._disk = disk
        self._folder = tempfile.TemporaryDirectory(prefix="durably-")
        self._path = Path(self._folder.name) / "database.sqlite3"
        self.epoch = 0
        self._durable = b""
        """The image of the last commit that was acknowledged."""
        self._tell_failure: Callable[[StorageError], None] = lambda error: None

    async def take_over(self, known_epoch: int = 0) -> str:
        disk = self._disk
        if disk._plan is not None and disk._plan[1] == "refuse":
            raise StorageRefused(self._name, "the test refuses it")
        if disk.epoch < known_epoch:
            raise StorageLost(self._name, "the test cleared it")
        if disk.image and not disk.image.startswith(b"SQLite format 3\0"):
            raise DamagedDatabase(self._name, "it does not begin like a SQLite file")
        disk.epoch += 1
        self.epoch = disk.epoch
        self._path.write_bytes(disk.image)
        self._durable = disk.image
        return str(self._path)

    def commit(self, durability: Durability, landed: Landed) -> bool:
        image = self._path.read_bytes()
        # A turn later, as a real storage would: what happens in between is part of every test.
        asyncio.get_running_loop().call_soon(self._settle, landed, image)
        return True

    def on_stall(self, callback: Callable[[], Durability | None]) -> None: ...

    def on_failure(self, callback: Callable[[StorageError], None]) -> None:
        self._tell_failure = callback

    def lose(self) -> None:
        """Let the storage go away now, as a browser does whose user clears it."""
        self._tell_failure(StorageLost(self._name, "the test took it away"))

    async def state(self) -> MirrorState:
        disk, dirty = self._disk, len(_differing(self._durable, self._path.read_bytes()))
        return MirrorState(
            "memory", self.epoch, dirty, disk.is_persisted, len(disk.image), disk.quota_bytes
        )

    async def verify(self) -> list[str]:
        pages = _differing(self._durable, self._disk.image)
        return [f"page {page} is stored otherwise than it is in memory" for page in pages]

    async def persist(self) -> bool:
        self._disk.is_persisted = True
        return True

    async def close(self) -> None:
        self._folder.cleanup()

    def _settle(self, landed: Landed, image: bytes) -> None:
        fault = self._disk.write(self.epoch, image)
        error: StorageError | None = None
        if fault is None:
            self._durable = image
        elif fault == "fenced":
            error = StorageFenced(self._name)
        elif fault == "full":
            error = StorageFull(self._name, len(self._disk.image), self._disk.quota_bytes)
        elif fault in ("lost", "refuse"):
            error = StorageLost(self._name, "the test took it away")
        else:
            return  # "die": nobody is left to be told.
        if (wanted := landed(error)) is not None:
            self.commit(wanted, landed)


def _differing(one: bytes, other: bytes) -> list[int]:
    """The numbers of the pages that are not the same in two images."""
    pages = range(0, max(len(one), len(other)), PAGE_BYTES)
    return [
        at // PAGE_BYTES for at in pages if one[at : at + PAGE_BYTES] != other[at : at + PAGE_BYTES]
    ]


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


def memory_environment(
    disk: MemoryDisk | None = None,
    *,
    clock: Clock | None = None,
    lock: FakeLock | None = None,
    visibility: FakeVisibility | None = None,
    proves_death: bool = True,
) -> Environment:
    """An environment of fakes; two with one ``disk`` and ``lock`` are two tabs of one origin.

    With ``proves_death=False`` the runs of a life that was killed wait for the stale threshold.
    """
    storage, shared = disk or MemoryDisk(), lock or FakeLock()
    return Environment(
        mirror=lambda: MemoryMirror("memory", storage),
        leadership=FakeLeadership(shared, proves_death=proves_death),
        visibility=visibility or FakeVisibility(),
        channel=lambda: LocalChannel(f"tabs-{id(shared)}"),
        clock=clock or FakeClock(),
    )
