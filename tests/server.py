"""The server of the browser tests: serves files, counts side effects, and holds its answers.

A step under test does something outside of the browser by posting to ``/effects/NAME``. What has
happened is recorded before it is answered, so a test can let the effect happen, keep the answer
back, and kill the browser while the step is exactly under way.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from scripts.static_server import PROJECT_MOUNTS, ROOT, StaticHandler, StaticServer

EFFECTS = "/effects"
PAGES = ROOT / "tests" / "e2e" / "pages"
DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that a step did to the world."""

    name: str
    body: object
    count: int
    """Which one of this name it was, from 1."""
    at: float
    """Seconds since the server started."""


class EffectServer:
    """A context manager; everything below may be called from any thread while it is entered."""

    def __init__(self, mounts: Mapping[str, Path] | None = None) -> None:
        pages = {"/pages/": PAGES}
        self._http = _EffectHTTPServer(self, PROJECT_MOUNTS | pages | dict(mounts or {}))
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._changed = threading.Condition()
        self._started = time.monotonic()
        self._effects: list[Effect] = []
        self._holds: dict[str, int] = {}
        self._held: Counter[str] = Counter()
        self._delays: dict[str, float] = {}
        self._failures: dict[str, tuple[int, int]] = {}
        self._closed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return self._http.url

    def effects(self, name: str | None = None) -> list[Effect]:
        """What has happened so far, in order; of one name, or all."""
        with self._changed:
            return [effect for effect in self._effects if name in (None, effect.name)]

    def wait_for(self, name: str, count: int = 1, timeout: float = DEFAULT_TIMEOUT) -> list[Effect]:
        """Wait until ``name`` has happened ``count`` times. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.effects(name)) >= count, timeout):
                seen = Counter(effect.name for effect in self._effects)
                raise TimeoutError(
                    f"{name!r} did not happen {count} times in {timeout} s; seen: {dict(seen)}"
                )
            return self.effects(name)

    def wait_until_held(self, name: str, count: int = 1, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Wait until ``count`` answers of ``name`` are being held back. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._held[name] >= count, timeout):
                raise TimeoutError(f"no answer of {name!r} was held in {timeout} s")

    def hold(self, name: str, *, after: int = 0) -> None:
        """Keep back the answers of ``name`` until ``release``; the first ``after`` are let go."""
        with self._changed:
            self._holds[name] = after

    def release(self, name: str) -> None:
        """Send the answers that are held, and hold no more."""
        with self._changed:
            self._holds.pop(name, None)
            self._changed.notify_all()

    def delay(self, name: str, seconds: float) -> None:
        """Answer ``name`` so much later."""
        with self._changed:
            self._delays[name] = seconds

    def fail(self, name: str, status: int = 500, *, times: int = 1) -> None:
        """Answer the next ``times`` posts with an error. They count as effects all the same."""
        with self._changed:
            self._failures[name] = (status, times)

    def set_headers(self, prefix: str, headers: Mapping[str, str]) -> None:
        """Add headers to every answer below a URL prefix, for example a content security policy."""
        self._http.extra_headers[prefix] = dict(headers)

    def reset(self) -> None:
        """Forget the effects and everything that was programmed; send what is held."""
        with self._changed:
            self._effects.clear()
            self._holds.clear()
            self._delays.clear()
            self._failures.clear()
            self._http.extra_headers.clear()
            self._changed.notify_all()

    def _happen(self, name: str, body: object) -> tuple[int, Effect]:
        """Record it, keep the answer back as programmed, and tell which status to answer with."""
        with self._changed:
            count = sum(effect.name == name for effect in self._effects) + 1
            effect = Effect(name, body, count, time.monotonic() - self._started)
            self._effects.append(effect)
            status, times = self._failures.get(name, (200, 0))
            if times == 0:
                status = 200
            else:
                self._failures[name] = (status, times - 1)
            held = count > self._holds.get(name, count)
            if held:
                self._held[name] += 1
            self._changed.notify_all()
            if held:
                self._changed.wait_for(lambda: self._closed or name not in self._holds)
                self._held[name] -= 1
            elif delay := self._delays.get(name):
                self._changed.wait_for(lambda: self._closed, delay)
        return status, effect


class _EffectHTTPServer(StaticServer):
    def __init__(self, owner: EffectServer, mounts: Mapping[str, Path]) -> None:
        self.owner = owner
        super().__init__(mounts, handler=_EffectHandler)


class _EffectHandler(StaticHandler):
    server: _EffectHTTPServer

    def do_GET(self) -> None:
        if urlsplit(self.path).path == EFFECTS:
            self.answer(200, [asdict(effect) for effect in self.server.owner.effects()])
        else:
            super().do_GET()

    def do_POST(self) -> None:
        body: object = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        prefix, _, name = unquote(urlsplit(self.path).path).rpartition("/")
        if prefix != EFFECTS or not name:
            self.answer(404, {"error": f"POST to {EFFECTS}/NAME"})
            return
        with contextlib.suppress(ValueError):
            body = json.loads(str(body))
        status, effect = self.server.owner._happen(name, body)
        self.answer(status, asdict(effect))

    def answer(self, status: int, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
