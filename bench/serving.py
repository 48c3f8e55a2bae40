"""The server of the benchmarks: the tests' pages, the programs, and the peers' npm packages.

The peers run as they come from npm, without a bundler. An import map would name their packages in
a page, but not in a worker, and ``sqlocal`` works in one; so the names are written out here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.static_server import PROJECT_MOUNTS, ROOT, StaticHandler, StaticServer
from tests.server import PAGES

BENCH = Path(__file__).parent
MODULES = "/node_modules/"
MOUNTS = {
    "/pages/": PAGES,
    "/bench/": BENCH,
    MODULES: ROOT / "node_modules",
}
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""What SQLite's OPFS wants of a page, and of each worker. All pages get them, also those that need
none: the clock of such a page goes in steps of 5 µs, and of 100 elsewhere."""
ENTRY_POINTS = {
    "@coji/durably": "@coji/durably/dist/index.js",
    "@sqlite.org/sqlite-wasm": "@sqlite.org/sqlite-wasm/dist/index.mjs",
    "coincident": "sqlocal/node_modules/coincident/esm/index.js",
    "kysely": "kysely/dist/esm/index.js",
    "layerr": "layerr/dist/index.js",
    "proxy-target/types": "proxy-target/esm/types.js",
    "proxy-target/traps": "proxy-target/esm/traps.js",
    "sqlocal/kysely": "sqlocal/dist/kysely/index.js",
    "ulidx": "ulidx/dist/browser/index.js",
    "zod": "zod/index.js",
}
IMPORT = re.compile(r"""(\bfrom\s*|\bimport\s*\(?\s*)(["'])([^"'.][^"']*)\2""")


@contextmanager
def served() -> Iterator[str]:
    """The URL of the server, without a slash at the end."""
    server = StaticServer(
        {**PROJECT_MOUNTS, **MOUNTS},
        handler=Handler,
        cached_prefixes=("/pyodide/", MODULES),
    )
    server.extra_headers |= {"/": ISOLATED}
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(StaticHandler):
    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not (path.suffix in (".js", ".mjs") and path.is_file() and self.is_of_a_peer()):
            super().do_GET()
            return
        content = IMPORT.sub(written_out, path.read_text()).encode()
        self.send_response(200)
        self.send_header("Content-Type", self.extensions_map[".js"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def is_of_a_peer(self) -> bool:
        return self.path.startswith((MODULES, "/bench/peers/"))


def written_out(found: re.Match[str]) -> str:
    keyword, quote, name = found.groups()
    entry = ENTRY_POINTS.get(name)
    return found[0] if entry is None else f"{keyword}{quote}{MODULES}{entry}{quote}"
