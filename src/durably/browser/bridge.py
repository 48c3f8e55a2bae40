"""Loads the JavaScript modules that ship in the wheel.

They are imported from a Blob, which needs a page that may use ``eval`` (Pyodide's ``run_js`` does).
Under a Content-Security-Policy that forbids it, the page serves the same files itself and registers
them before durably is opened:

    pyodide.registerJsModule("durably_js", { mirror, tabs });
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import js
from pyodide.code import run_js
from pyodide.ffi import JsException, to_js

REGISTERED = "durably_js"
MODULES = ("mirror", "tabs")

_loaded: list[Any] = []  # loaded once for each page, as `import` does


async def modules() -> Any:
    """The exports of ``js/mirror.js`` and ``js/tabs.js``, as ``mirror`` and ``tabs``.

    Raises RuntimeError where the page allows no way to them.
    """
    if not _loaded:
        _loaded.append(_registered() or await _import_from_blobs())
    return _loaded[0]


def _registered() -> Any:
    try:
        return import_module(REGISTERED)
    except ImportError:
        return None


async def _import_from_blobs() -> Any:
    urls = [_blob_url(Path(__file__).parent / "js" / f"{name}.js") for name in MODULES]
    try:
        # Together, because each crossing and each wait costs the start of a page milliseconds.
        load = run_js("async (urls) => Promise.all(urls.map((url) => import(url)))")
        mirror, tabs = await load(to_js(urls))
    except JsException as error:
        raise RuntimeError(
            f"This page does not let durably import the JavaScript of its wheel: {error}. Where a "
            "Content-Security-Policy forbids it, serve durably/browser/js from your own site and "
            f'call pyodide.registerJsModule("{REGISTERED}", {{ mirror, tabs }}) first.'
        ) from error
    finally:
        for url in urls:
            js.URL.revokeObjectURL(url)
    return SimpleNamespace(mirror=mirror, tabs=tabs)


def _blob_url(path: Path) -> str:
    parts = to_js([path.read_text(encoding="utf-8")])
    options = js.Object.fromEntries(to_js([["type", "text/javascript"]]))
    url: str = js.URL.createObjectURL(js.Blob.new(parts, options))
    return url
