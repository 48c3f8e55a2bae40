"""Fixtures of the tests that drive a Chromium of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from tests.e2e.chromium import Chromium

OpenChromium = Callable[..., Chromium]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The folder where a browser keeps what outlives it, IndexedDB among it."""
    return tmp_path / "profile"


@pytest.fixture(scope="session")
def http_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everybody's HTTP cache, and of the code of Pyodide that Chromium has compiled:
    half of what a page costs that loads it first. What a page stores is in the profile."""
    return tmp_path_factory.mktemp("http-cache")


@pytest.fixture
def open_chromium(
    playwright: Playwright, profile: Path, http_cache: Path
) -> Iterator[OpenChromium]:
    """Start a browser, by default on this test's profile; those still running are closed."""
    with ExitStack() as running:

        def open_one(folder: Path = profile, *, flags: tuple[str, ...] = ()) -> Chromium:
            flags = (*flags, f"--disk-cache-dir={http_cache}")
            browser = Chromium.open(playwright, folder, flags=flags)
            running.callback(browser.close)
            return browser

        yield open_one


@pytest.fixture
def chromium(open_chromium: OpenChromium) -> Chromium:
    """One browser, with one blank tab."""
    return open_chromium()
