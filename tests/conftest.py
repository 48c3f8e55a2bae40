"""Fixtures of the browser rings; the others, and the tests inside Pyodide, use none of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

    from tests.server import EffectServer


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The one Playwright of this process: a second one could not start beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def session_server() -> Iterator[EffectServer]:
    from tests.server import EffectServer

    with EffectServer() as running:
        yield running


@pytest.fixture
def server(session_server: EffectServer) -> Iterator[EffectServer]:
    """The test server, with no effects in it and nothing programmed."""
    session_server.reset()
    yield session_server
    session_server.reset()
