"""The ports on plain CPython: a file that SQLite itself makes durable, and nobody hides."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from .errors import StorageError, StorageLost, StorageRefused
from .model import Durability
from .ports import Environment, Landed, MirrorState, Unsubscribe, VisibilitySignal

POLL_INTERVAL = 1.0
"""Seconds between looks for runs that another process has triggered or abandoned."""


class FileMirror:
    """No mirror at all: the file is the durable copy, shared by all processes that open it."""

    is_shared = True
    epoch = None

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    async def take_over(self, known_epoch: int = 0) -> str:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            raise StorageRefused(self._name, str(error)) from error
        return str(self._path)

    def commit(self, durability: Durability, landed: Landed) -> bool:
        # SQLite in WAL mode has written the commit; with `synchronous = normal` it survives a
        # crash of the process, which is "relaxed". "strict" asks for the disk.
        if durability == "strict":
            try:
                self._sync(Path(f"{self._path}-wal"))
            except OSError as error:
                # What the system has dropped by then, a second try would not find missing.
                landed(StorageLost(self._name, str(error)))
                return True
        return False

    def on_stall(self, callback: Callable[[], Durability | None]) -> None:
        pass

    def on_failure(self, callback: Callable[[StorageError], None]) -> None:
        pass  # SQLite meets it at the next statement.

    async def state(self) -> MirrorState:
        import shutil

        files = [Path(f"{self._path}{suffix}") for suffix in ("", "-wal", "-shm")]
        usage = sum(file.stat().st_size for file in files if file.exists())
        try:
            quota = usage + shutil.disk_usage(self._path.parent).free
        except OSError:
            quota = None
        # Every commit of SQLite is in the file, and files are not cleared behind their user's back.
        return MirrorState("file", None, 0, True, usage, quota)

    async def verify(self) -> list[str]:
        return []

    async def persist(self) -> bool:
        return True

    async def close(self) -> None:
        pass

    def _sync(self, wal: Path) -> None:
        if wal.exists():
            descriptor = os.open(wal, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class VolatileMirror:
    """The fallback where storage is refused: SQLite in memory, of which nothing is kept."""

    is_shared = False
    epoch = None

    async def take_over(self, known_epoch: int = 0) -> str:
        return ":memory:"

    def commit(self, durability: Durability, landed: Landed) -> bool:
        return False

    def on_stall(self, callback: Callable[[], Durability | None]) -> None:
        pass

    def on_failure(self, callback: Callable[[StorageError], None]) -> None:
        pass

    async def state(self) -> MirrorState:
        return MirrorState("memory", None, 0, False, None, None)

    async def verify(self) -> list[str]:
        return []

    async def persist(self) -> bool:
        return False

    async def close(self) -> None:
        pass


class AlwaysVisible:
    """Nobody hides a process."""

    is_visible = True

    def subscribe(self, callback: Callable[[VisibilitySignal], None]) -> Unsubscribe:
        return lambda: None


class LocalChannel:
    """Messages between the Durably objects of one process, by name of the channel."""

    _open: dict[str, list[LocalChannel]] = {}  # noqa: RUF012 - the bus itself, by design shared

    def __init__(self, name: str) -> None:
        self._name = name
        self._callbacks: list[Callable[[str], None]] = []
        self._open.setdefault(name, []).append(self)

    def post(self, message: str) -> None:
        for other in self._open.get(self._name, ()):
            if other is not self:
                asyncio.get_running_loop().call_soon(other._receive, message)

    def subscribe(self, callback: Callable[[str], None]) -> Unsubscribe:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def _receive(self, message: str) -> None:
        for callback in list(self._callbacks):
            callback(message)

    def close(self) -> None:
        self._callbacks.clear()
        if self in self._open.get(self._name, ()):
            self._open[self._name].remove(self)


def local_environment(name: str, directory: Path) -> Environment:
    """The environment of ``name`` on CPython: the file ``<directory>/<name>.sqlite3``.

    Beside it lies ``<name>.sqlite3.owners`` while a process has it open.
    """
    from .owners import OwnerFiles  # A tab, which has no processes, comes without.

    path = directory / f"{name}.sqlite3"
    return Environment(
        mirror=lambda: FileMirror(name, path),
        leadership=OwnerFiles(directory / f"{name}.sqlite3.owners"),
        visibility=AlwaysVisible(),
        channel=lambda: LocalChannel(name),
        poll_interval=POLL_INTERVAL,
    )
