"""The mirror in a browser: ``js/mirror.js`` behind the port."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pyodide_js
from pyodide.ffi import can_run_sync, create_proxy

from ..errors import (
    DamagedDatabase,
    NewerSchema,
    StorageError,
    StorageFenced,
    StorageFull,
    StorageLost,
    StorageRefused,
)
from ..model import Durability
from ..ports import Landed, MirrorState
from .bridge import modules

_lives = itertools.count(1)  # no two lives in one page share a file


class IndexedDBMirror:
    """A SQLite file in Emscripten's memory, mirrored page by page into IndexedDB."""

    is_shared = False

    def __init__(self, name: str) -> None:
        self._name = name
        self._path = f"/durably/{name}-{next(_lives)}.sqlite3"
        self._mirror: Any = None
        self._landed: Landed = lambda error: None
        self._wake: Callable[[], Durability | None] = lambda: None
        self._tell_failure: Callable[[StorageError], None] = lambda error: None
        self._loop: asyncio.AbstractEventLoop
        # One proxy for the whole life: a commit crosses into JavaScript once, and back once.
        self._settled_proxy = create_proxy(self._settled)
        self._stalled_proxy = create_proxy(self._stalled)
        self._failed_proxy = create_proxy(self._failed)

    @property
    def epoch(self) -> int | None:
        return None if self._mirror is None else int(self._mirror.epoch)

    async def take_over(self, known_epoch: int = 0) -> str:
        module = (await modules()).mirror
        self._loop = asyncio.get_running_loop()
        self._mirror = module.Mirror.new(
            pyodide_js.FS,
            self._name,
            self._path,
            self._settled_proxy,
            self._stalled_proxy,
            self._failed_proxy,
            can_run_sync(),
            getattr(pyodide_js, "_api", None),
        )
        self._commit = self._mirror.commit
        status: str = await self._mirror.takeOver(known_epoch)
        if status != "ok":
            raise self._error(status)
        return self._path

    def commit(self, durability: Durability, landed: Landed) -> bool:
        self._landed = landed
        return bool(self._commit(durability == "strict"))

    def on_stall(self, callback: Callable[[], Durability | None]) -> None:
        self._wake = callback

    def on_failure(self, callback: Callable[[StorageError], None]) -> None:
        self._tell_failure = callback

    async def state(self) -> MirrorState:
        answer = await self._mirror.state()
        return MirrorState(
            place="indexeddb",
            epoch=answer.epoch,
            dirty_pages=answer.dirtyPages,
            is_persisted=answer.isPersisted,
            usage_bytes=answer.usage,
            quota_bytes=answer.quota,
        )

    async def verify(self) -> list[str]:
        problems: list[str] = (await self._mirror.verify()).to_py()
        return problems

    async def persist(self) -> bool:
        return bool(await self._mirror.persist())

    async def close(self) -> None:
        if self._mirror is not None:
            # JavaScript settles a commit under way first, so the proxy is not called after this.
            await self._mirror.close()
            self._mirror = None
        self._destroy_proxies()

    def _destroy_proxies(self) -> None:
        for proxy in (self._settled_proxy, self._stalled_proxy, self._failed_proxy):
            proxy.destroy()

    def _settled(self, status: str | None = None) -> bool | None:
        """Called by JavaScript when the outcome of the commit under way is known: None where all
        went well. The answer is whether the next commit, if one is wanted, is strict.

        Whoever waited for it goes on in here, as in a callback of the event loop.
        """
        self._enter_loop()
        wanted = self._landed(None if status is None else self._error(status))
        return None if wanted is None else wanted == "strict"

    def _stalled(self) -> bool | None:
        """Called by JavaScript while ``_settled`` does not come back; answers as that does."""
        self._enter_loop()
        wanted = self._wake()
        return None if wanted is None else wanted == "strict"

    def _failed(self, status: str) -> None:
        """Called by JavaScript when it finds the storage gone."""
        self._enter_loop()
        self._tell_failure(self._error(status))

    def _enter_loop(self) -> None:
        """Where Pyodide switches stacks, each call from JavaScript has a thread state of its own,
        in which no loop runs yet."""
        if asyncio._get_running_loop() is not self._loop:
            asyncio._set_running_loop(self._loop)

    def _error(self, status: str) -> StorageError:
        kind, _, detail = status.partition(": ")
        if kind == "full":
            usage, _, quota = detail.partition(" ")
            return StorageFull(self._name, int(usage or 0) or None, int(quota or 0) or None)
        if kind == "fenced":
            return StorageFenced(self._name)
        if kind == "refused":
            return StorageRefused(self._name, detail)
        if kind == "newer":
            found, _, known = detail.partition(" ")
            return NewerSchema(self._name, int(found), int(known), "format")
        if kind == "damaged":
            return DamagedDatabase(self._name, detail)
        return StorageLost(self._name, detail or status, kind == "erased")
