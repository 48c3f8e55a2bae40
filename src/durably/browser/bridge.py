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

from pyodide.code import run_js
from pyodide.ffi import JsException, to_js

REGISTERED = "durably_js"
MODULES = ("mirror", "tabs")
# All of it in one crossing, because each one costs the start of a page a part of a millisecond.
IMPORT_FROM_BLOBS = """(sources) => Promise.all(sources.map(async (source) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}))"""

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
    folder = Path(__file__).parent / "js"
    sources = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in MODULES]
    try:
        mirror, tabs = await run_js(IMPORT_FROM_BLOBS)(to_js(sources))
    except JsException as error:
        raise RuntimeError(
            f"This page does not let durably import the JavaScript of its wheel: {error}. Where a "
            "Content-Security-Policy forbids it, serve durably/browser/js from your own site and "
            f'call pyodide.registerJsModule("{REGISTERED}", {{ mirror, tabs }}) first.'
        ) from error
    return SimpleNamespace(mirror=mirror, tabs=tabs)
