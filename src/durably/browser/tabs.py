"""Leadership and messages between the tabs of one origin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy

from ..errors import StorageRefused
from ..ports import Unsubscribe
from .bridge import modules


class TabLeadership:
    """One exclusive Web Lock for each database name (W3C Web Locks API).

    The browser frees it when its tab or worker ends, so holding it proves that every earlier
    holder can do nothing more.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._owner = ""
        self._lock: Any = None
        self._lost: Callable[[], None] = lambda: None
        self._lost_proxy: Any = None

    async def acquire(self, owner: str, on_wait: Callable[[], None]) -> None:
        self._owner = owner
        module = (await modules()).tabs
        if not module.TabLock.isAvailable:
            raise StorageRefused(
                self._name, "this page has no Web Locks; they need https or localhost"
            )
        self._lost_proxy = create_proxy(lambda: self._lost())
        self._lock = module.TabLock.new(self._name, self._lost_proxy)
        waiting = create_proxy(on_wait)
        try:
            await self._lock.acquire(waiting)
        except JsException as error:
            self.release()
            raise StorageRefused(self._name, f"the Web Lock was refused: {error}") from error
        except BaseException:
            self.release()
            raise
        finally:
            waiting.destroy()

    def followed(self, is_followed: bool) -> None:
        if self._lock is not None:
            self._lock.isFollowed = is_followed

    def steal(self) -> None:
        if self._lock is not None:
            self._lock.steal()

    def ended(self, owners: Collection[str]) -> Iterator[str]:
        if self._lock is not None:
            yield from (owner for owner in owners if owner != self._owner)

    def on_lost(self, callback: Callable[[], None]) -> None:
        self._lost = callback

    def release(self, *, leaves_runs: bool = False) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            self._lost_proxy.destroy()


class TabChannel:
    """A BroadcastChannel (HTML Living Standard, 9.5), heard by every other tab and worker.

    It is closed while its page is in the back-forward cache: a message would throw the page out of
    there (Chromium 156).
    """

    def __init__(self, name: str) -> None:
        self._name = f"durably:{name}"
        self._callbacks: list[Callable[[str], None]] = []
        self._channel = js.BroadcastChannel.new(self._name)
        self._is_away = False
        self._proxy: Any = None  # only while somebody listens

    def post(self, message: str) -> None:
        if not self._is_away:
            self._channel.postMessage(message)

    def subscribe(self, callback: Callable[[str], None]) -> Unsubscribe:
        self._callbacks.append(callback)
        if self._proxy is None:
            self._proxy = create_proxy(self._receive)
            self._channel.onmessage = self._proxy
            js.addEventListener("pagehide", self._proxy)
            # Captured, so that it is open before the others who hear of it post something.
            js.addEventListener("pageshow", self._proxy, True)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
            if not self._callbacks:
                self._stop_listening()

        return unsubscribe

    def close(self) -> None:
        self._callbacks.clear()
        self._stop_listening()
        self._channel.close()

    def _stop_listening(self) -> None:
        if self._proxy is not None:
            self._channel.onmessage = None
            js.removeEventListener("pagehide", self._proxy)
            js.removeEventListener("pageshow", self._proxy, True)
            self._proxy.destroy()
            self._proxy = None

    def _receive(self, event: Any) -> None:
        if event.type == "pagehide":
            self._is_away = True
            self._channel.close()
        elif self._is_away:
            self._is_away = False
            self._channel = js.BroadcastChannel.new(self._name)
            self._channel.onmessage = self._proxy
        elif isinstance(getattr(event, "data", None), str):
            for callback in list(self._callbacks):
                callback(event.data)
