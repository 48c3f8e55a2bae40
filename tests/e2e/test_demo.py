"""The demo: what a person sees of an import that is reloaded, cancelled, or waits for its turn."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from scripts import demo
from scripts.demo import DemoServer
from tests.e2e.chromium import Chromium
from tests.e2e.conftest import OpenChromium

ROWS = 3_376
STORED = 3_364
ON_THE_MAP = 3_356
STEPS = 37
TIMEOUT_MS = 45_000

# Any address but the server's is unknown to this browser, in workers too.
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)

COUNT_STORED = """
async () => JSON.parse(await (await import("/web/demo/airport_store.js")).read_all()).length
"""

both_threads = pytest.mark.parametrize("thread", ["main", "worker"])


class Demo:
    """The demo in one tab, as a person uses it."""

    def __init__(self, page: Page, server: DemoServer, complaints: list[str]) -> None:
        self.page = page
        self._server = server
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda line: complaints.append(line.text) if line.type == "error" else None
        )
        page.on("request", lambda request: self._check(request, complaints))

    def open(self, thread: str = "main") -> None:
        self.page.goto(f"{self._server.url}/?thread={thread}")

    def start(self, pace: str = "Slow enough to watch") -> None:
        self.wait_for_status("ready", "completed", "cancelled")
        self.page.get_by_label("Pace").select_option(label=pace)
        self.page.get_by_role("button", name="Start").click()

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button).click()

    def wait_for_status(self, *statuses: str) -> None:
        wanted = ", ".join(f"#status[data-status={status}]" for status in statuses)
        self.page.wait_for_selector(wanted)

    def wait_for_mark(self, step: str, mark: str) -> None:
        self.page.wait_for_selector(f'[data-step="{step}"][data-mark="{mark}"]')

    def marked(self, mark: str) -> set[str]:
        """The names of the steps that are shown with a mark."""
        cells = self.page.locator(f"[data-step][data-mark={mark}]")
        return set(cells.evaluate_all("(cells) => cells.map((cell) => cell.dataset.step)"))

    def expect_all_rows(self) -> None:
        expect(self.page.locator("#progress-text")).to_have_text(
            f"{ROWS:,} rows: {STORED:,} stored, {ROWS - STORED} rejected"
        )
        expect(self.page.locator("#map")).to_have_attribute("data-dots", str(ON_THE_MAP))
        assert self.page.evaluate(COUNT_STORED) == STORED

    def _check(self, request: Request, complaints: list[str]) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("blob", "data") and address.hostname != "127.0.0.1":
            complaints.append(f"asked for {request.url}")


@pytest.fixture(scope="module")
def demo_server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def browser(open_chromium: OpenChromium) -> Chromium:
    return open_chromium(flags=OFFLINE)


@pytest.fixture
def open_demo(browser: Chromium, demo_server: DemoServer) -> Iterator[Callable[[], Demo]]:
    """Show the demo in a new tab. What a page complained about by the end of the test fails it."""
    complaints: list[str] = []
    yield lambda: Demo(browser.new_page(), demo_server, complaints)

    assert complaints == []


@both_threads
def test_reloaded_import_goes_on_from_its_checkpoints(
    open_demo: Callable[[], Demo], thread: str
) -> None:
    tab = open_demo()
    tab.open(thread)
    tab.start()
    tab.wait_for_mark("save-900", "ran")
    finished = tab.marked("ran")

    assert len(tab.page.workers) == (thread == "worker")

    tab.press("Reload this tab now")
    tab.wait_for_mark("save-900", "checkpoint")
    tab.wait_for_status("completed")

    assert finished <= tab.marked("checkpoint")
    assert len(tab.marked("checkpoint")) + len(tab.marked("ran")) == STEPS
    expect(tab.page.locator("#resumed")).to_have_text("1")
    expect(tab.page.locator("#notice")).to_contain_text("none of them ran again")
    expect(tab.page.locator("#bars li")).to_have_count(10)
    tab.expect_all_rows()


@both_threads
def test_cancelled_import_stops_and_can_be_started_over(
    open_demo: Callable[[], Demo], thread: str
) -> None:
    tab = open_demo()
    tab.open(thread)
    tab.start()
    tab.wait_for_mark("save-200", "ran")

    tab.press("Cancel")
    tab.wait_for_status("cancelled")

    assert tab.marked("running") == set()
    assert tab.page.evaluate(COUNT_STORED) < STORED

    tab.start(pace="Full speed")
    tab.wait_for_status("completed")

    assert len(tab.marked("ran")) == STEPS
    tab.expect_all_rows()


def test_completed_import_is_shown_again_after_a_reload(open_demo: Callable[[], Demo]) -> None:
    tab = open_demo()
    tab.open()
    tab.start(pace="Full speed")
    tab.wait_for_status("completed")

    tab.press("Reload this tab now")
    tab.wait_for_mark("summarise", "checkpoint")
    tab.wait_for_status("completed")

    assert len(tab.marked("checkpoint")) == STEPS
    expect(tab.page.locator("#bars li")).to_have_count(10)
    tab.expect_all_rows()


def test_second_tab_shows_the_import_of_the_first_and_goes_on_with_it(
    open_demo: Callable[[], Demo],
) -> None:
    first = open_demo()
    first.open()
    first.start()
    first.wait_for_mark("save-0", "ran")
    second = open_demo()
    second.open()
    second.wait_for_status("running")

    first.page.close()
    second.wait_for_mark("save-0", "checkpoint")
    second.wait_for_status("completed")

    second.expect_all_rows()


def test_taken_port_leads_to_the_next_one(demo_server: DemoServer) -> None:
    with demo.listen(demo_server.server_port) as other:
        assert other.server_port > demo_server.server_port


def test_no_browser_is_opened_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(demo.sys, "platform", "linux")
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("a browser was opened"))

    assert not demo.open_browser("http://127.0.0.1:8000/")
