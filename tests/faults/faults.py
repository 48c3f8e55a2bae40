"""How each fault is caused: in a real Chromium, at one of its tabs or at all of them."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

from playwright.sync_api import CDPSession, Page, Playwright
from playwright.sync_api import Error as PlaywrightError

from tests.e2e.chromium import Chromium
from tests.faults.recorder import Recorder

STALL_MS = 400
"""How long a stalled store is held, at most."""
ROOM = 16 << 20
"""Bytes that the origin may store beyond what it has. Chromium lets a store use up what it was once
told that there is, so the quota is small all along."""
LOAD_TIMEOUT_MS = 20_000

# Keeps a transaction on the log open, with one request after the other: what others commit waits.
STALL = """
([name, milliseconds]) => new Promise((resolve) => {
  const opening = indexedDB.open(name);
  opening.onupgradeneeded = () => opening.transaction.abort();
  opening.onerror = () => resolve(false);
  opening.onsuccess = () => {
    const db = opening.result, until = performance.now() + milliseconds;
    const transaction = db.transaction(["log"], "readwrite");
    const ask = () => {
      const request = transaction.objectStore("log").count();
      request.onsuccess = () => { resolve(true); if (performance.now() < until) ask(); };
    };
    ask();
    transaction.oncomplete = transaction.onabort = () => db.close();
  };
})
"""

# Takes the lock from whoever holds it, and lets it go at once.
STEAL = "(name) => navigator.locks.request(name, { steal: true }, () => null)"

LOCKS = "() => navigator.locks.query()"

# The button that Chromium has for it, on its own page about IndexedDB.
FORCE_CLOSE = """
() => {
  const found = [];
  const look = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) look(element.shadowRoot);
      if (element.matches(".force-close")) found.push(element);
    }
  };
  look(document);
  for (const button of found) button.click();
  return found.length;
}
"""

# More than there is room for: then Chromium asks anew how much there is, and hears of the quota.
# Of noise, because large values are compressed.
ASK_FOR_ROOM = """
(bytes) => new Promise((resolve) => {
  const opening = indexedDB.open("filler");
  opening.onupgradeneeded = () => opening.result.createObjectStore("filler");
  opening.onerror = () => resolve(opening.error.name);
  opening.onsuccess = () => {
    const db = opening.result, transaction = db.transaction(["filler"], "readwrite");
    const content = new Uint8Array(bytes), noise = crypto.getRandomValues(new Uint8Array(65536));
    for (let at = 0; at < bytes; at += 65536) content.set(noise.subarray(0, bytes - at), at);
    transaction.objectStore("filler").put(content, 0);
    transaction.oncomplete = () => { db.close(); resolve("stored"); };
    transaction.onabort = () => { db.close(); resolve(transaction.error?.name ?? "aborted"); };
  };
})
"""

USAGE = "() => navigator.storage.estimate().then(({ usage }) => usage)"

DELETE = """
(name) => new Promise((resolve) => {
  const deleting = indexedDB.deleteDatabase(name);
  deleting.onsuccess = () => resolve("deleted");
  deleting.onerror = deleting.onblocked = (event) => resolve(event.type);
})
"""

# Every record and chunk, as they are stored, from one transaction.
DUMP = """
(name) => new Promise((resolve, reject) => {
  const opening = indexedDB.open(name);
  opening.onupgradeneeded = () => opening.transaction.abort();
  opening.onerror = () => resolve(null);
  opening.onsuccess = () => {
    const db = opening.result, stores = ["log", "chunks"], answer = {};
    const transaction = db.transaction(stores);
    for (const store of stores) {
      const keys = transaction.objectStore(store).getAllKeys();
      const values = transaction.objectStore(store).getAll();
      values.onsuccess = () => {
        answer[store] = values.result.map((value, i) => [keys.result[i], base64(value)]);
      };
    }
    transaction.oncomplete = () => { db.close(); resolve(answer); };
    transaction.onabort = () => { db.close(); reject(transaction.error); };
  };
  const base64 = (buffer) => {
    const bytes = new Uint8Array(buffer);
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) {
      text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    }
    return btoa(text);
  };
})
"""


class Tab:
    """One tab of the campaign: a page that is loaded anew after each of its deaths."""

    def __init__(self, name: str, thread: str) -> None:
        self.name = name
        self.thread = thread
        self.page: Page | None = None
        self.is_frozen = False
        self.has_crashed = False
        self.network: CDPSession | None = None

    @property
    def is_alive(self) -> bool:
        return self.page is not None and not self.page.is_closed() and not self.has_crashed


class Quota:
    """What an origin may store, set from a page of that origin."""

    def __init__(self, page: Page, origin: str, usage: int = 0) -> None:
        self._page = page
        self._origin = origin
        self.usage = usage
        """The most that was used: a browser that has just started does not know it yet."""
        self._cdp = page.context.new_cdp_session(page)

    def fill(self) -> str:
        """Nothing more can be stored; the answer is what a store says that tries."""
        self._set(1)
        answer: str = self._page.evaluate(ASK_FOR_ROOM, self.usage + ROOM + 1)
        return answer

    def make_room(self) -> None:
        """A little can be stored again."""
        self.usage = max(self.usage, int(self._page.evaluate(USAGE)))
        self._set(self.usage + ROOM)

    def _set(self, size_bytes: int) -> None:
        facts = {"origin": self._origin, "quotaSize": size_bytes}
        self._cdp.send("Storage.overrideQuotaForOrigin", facts)


class Browser:
    """The Chromium of the campaign, on one profile, with a page of the driver's own in it."""

    def __init__(self, playwright: Playwright, profile: object, recorder: Recorder) -> None:
        self._playwright = playwright
        self._profile = profile
        self._recorder = recorder
        self._origin = recorder.url
        self._open()

    def _open(self, usage: int = 0) -> None:
        self._chromium = Chromium.open(self._playwright, self._profile)
        self._outsider = self._chromium.page
        self._outsider.goto(f"{self._origin}/pages/blank.html")
        self.quota = Quota(self._outsider, self._origin, usage)
        self._internals = self._chromium.new_page()
        self.quota.make_room()

    # Tabs

    def load(self, tab: Tab) -> None:
        """Open the tab, or load it anew where it is open; its program starts by itself."""
        query = urlencode({"tab": tab.name, "thread": tab.thread})
        url = f"{self._origin}/faults/tab.html?{query}"
        if not tab.is_alive:
            tab.page = self._chromium.new_page()
            tab.has_crashed = tab.is_frozen = False
            tab.network = None
            tab.page.on("crash", lambda _: setattr(tab, "has_crashed", True))
        assert tab.page is not None
        tab.page.goto(url, wait_until="commit", timeout=LOAD_TIMEOUT_MS)

    def show(self, tab: Tab) -> None:
        assert tab.page is not None
        self._chromium.show(tab.page)

    def hide(self, tab: Tab) -> None:
        assert tab.page is not None
        self._chromium.hide(tab.page)

    def command(self, tab: Tab, what: dict[str, object]) -> None:
        if tab.is_alive:
            assert tab.page is not None
            with suppress(PlaywrightError):
                # A page that still loads asks the server for its plan.
                tab.page.evaluate("(what) => globalThis.command?.(what)", what)

    # Deaths

    def reload(self, tab: Tab) -> None:
        assert tab.page is not None
        tab.page.reload(wait_until="commit", timeout=LOAD_TIMEOUT_MS)

    def close_tab(self, tab: Tab) -> None:
        if tab.page is not None:
            tab.page.close()
        tab.page = None

    def crash(self, tab: Tab) -> None:
        assert tab.page is not None
        self._chromium.crash(tab.page)
        tab.has_crashed = True
        tab.page.close()

    def kill(self, tabs: list[Tab]) -> None:
        """SIGKILL; the browser is started again on its profile, and has no tab yet."""
        self._chromium.kill()
        for tab in tabs:
            tab.page = None
        self._open(self.quota.usage)

    def close(self) -> None:
        self._chromium.close()

    # States

    def freeze(self, tab: Tab) -> None:
        assert tab.page is not None
        self._chromium.freeze(tab.page)
        tab.is_frozen = True

    def thaw(self, tab: Tab) -> None:
        assert tab.page is not None
        self._chromium.thaw(tab.page)
        tab.is_frozen = False

    def take_offline(self, tab: Tab, is_offline: bool) -> None:
        """A page by the browser's emulation, which does not reach workers: there the server
        hangs up.

        A page keeps its own code, as an app that works offline does: here that has to be loaded.
        """
        if tab.thread == "worker":
            self._recorder.cut_off(tab.name, is_offline)
            return
        assert tab.page is not None
        with suppress(PlaywrightError):
            tab.page.wait_for_function("globalThis.isLoaded", timeout=LOAD_TIMEOUT_MS)
        if tab.network is None:
            tab.network = tab.page.context.new_cdp_session(tab.page)
            tab.network.send("Network.enable")
        # In one session: what another one has asked for stays as long as that one does.
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        tab.network.send("Network.emulateNetworkConditions", {"offline": is_offline, **conditions})

    # Moments

    def stall(self, database: str) -> None:
        self._outsider.evaluate(STALL, [f"durably:{database}", STALL_MS])

    def steal(self, database: str) -> None:
        self._outsider.evaluate(STEAL, f"durably:{database}")

    def locks(self) -> dict[str, object]:
        """Who holds the locks of the origin, and who waits for them."""
        answer: dict[str, object] = self._outsider.evaluate(LOCKS)
        return answer

    def force_close(self) -> int:
        """Close every connection to the origin's databases, as on an I/O error."""
        self._internals.goto("chrome://indexeddb-internals")
        closed = self._internals.wait_for_function(FORCE_CLOSE, timeout=5_000, polling=50)
        return int(closed.json_value())

    # What is stored

    def dump(self, database: str) -> dict[str, list[list[object]]] | None:
        answer: dict[str, list[list[object]]] | None = self._outsider.evaluate(
            DUMP, f"durably:{database}"
        )
        return answer

    def delete(self, database: str) -> str:
        answer: str = self._outsider.evaluate(DELETE, f"durably:{database}")
        return answer
