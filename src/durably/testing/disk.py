"""A disk that outlives the programs on it, and fails or dies where a test says so."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..errors import (
    DamagedDatabase,
    StorageError,
    StorageFenced,
    StorageFull,
    StorageLost,
    StorageRefused,
)
from ..model import Durability
from ..ports import Landed, MirrorState

PAGE_BYTES = 4096

Fault = Literal["refuse", "full", "lost", "die"]


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
