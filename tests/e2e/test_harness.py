"""The harness does what it says. Tests built on one that did not would pass and prove nothing."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import Chromium
from tests.e2e.conftest import OpenChromium
from tests.server import EffectServer

BLANK = "/pages/blank.html"

COUNT_TICKS = "() => { globalThis.ticks = 0; setInterval(() => { ticks += 1; }, 20); }"

# Resolves after the transaction is complete: only then has IndexedDB promised anything.
STORE = """
(value) => new Promise((resolve, reject) => {
  const opening = indexedDB.open("harness", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("values");
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const transaction = opening.result.transaction("values", "readwrite");
    transaction.objectStore("values").put(value, "key");
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  };
})
"""

LOAD = """
() => new Promise((resolve, reject) => {
  const opening = indexedDB.open("harness", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("values");
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const request = opening.result.transaction("values").objectStore("values").get("key");
    request.onsuccess = () => resolve(request.result ?? null);
    request.onerror = () => reject(request.error);
  };
})
"""


def ticks_after(page: Page, observer: Page, milliseconds: int) -> tuple[int, int]:
    """The page's tick count now, and when the time has passed on another page's clock."""
    before = page.evaluate("ticks")
    observer.evaluate(f"new Promise((resolve) => setTimeout(resolve, {milliseconds}))")
    return before, page.evaluate("ticks")


def post(url: str, body: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body.encode())) as answer:
        answer.read()


def test_page_behind_another_tab_is_hidden_until_it_is_shown(
    chromium: Chromium, server: EffectServer
) -> None:
    page = chromium.page
    page.goto(server.url + BLANK)

    assert page.evaluate("document.visibilityState") == "visible"

    chromium.hide(page)

    assert page.evaluate("document.visibilityState") == "hidden"

    chromium.show(page)

    assert page.evaluate("document.visibilityState") == "visible"


def test_timers_of_a_frozen_page_stand_still_until_it_is_thawed(
    chromium: Chromium, server: EffectServer
) -> None:
    page = chromium.page
    page.goto(server.url + BLANK)
    page.evaluate(COUNT_TICKS)
    observer = chromium.new_page(server.url + BLANK)

    before, after = ticks_after(page, observer, 1_500)

    assert after > before

    chromium.freeze(page)
    observer.bring_to_front()
    before, after = ticks_after(page, observer, 1_500)

    assert after == before

    chromium.thaw(page)
    chromium.show(page)
    page.wait_for_function("(before) => ticks > before", arg=before)


def test_frozen_page_can_be_frozen_again(chromium: Chromium, server: EffectServer) -> None:
    page = chromium.page
    page.goto(server.url + BLANK)

    for _ in range(2):
        chromium.freeze(page)
        chromium.thaw(page)
        chromium.show(page)

    assert page.evaluate("document.visibilityState") == "visible"


def test_indexeddb_survives_a_killed_browser(
    open_chromium: OpenChromium, server: EffectServer
) -> None:
    first = open_chromium()
    first.page.goto(server.url + BLANK)
    first.page.evaluate(STORE, "kept")
    first.kill()

    second = open_chromium()
    second.page.goto(server.url + BLANK)

    assert second.page.evaluate(LOAD) == "kept"


def test_indexeddb_survives_a_closed_browser(
    open_chromium: OpenChromium, server: EffectServer
) -> None:
    first = open_chromium()
    first.page.goto(server.url + BLANK)
    first.page.evaluate(STORE, "kept")
    first.close()

    second = open_chromium()
    second.page.goto(server.url + BLANK)

    assert second.page.evaluate(LOAD) == "kept"


def test_crashed_page_leaves_the_other_tabs_alive(chromium: Chromium, server: EffectServer) -> None:
    page = chromium.page
    page.goto(server.url + BLANK)
    other = chromium.new_page(server.url + BLANK)

    chromium.crash(page)

    assert other.evaluate("1 + 1") == 2


def test_held_answer_arrives_only_when_it_is_released(
    chromium: Chromium, server: EffectServer
) -> None:
    page = chromium.page
    page.goto(server.url + BLANK)
    server.hold("save")
    page.evaluate(
        """() => {
          globalThis.answer = null;
          fetch("/effects/save", { method: "POST", body: '{"order": 7}' })
            .then((response) => response.json())
            .then((body) => { globalThis.answer = body; });
        }"""
    )
    server.wait_until_held("save")
    # A second request that is answered in the meantime shows that the server is not merely slow.
    page.evaluate("fetch('/effects/other', { method: 'POST' }).then((response) => response.text())")

    assert [effect.body for effect in server.effects("save")] == [{"order": 7}]
    assert page.evaluate("answer") is None

    server.release("save")
    page.wait_for_function("answer !== null")

    assert page.evaluate("answer.count") == 1


def test_effect_counts_even_if_the_browser_dies_before_the_answer(
    chromium: Chromium, server: EffectServer
) -> None:
    chromium.page.goto(server.url + BLANK)
    server.hold("save")
    chromium.page.evaluate("void fetch('/effects/save', { method: 'POST' })")
    server.wait_until_held("save")

    chromium.kill()

    assert len(server.effects("save")) == 1


def test_failing_answers_are_counted_and_end(server: EffectServer) -> None:
    server.fail("save", 503, times=1)

    with pytest.raises(urllib.error.HTTPError, match="503"):
        post(f"{server.url}/effects/save", "1")
    post(f"{server.url}/effects/save", "2")

    assert [effect.body for effect in server.effects("save")] == [1, 2]


def test_hold_after_lets_the_first_answers_go(server: EffectServer) -> None:
    server.hold("save", after=1)

    post(f"{server.url}/effects/save", "1")
    second = threading.Thread(target=post, args=(f"{server.url}/effects/save", "2"))
    second.start()
    server.wait_until_held("save")
    server.release("save")
    second.join()

    assert [effect.count for effect in server.effects("save")] == [1, 2]


def test_waiting_for_what_does_not_happen_says_what_did(server: EffectServer) -> None:
    post(f"{server.url}/effects/save", "")

    with pytest.raises(TimeoutError, match=r"'load' did not happen 1 times.*\{'save': 1\}"):
        server.wait_for("load", timeout=0.01)


def test_headers_are_added_below_their_prefix_only(server: EffectServer) -> None:
    server.set_headers("/pages/", {"Content-Security-Policy": "default-src 'none'"})

    with urllib.request.urlopen(server.url + BLANK) as page:
        assert page.headers["Content-Security-Policy"] == "default-src 'none'"
    with urllib.request.urlopen(f"{server.url}/effects") as effects:
        assert effects.headers["Content-Security-Policy"] is None


@pytest.mark.parametrize(
    "path", ["/pages/../conftest.py", "/pages/%2e%2e/conftest.py", "/", "/pages/"]
)
def test_nothing_outside_the_mounts_is_served(server: EffectServer, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(server.url + path)
