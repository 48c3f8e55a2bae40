"""The compiled code of the package, kept from one load of a page to the next.

The site-packages of a tab lie in memory, so there is no ``__pycache__`` that lasts: each load
compiles the sources again, which is most of what a start costs. Here it outlives the page, in the
Cache API (W3C Service Workers, 5), as the one response of a URL that is never fetched. Python
itself finds out what is stale: the files are hash-based (PEP 552), so code of another source, or
for another Python, is compiled again. It is a cache: without it, or when the app throws it away, a
start takes longer, and that is all.
"""

from __future__ import annotations

import asyncio
import marshal
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path

import js
from pyodide.ffi import JsException, to_js

URL = "https://durably.invalid/__pycache__"
CACHE = "durably"
KEEPS_AFTER = 2.0
"""Seconds that a start has for itself before what it has imported is compiled once more."""

ROOT = Path(__file__).parent.parent
IS_CHECKED = b"\3\0\0\0"
"""The flags of a file that Python compares with its source."""

_keeping: list[asyncio.Task[None]] = []  # once for each page, as `import` does
_kept: dict[str, bytes] = {}
"""The compiled files that an earlier page has kept, by the path of the source in the package."""


async def restore() -> None:
    """Lay what an earlier page has kept where Python looks for it, and see to it that what this
    page imports from now on is kept in its turn. Raises nothing that stands in the way of a start.
    """
    if not _keeping:
        _keeping.append(asyncio.ensure_future(_keep(set(sys.modules))))
        # No Cache API, or none for this page; or it holds something else.
        with suppress(JsException, AttributeError, EOFError, OSError, TypeError, ValueError):
            response = await js.caches.match(URL)
            if response:
                _kept.update(marshal.loads((await response.arrayBuffer()).to_bytes()))
            _lay_out(_kept)


def _lay_out(files: dict[str, bytes]) -> None:
    for name, compiled in files.items():
        path = Path(cache_from_source(str(ROOT / name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compiled)


async def _keep(before: set[str]) -> None:
    await asyncio.sleep(KEEPS_AFTER)
    with suppress(JsException, AttributeError, OSError):
        await _keep_new(before)


async def _keep_new(before: set[str]) -> None:
    new = {}
    for source in _imported_since(before):
        name = str(source.relative_to(ROOT))
        if not _is_current(source, _kept.get(name, b"")):
            new[name] = _compiled(source)
            await asyncio.sleep(0)  # The page has its turn.
    if new:
        cache = await js.caches.open(CACHE)
        await cache.put(URL, js.Response.new(to_js(marshal.dumps(_kept | new))))


def _imported_since(before: set[str]) -> Iterator[Path]:
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{ROOT.name}.") and name not in before:
            yield Path(str(module.__file__))


def _is_current(source: Path, compiled: bytes) -> bool:
    return compiled.startswith(MAGIC_NUMBER + IS_CHECKED + source_hash(source.read_bytes()))


def _compiled(source: Path) -> bytes:
    import py_compile

    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    path = py_compile.compile(str(source), doraise=True, invalidation_mode=mode)
    return Path(str(path)).read_bytes()
