"""The outside server of the campaign: serves its pages, and writes down what they tell it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from scripts.static_server import PROJECT_MOUNTS, ROOT, StaticHandler, StaticServer

PAGES = ROOT / "tests" / "faults" / "pages"
BLANKS = ROOT / "tests" / "e2e" / "pages"

Line = dict[str, Any]


class Recorder:
    """A context manager; everything below may be called from any thread while it is entered."""

    def __init__(self, wheel: Path) -> None:
        mounts = PROJECT_MOUNTS | {"/faults/": PAGES, "/pages/": BLANKS, "/wheels/": wheel.parent}
        self._http = _Server(self, mounts, wheel)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._changed = threading.Condition()
        self._lines: list[Line] = []
        self._plan: Line | None = None
        self._cut_off: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return self._http.url

    def begin(self, plan: Line) -> None:
        """Forget what was told; the tabs that load from now on play ``plan``."""
        with self._changed:
            self._lines, self._plan = [], plan

    def end(self) -> None:
        """The tabs that load from now on wait until they are told what to do."""
        with self._changed:
            self._plan = None

    def lines(self, kind: str | None = None) -> list[Line]:
        with self._changed:
            return [line for line in self._lines if kind in (None, line["kind"])]

    def note(self, kind: str, **facts: object) -> None:
        """Write down what the driver itself does."""
        self._add([{"kind": kind, **facts}])

    def wait_until(self, holds: Callable[[list[Line]], bool], timeout: float) -> bool:
        """Wait until what was told has come so far; False where it has not in ``timeout`` s."""
        with self._changed:
            return self._changed.wait_for(lambda: holds(self._lines), timeout)

    def cut_off(self, tab: str, is_off: bool) -> None:
        """Hang up whenever this tab says something: it has no network."""
        with self._changed:
            (self._cut_off.add if is_off else self._cut_off.discard)(tab)

    def set_clock(self, milliseconds: float) -> None:
        """How much later the clocks of the tabs are that load from now on."""
        with self._changed:
            if self._plan is not None:
                self._plan = self._plan | {"clock": milliseconds}

    def _add(self, lines: list[Line]) -> bool:
        received = time.time() * 1000
        with self._changed:
            if any(line.get("tab") in self._cut_off for line in lines):
                return False
            self._lines += [{**line, "received": received} for line in lines]
            self._changed.notify_all()
        return True


class _Server(StaticServer):
    def __init__(self, owner: Recorder, mounts: dict[str, Path], wheel: Path) -> None:
        self.owner = owner
        self.wheel = wheel
        super().__init__(mounts, handler=_Handler)


class _Handler(StaticHandler):
    server: _Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/plan":
            self._answer(json.dumps(self.server.owner._plan).encode())
            return
        if path == "/wheel.whl":
            self.path = f"/wheels/{self.server.wheel.name}"
        super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.owner._add(json.loads(body)):
            self._answer(b"{}")
        else:
            self.close_connection = True

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
