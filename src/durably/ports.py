"""What the engine needs from the place it runs in: four ports and their contracts.

``local`` implements them for CPython, ``browser`` for a tab, ``testing`` for tests. Each contract
is a suite in ``tests/contracts`` that all of them pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Literal, Protocol

from .clock import Clock, SystemClock
from .errors import StorageError
from .model import Durability
from .records import record

Unsubscribe = Callable[[], None]
Landed = Callable[[StorageError | None], Durability | None]
"""Told of the outcome of a commit; the answer is the next one to begin, if one is wanted."""

Place = Literal["indexeddb", "file", "memory"]
"""Where data lie. What lies in memory alone is gone with the program."""


@record
class MirrorState:
    """What a mirror knows of its storage. None: there is no such thing here, or nobody says."""

    place: Place
    epoch: int | None
    """The fencing token of this owner."""
    dirty_pages: int
    """Pages of the file that changed and are not durable yet."""
    is_persisted: bool | None
    """True where the storage is its user's alone to clear."""
    usage_bytes: int | None
    """What is in use; in a browser by everything of this origin."""
    quota_bytes: int | None
    """What may be in use. A browser's estimate is no promise, and may say too much."""


class Mirror(Protocol):
    """Keeps the durable copy of a SQLite file.

    One life: ``take_over`` once, the others any number of times, ``close`` once.
    """

    @property
    def is_shared(self) -> bool:
        """True where other processes may write to the same file at the same time."""
        ...

    @property
    def epoch(self) -> int | None:
        """Of this life, once it has taken over: no other has the same. None where none is needed,
        because the file itself is shared."""
        ...

    async def take_over(self, known_epoch: int = 0) -> str:
        """Refuse every later write of earlier owners, load the last state, and return the path
        of the file that SQLite is to open. An empty file means that nothing was stored.

        ``known_epoch`` is the highest of which the program knows. Where the storage has come to no
        such epoch it was cleared, and nothing empty, or begun anew elsewhere, takes its place.

        Raises StorageLost then, StorageRefused where there is no storage, and DamagedDatabase where
        what is stored is not one whole; then nothing that was stored has been changed, though the
        fence may have been added to.
        """
        ...

    def commit(self, durability: Durability, landed: Landed) -> bool:
        """Make what SQLite has committed to the file up to this call durable.

        False where all of it is on return. Otherwise ``landed`` is called once, possibly before
        that, when the outcome is known: with None when all of it is durable; with StorageFenced
        where another owner has taken over, StorageFull, or StorageLost, and then the changes are
        still part of the next commit. What it answers is begun at once, as if it had been asked for
        here, with the same ``landed``. At most one commit is under way at a time. (A callback and
        not a coroutine: in a browser each turn of the event loop costs a checkpoint as much as its
        SQL; and an answer, not a call: half as much.)
        """
        ...

    def on_stall(self, callback: Callable[[], Durability | None]) -> None:
        """Call ``callback`` while ``landed`` does not come back, because the code that went on in
        there waits in ``run_sync``. What it answers is begun, too."""
        ...

    def on_failure(self, callback: Callable[[StorageError], None]) -> None:
        """Call ``callback`` when the storage goes away while no commit is under way."""
        ...

    async def state(self) -> MirrorState:
        """How the storage is now. Changes nothing."""
        ...

    async def verify(self) -> list[str]:
        """Read back what is stored and compare it with the file, but for what is not durable yet.

        The answer is what is wrong, in words; nothing where all is well, or where the file itself
        is what is stored. Changes nothing, also not what is wrong. Commits may wait meanwhile.
        """
        ...

    async def persist(self) -> bool:
        """Ask that nobody but its user clears the storage; whether that is so now."""
        ...

    async def close(self) -> None:
        """Let go of every resource. What was not committed is dropped."""
        ...


class Leadership(Protocol):
    """Who may write, as which owner, and which other owners have ended.

    In a browser one side leads at a time by name; liveness, not safety: the mirror's fence gives
    that. Where processes share a file, every side leads.
    """

    async def acquire(self, owner: str, on_wait: Callable[[], None]) -> None:
        """Return when this side leads as ``owner``, an id that no side has had before.

        ``on_wait`` is called once if another side leads now.
        """
        ...

    def followed(self, is_followed: bool) -> None:
        """Whether others wait for what this side holds. One that is not followed may keep it where
        it stands still for a while; one that is lets go."""
        ...

    def steal(self) -> None:
        """Take the leadership from whoever has it; the ``acquire`` that waits for it returns.

        Whoever had it is told so by ``on_lost``, perhaps much later. Harmless where none waits.
        """
        ...

    def ended(self, owners: Collection[str]) -> Iterator[str]:
        """While this side leads: each of ``owners``, and any other, that has provably ended.

        Never this side's own. An owner of which it cannot be told is left out. Recover the runs of
        an owner before asking for the next one: then what proves its end is removed.
        """
        ...

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a leadership that was acquired is gone without ``release``."""
        ...

    def release(self, *, leaves_runs: bool = False) -> None:
        """Let go. Harmless when nothing is held.

        With ``leaves_runs`` this owner may still have running runs: what proves its end stays.
        """
        ...


VisibilitySignal = Literal["visible", "hidden", "freeze", "resume"]


class Visibility(Protocol):
    """Whether a person can see this program, as far as it can tell."""

    @property
    def is_visible(self) -> bool: ...

    def subscribe(self, callback: Callable[[VisibilitySignal], None]) -> Unsubscribe:
        """Call ``callback`` at each change, and at each freeze and resume."""
        ...


class Channel(Protocol):
    """Messages between the tabs of one origin. Nothing is kept for late listeners."""

    def post(self, message: str) -> None:
        """Send ``message`` to every other side of the channel, never to this one."""
        ...

    def subscribe(self, callback: Callable[[str], None]) -> Unsubscribe:
        """Call ``callback`` for each message that arrives from now on."""
        ...

    def close(self) -> None:
        """Receive nothing more."""
        ...


@record
class Environment:
    """The place the engine runs in: the four ports for one database, and the clock."""

    mirror: Callable[[], Mirror]
    """Makes the mirror of one life of the database; called at each takeover."""
    leadership: Leadership
    visibility: Visibility
    channel: Callable[[], Channel]
    clock: Clock = SystemClock()
    poll_interval: float | None = None
    """Seconds between looks for the work of other processes; None where there are none."""
