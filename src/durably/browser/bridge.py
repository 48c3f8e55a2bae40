"""Loads the JavaScript modules that ship in the wheel.

They are imported from a Blob, which needs a page that may use ``eval`` (Pyodide's ``run_js`` does).
Under a Content-Security-Policy that forbids it, the page serves the same files itself and registers
them before durably is opened:

    pyodide.registerJsModule("durably_js", { mirror, tabs });
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import js
from pyodide.code import run_js
from pyodide.ffi import JsException, to_js

REGISTERED = "durably_js"

_loaded: dict[str, Any] = {}  # modules are loaded once for each page, as `import` does


async def load(module: str) -> Any:
    """The exports of ``js/<module>.js``. Raises RuntimeError where the page allows no way to it."""
    if module not in _loaded:
        registered = _registered()
        if registered is not None:
            _loaded[module] = getattr(registered, module)
        else:
            _loaded[module] = await _import_from_blob(module)
    return _loaded[module]


def _registered() -> Any:
    try:
        return import_module(REGISTERED)
    except ImportError:
        return None


async def _import_from_blob(module: str) -> Any:
    source = (Path(__file__).parent / "js" / f"{module}.js").read_text(encoding="utf-8")
    blob = js.Blob.new(to_js([source]), js.Object.fromEntries(to_js([["type", "text/javascript"]])))
    url = js.URL.createObjectURL(blob)
    try:
        return await run_js("(url) => import(url)")(url)
    except JsException as error:
        raise RuntimeError(
            f"This page does not let durably import {module}.js from its wheel: {error}. Where a "
            "Content-Security-Policy forbids it, serve durably/browser/js from your own site and "
            f'call pyodide.registerJsModule("{REGISTERED}", {{ mirror, tabs }}) first.'
        ) from error
    finally:
        js.URL.revokeObjectURL(url)
