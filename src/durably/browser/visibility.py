"""Whether a person can see the page.

A page reads its document (HTML Living Standard, page visibility; WICG Page Lifecycle for freeze and
resume). A web worker has no document: the page forwards what it sees, with
``web/forward_visibility.js``. A SharedWorker counts as visible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import js
from pyodide.ffi import create_proxy, to_js

from ..ports import Unsubscribe, Visibility, VisibilitySignal


def page_visibility() -> Visibility:
    """The visibility of the page that this interpreter runs in, or that runs this worker."""
    return DocumentVisibility() if hasattr(js, "document") else ForwardedVisibility()


class _Subscribers:
    """Listens to the browser while somebody listens here."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[VisibilitySignal], None]] = []
        self._proxy: Any = None

    def subscribe(self, callback: Callable[[VisibilitySignal], None]) -> Unsubscribe:
        self._callbacks.append(callback)
        if self._proxy is None:
            self._proxy = create_proxy(self._receive)
            self._listen(self._proxy)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
            if not self._callbacks and self._proxy is not None:
                self._stop_listening(self._proxy)
                self._proxy.destroy()
                self._proxy = None

        return unsubscribe

    def _tell(self, signal: VisibilitySignal) -> None:
        for callback in list(self._callbacks):
            callback(signal)

    def _receive(self, event: Any) -> None:
        raise NotImplementedError

    def _listen(self, proxy: Any) -> None:
        raise NotImplementedError

    def _stop_listening(self, proxy: Any) -> None:
        raise NotImplementedError


class DocumentVisibility(_Subscribers):
    """The visibility of this page's own document."""

    EVENTS = ("visibilitychange", "freeze", "resume")

    @property
    def is_visible(self) -> bool:
        return str(js.document.visibilityState) == "visible"

    def _receive(self, event: Any) -> None:
        kind = str(event.type)
        if kind == "visibilitychange":
            self._tell("visible" if self.is_visible else "hidden")
        else:
            self._tell("freeze" if kind == "freeze" else "resume")

    def _listen(self, proxy: Any) -> None:
        for name in self.EVENTS:
            js.document.addEventListener(name, proxy)
        # A page that comes back from the back-forward cache was not told otherwise.
        js.addEventListener("pageshow", proxy)

    def _stop_listening(self, proxy: Any) -> None:
        for name in self.EVENTS:
            js.document.removeEventListener(name, proxy)
        js.removeEventListener("pageshow", proxy)


class ForwardedVisibility(_Subscribers):
    """What the page of this worker forwards; visible until it says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.is_visible = True

    def _receive(self, event: Any) -> None:
        data = event.data
        if getattr(data, "durably", None) != "visibility":
            return
        self.is_visible = bool(data.isVisible)
        self._tell(cast(VisibilitySignal, str(data.signal)))

    def _listen(self, proxy: Any) -> None:
        js.addEventListener("message", proxy)
        # The page may have forwarded its state before anybody listened. A SharedWorker belongs to
        # many pages, and asks none.
        if hasattr(js, "postMessage"):
            js.postMessage(js.Object.fromEntries(to_js([["durably", "visibility?"]])))

    def _stop_listening(self, proxy: Any) -> None:
        js.removeEventListener("message", proxy)
