"""These tests run inside a browser only, started by tests/browser/test_ports_in_browser.py.

The host collects them, to know how many have to run there.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import MagicMock

import pytest

IN_BROWSER = sys.platform == "emscripten"
if not IN_BROWSER:
    for name in ("js", "pyodide", "pyodide.code", "pyodide.ffi", "pyodide_js"):
        sys.modules[name] = MagicMock()

_names = itertools.count(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not IN_BROWSER:
        pytest.fail("This runs inside a browser: python -m pytest tests/browser", pytrace=False)


@pytest.fixture
def name() -> str:
    """The name of a database that no other test uses."""
    return f"port-{next(_names)}"


@pytest.fixture(autouse=True)
async def leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Fail a test after which a connection, a proxy or a file of the library is still there."""
    from tests.in_browser.page import Proxies, outside

    world = await outside()
    proxies = Proxies(monkeypatch)
    before = world.openConnections(), files()
    yield
    world.endFaults()
    assert proxies.alive() == []
    assert (world.openConnections(), files()) == before


def files() -> set[Path]:
    """The SQLite files in this page's memory."""
    return set(Path("/durably").glob("*"))
