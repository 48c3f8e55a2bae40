"""A Chromium of our own: real tabs that hide and freeze, a real profile, a real death.

Playwright's own launch keeps every page visible and focused, whatever the tab does; freezing such a
page does nothing and reports success. So Chromium is started here and only connected to, without
Playwright's defaults. Every verb below checks that the page really reached the state it names.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from playwright.sync_api import BrowserContext, CDPSession, Page, Playwright
from playwright.sync_api import Error as PlaywrightError

from scripts.find_chromium import find_chromium

START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0
STATE_TIMEOUT_MS = 5_000

FLAGS = (
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
    "--use-mock-keychain",
    "--remote-debugging-port=0",
)

UNTIL_VISIBILITY = """
([wanted, timeout]) => new Promise((resolve, reject) => {
  const check = () => {
    if (document.visibilityState !== wanted) return;
    document.removeEventListener("visibilitychange", check);
    resolve();
  };
  document.addEventListener("visibilitychange", check);
  setTimeout(() => reject(new Error(`the page is still not ${wanted}`)), timeout);
  check();
})
"""

COUNT_FREEZES = """
() => {
  if ("__freezes" in globalThis) return globalThis.__freezes;
  globalThis.__freezes = 0;
  document.addEventListener("freeze", () => { globalThis.__freezes += 1; });
  return 0;
}
"""


GARBAGE_ROUNDS = 2
A_TASK_LATER = "new Promise((resolve) => setTimeout(resolve))"
NOTE_RETURN = """
() => addEventListener("pageshow", ({ persisted }) => { globalThis.__returned = persisted; })
"""

COUNT_CLOSES = """
globalThis.__closes = 0;
const open = IDBFactory.prototype.open;
IDBFactory.prototype.open = function (...parameters) {
  const request = open.apply(this, parameters);
  request.addEventListener("success", () => {
    request.result.addEventListener("close", () => { globalThis.__closes += 1; });
  });
  return request;
};
"""


class Chromium:
    """One running browser on one profile folder. Made by ``Chromium.open``."""

    def __init__(self, process: subprocess.Popen[str], stderr: _Stderr) -> None:
        self._process = process
        self._stderr = stderr
        self._context: BrowserContext
        self._front: Page | None = None
        self._quota: CDPSession | None = None

    @classmethod
    def open(cls, playwright: Playwright, profile: Path, *, flags: Sequence[str] = ()) -> Self:
        """Start Chromium on ``profile``, which is made if it does not exist."""
        command = [find_chromium(), *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        if os.geteuid() == 0:
            # Chromium's sandbox does not start for root, which is what containers run as.
            command.insert(1, "--no-sandbox")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        browser = cls(process, _Stderr(process))
        try:
            endpoint = browser._stderr.endpoint()
            connection = playwright.chromium.connect_over_cdp(endpoint, no_defaults=True)
            # Pages of a new context would get Playwright's defaults again.
            browser._context = connection.contexts[0]
        except BaseException:
            browser.kill()
            raise
        return browser

    @property
    def page(self) -> Page:
        """The tab that was opened first."""
        return self._context.pages[0]

    def new_page(self, url: str | None = None) -> Page:
        """A new tab, in front of the others."""
        page = self._context.new_page()
        if url is not None:
            page.goto(url)
        return page

    def new_window(self, url: str) -> Page:
        """A tab in a window of its own, beside the others, which stay as visible as they are."""
        browser = self._context.browser
        assert browser is not None
        with self._context.expect_page() as opened:
            browser.new_browser_cdp_session().send(
                "Target.createTarget", {"url": "about:blank", "newWindow": True}
            )
        opened.value.goto(url)
        return opened.value

    def hide(self, page: Page) -> None:
        """Put another tab in front; returns when the page is hidden."""
        if self._front is None or self._front.is_closed():
            self._front = self._context.new_page()
        self._front.bring_to_front()
        page.evaluate(UNTIL_VISIBILITY, ["hidden", STATE_TIMEOUT_MS])

    def show(self, page: Page) -> None:
        """Bring the page to the front; returns when it is visible."""
        page.bring_to_front()
        page.evaluate(UNTIL_VISIBILITY, ["visible", STATE_TIMEOUT_MS])

    def freeze(self, page: Page) -> None:
        """Hide the page and freeze it; returns when its ``freeze`` event was dispatched."""
        # A page that is frozen while visible stays hidden for ever after it is thawed.
        self.hide(page)
        before = page.evaluate(COUNT_FREEZES)
        self._set_lifecycle(page, "frozen")
        assert page.evaluate(COUNT_FREEZES) == before + 1, "the page was not frozen"

    def thaw(self, page: Page) -> None:
        """Let a frozen page go on. It stays hidden until ``show``."""
        self._set_lifecycle(page, "active")

    @contextmanager
    def away(self, page: Page, url: str) -> Iterator[None]:
        """Lead the page to another one, and back again behind the block; the first page is in the
        back-forward cache meanwhile.
        """
        session = self._session(page)
        # What Pyodide has let go of runs a finalizer when it is collected, and Chromium keeps no
        # page that runs anything.
        for _ in range(GARBAGE_ROUNDS):
            session.send("HeapProfiler.collectGarbage")
            page.evaluate(A_TASK_LATER)
        refusals: list[object] = []
        session.send("Page.enable")
        session.on("Page.backForwardCacheNotUsed", lambda refusal: refusals.append(refusal))
        page.evaluate(NOTE_RETURN)
        page.goto(url)
        yield
        self.show(page)
        page.go_back(wait_until="commit")
        has_returned = page.evaluate("globalThis.__returned")
        session.detach()
        assert has_returned, f"Chromium did not keep the page: {refusals}"

    def limit_storage(self, origin: str, size_bytes: int | None) -> None:
        """Give an origin a quota; None for the usual one.

        Chromium believes a lower one before the origin's first write only. ``estimate()`` does not
        tell of it.
        """
        if self._quota is None:
            self._quota = self._session(self.page)  # The quota ends with its session.
        size = {} if size_bytes is None else {"quotaSize": size_bytes}
        self._quota.send("Storage.overrideQuotaForOrigin", {"origin": origin, **size})

    def clear_storage(self, origin: str) -> None:
        """Clear the databases of an origin, as a user does in the settings."""
        session = self._session(self.page)
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "indexeddb"})
        session.detach()

    def close_databases(self, page: Page) -> None:
        """Let the browser close every connection to IndexedDB, as it does after a fault of its own;
        returns when ``page`` was told."""
        before = page.evaluate("globalThis.__closes")
        internals = self.new_page("chrome://indexeddb-internals")
        internals.get_by_text("Force close").click()
        page.wait_for_function(
            "before => globalThis.__closes > before",
            arg=before,
            timeout=STATE_TIMEOUT_MS,
            polling=20,
        )
        internals.close()

    def watch_closes(self, page: Page) -> None:
        """Count how often the browser closes a connection of the documents that the page opens."""
        page.add_init_script(COUNT_CLOSES)

    def keep_storage(self, origin: str) -> None:
        """Say yes, as its user, when a page asks to keep its data."""
        permission = {"permission": {"name": "persistent-storage"}, "setting": "granted"}
        browser = self._context.browser
        assert browser is not None
        browser.new_browser_cdp_session().send(
            "Browser.setPermission", permission | {"origin": origin}
        )

    def crash(self, page: Page) -> None:
        """End the page's renderer. The page is of no use afterwards; open a new one."""
        # The address is not a place to go: the renderer that is told to go there ends at once. (The
        # command Page.crash does the same, but its answer never comes.)
        with page.expect_event("crash"), suppress(PlaywrightError):
            page.goto("chrome://crash")

    def kill(self) -> None:
        """SIGKILL the browser process that was started here, and wait until it is gone."""
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)
        self._stderr.join()

    def close(self) -> None:
        """Quit as a user would. Does nothing when the browser is gone already."""
        if self._process.poll() is not None:
            return
        browser = self._context.browser
        assert browser is not None
        browser.new_browser_cdp_session().send("Browser.close")
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._stderr.join()

    def _set_lifecycle(self, page: Page, state: str) -> None:
        session = self._session(page)
        session.send("Page.setWebLifecycleState", {"state": state})
        session.detach()

    def _session(self, page: Page) -> CDPSession:
        return self._context.new_cdp_session(page)


class _Stderr:
    """Reads what Chromium prints: the address of its DevTools, and the last lines for an error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._known = threading.Event()
        self._endpoint: str | None = None
        self._tail: deque[str] = deque(maxlen=20)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def endpoint(self) -> str:
        if not self._known.wait(START_TIMEOUT) or self._endpoint is None:
            said = "".join(self._tail) or "it printed nothing"
            raise RuntimeError(f"Chromium did not start: {said}")
        return self._endpoint

    def join(self) -> None:
        # The crash handler may hold the pipe a little longer than the browser lives.
        self._thread.join(STOP_TIMEOUT)

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._tail.append(line)
                if match := re.search(r"DevTools listening on (ws:\S+)", line):
                    self._endpoint = match[1]
                    self._known.set()
        self._known.set()
