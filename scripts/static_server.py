"""A file server on the loopback address, for the tests and the demo."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
# Where a page finds what the build made, and the sources that are served as they are.
PROJECT_MOUNTS: Mapping[str, Path] = {
    "/pyodide/": ROOT / "build" / "pyodide",
    "/pyscript/": ROOT / "node_modules" / "@pyscript" / "core" / "dist",
    "/site/": ROOT / "build" / "site",
    "/web/": ROOT / "web",
    "/js/": ROOT / "src" / "durably" / "browser" / "js",
}
# Large, and the same for a whole run; everything else has to be fetched anew.
CACHED_PREFIXES = ("/pyodide/", "/pyscript/")


class StaticHandler(SimpleHTTPRequestHandler):
    """Serves the folders of its server's ``mounts``, and never lists one."""

    server: StaticServer
    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".mjs": "text/javascript; charset=utf-8",
        ".py": "text/plain; charset=utf-8",
        ".svg": "image/svg+xml",
        ".toml": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
        ".whl": "application/zip",
        ".zip": "application/zip",
    }

    def translate_path(self, path: str) -> str:
        url_path = unquote(urlsplit(path).path)
        for prefix, folder in self.server.mounts.items():
            if url_path.startswith(prefix):
                target = (folder / url_path.removeprefix(prefix)).resolve()
                if target.is_relative_to(folder.resolve()):
                    # The handler tells a folder by the slash at the end.
                    return f"{target}/" if url_path.endswith("/") else str(target)
        return str(ROOT / "no such file")

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def end_headers(self) -> None:
        url_path = urlsplit(self.path).path
        cached = url_path.startswith(self.server.cached_prefixes)
        answer = {"Cache-Control": "max-age=3600" if cached else "no-store"}
        for prefix, headers in self.server.extra_headers.items():
            if url_path.startswith(prefix):
                answer |= headers
        for name, value in answer.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: what failed is told by the page that asked for it."""


class StaticServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 only; port 0 takes a free one.

    ``mounts`` maps URL prefixes to folders. ``extra_headers`` maps URL prefixes to headers that
    every answer below them has, also instead of its own; it may be changed while the server runs.
    """

    daemon_threads = True
    block_on_close = False
    # Pyodide and the tests together ask for more at once than the standard backlog of 5 holds.
    request_queue_size = 128

    def __init__(
        self,
        mounts: Mapping[str, Path] = PROJECT_MOUNTS,
        *,
        port: int = 0,
        handler: type[StaticHandler] = StaticHandler,
        cached_prefixes: Sequence[str] = CACHED_PREFIXES,
    ) -> None:
        self.mounts = dict(mounts)
        self.cached_prefixes = tuple(cached_prefixes)
        self.extra_headers: dict[str, dict[str, str]] = {}
        super().__init__((LOOPBACK, port), handler)

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://{LOOPBACK}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A tab that was closed or killed hangs up in the middle of an answer; that is no fault.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
