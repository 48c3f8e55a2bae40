"""pytest-pyodide on the loopback address, in the Chromium that find_chromium finds."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from io import BytesIO

import pytest
from playwright.sync_api import Browser, Playwright
from pytest_pyodide import get_global_config
from pytest_pyodide.server import DefaultHandler

from scripts.find_chromium import find_chromium
from scripts.static_server import PROJECT_MOUNTS, StaticHandler, StaticServer
from tests.browser.inside import INNER_SUMMARY, MOUNTS
from tests.server import EffectServer

# The first page of a module loads Pyodide, and two of them may do so at once.
SCRIPT_TIMEOUT_S = 60

LOAD_PYODIDE = """
await import("/web/without_stack_switching.js");
let pyodide = await loadPyodide({ fullStdLib: false, jsglobals: self });
"""


class PytestPyodideHandler(StaticHandler):
    """Its pages and the Pyodide folder at the root, the project's folders where they always are."""

    def do_GET(self) -> None:
        page = DefaultHandler.default_templates.get(self.path)
        if page is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(self.path))
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.copyfile(BytesIO(page), self.wfile)


@pytest.fixture(scope="session")
def web_server_main(request: pytest.FixtureRequest) -> Iterator[tuple[str, int, None]]:
    """Replaces pytest-pyodide's own server, which listens on all interfaces."""
    # The order matters: the first prefix that fits is taken.
    mounts = {**PROJECT_MOUNTS, "/": request.config.option.dist_dir}
    with StaticServer(mounts, handler=PytestPyodideHandler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield "127.0.0.1", running.server_port, None
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium as Playwright starts it: pages are always visible, and nothing outlives it.

    Tests of visibility, of restarts and of crashes belong to tests/e2e.
    """
    flags = get_global_config().get_flags("chrome")
    if os.geteuid() == 0:
        flags = ["--no-sandbox", *flags]
    running = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
    yield running
    running.close()


@pytest.fixture(scope="session")
def playwright_browsers(browser: Browser) -> dict[str, Browser]:
    """Replaces pytest-pyodide's own, which starts Playwright's downloaded Chromium only."""
    from pytest_pyodide.runner import PlaywrightChromeRunner

    PlaywrightChromeRunner.script_timeout = SCRIPT_TIMEOUT_S
    return {"chrome": browser}


@pytest.fixture
def site(web_server_main: tuple[str, int, None]) -> str:
    """The URL under which the built wheel and its package index are served to these pages."""
    host, port, _ = web_server_main
    return f"http://{host}:{port}/site"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Of the server whose pages run the tests of tests/browser/inside.py."""
    with EffectServer(MOUNTS) as running:
        yield running.url


def pytest_configure() -> None:
    get_global_config().set_load_pyodide_script("chrome", LOAD_PYODIDE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Reports come from every process that pytest-xdist starts; a stash of the config does not.
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == INNER_SUMMARY:
                    terminalreporter.write_line(value)
