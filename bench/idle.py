"""The CPU time that pages with nothing to do use in a minute."""

from __future__ import annotations

import time

from playwright.sync_api import Page

from bench.browser import Browser
from bench.report import Figure, Table, at_most

SETTLING, LOADED, IDLE = 5.0, 20.0, 60.0
BUSY_MS = 1_500
BE_BUSY = "(ms) => { const end = performance.now() + ms; while (performance.now() < end); }"
LEADER = "durably, a leader"

Shares = dict[str, float]
"""In percent of one core, by page."""


def tables(browser: Browser) -> list[Table]:
    coji = browser.peer("coji")
    coji.ask("start 0")
    pages = {
        "a blank page": browser.blank(),
        "Pyodide alone": browser.program("idle", library="no").page,
        LEADER: browser.program("idle").page,
        f"{LEADER} in a worker": browser.program("idle", thread="worker").page,
        "@coji/durably over sqlocal": coji.page,
    }
    time.sleep(SETTLING)
    renderers = {name: renderer(browser, page) for name, page in pages.items()}
    assert len(set(renderers.values())) == len(pages), f"pages share a renderer: {renderers}"
    for page in pages.values():
        page.evaluate("gc()")  # What loading has left; else some pages collect it in the minute.
    time.sleep(SETTLING)
    loaded, idle = (shares(browser, renderers, seconds) for seconds in (LOADED, IDLE))
    for page in pages.values():
        page.close()
    return [
        Table(
            "CPU while idle for a minute",
            "CPU time of the page's renderer process (SystemInfo.getProcessInfo of the DevTools "
            f"protocol) over {IDLE:.0f} s, in percent of one core, in steps of 0.017. All "
            f"pages are visible, and idle at the same time. In the {LOADED:.0f} s before, the "
            "first after loading, the browser is still busy with what loading has left, also "
            "where nothing of durably is loaded.",
            [
                at_most(f"{LEADER}, %", idle.pop(LEADER), 0.1, "{:.3f}"),
                *(Figure(f"{name}, %", f"{percent:.3f}") for name, percent in idle.items()),
                *(
                    Figure(f"{name}, in the {LOADED:.0f} s before, %", f"{percent:.3f}")
                    for name, percent in loaded.items()
                ),
            ],
        )
    ]


def shares(browser: Browser, renderers: dict[str, int], seconds: float) -> Shares:
    """What each page uses in so many seconds from now on."""
    before, started = browser.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    after, elapsed = browser.cpu_seconds(), time.monotonic() - started
    return {name: 100 * (after[id_] - before[id_]) / elapsed for name, id_ in renderers.items()}


def renderer(browser: Browser, page: Page) -> int:
    """The process of a page: the one that uses CPU time while the page is kept busy."""
    before = browser.cpu_seconds()
    page.evaluate(BE_BUSY, BUSY_MS)
    after = browser.cpu_seconds()
    return max(after, key=lambda id_: after[id_] - before.get(id_, after[id_]))
