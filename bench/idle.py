"""The CPU time that pages with nothing to do use in a minute."""

from __future__ import annotations

import time

from playwright.sync_api import Page

from bench.browser import Browser
from bench.report import Figure, Table, at_most

SETTLING, MEASURED = 5.0, 60.0
BUSY_MS = 1_500
BE_BUSY = "(ms) => { const end = performance.now() + ms; while (performance.now() < end); }"


def tables(browser: Browser) -> list[Table]:
    coji = browser.peer("coji", is_isolated=True)
    coji.ask("start 0")
    pages = {
        "a blank page": browser.blank(),
        "Pyodide alone": browser.program("idle", library="no").page,
        "durably, a leader": browser.program("idle").page,
        "durably, a leader in a worker": browser.program("idle", thread="worker").page,
        "@coji/durably over sqlocal": coji.page,
    }
    time.sleep(SETTLING)
    renderers = {name: renderer(browser, page) for name, page in pages.items()}
    assert len(set(renderers.values())) == len(pages), f"pages share a renderer: {renderers}"
    for page in pages.values():
        page.evaluate("gc()")  # What loading has left; else some pages collect it in the minute.
    time.sleep(SETTLING)
    before, started = browser.cpu_seconds(), time.monotonic()
    time.sleep(MEASURED)
    after, elapsed = browser.cpu_seconds(), time.monotonic() - started
    share = {name: 100 * (after[id_] - before[id_]) / elapsed for name, id_ in renderers.items()}
    for page in pages.values():
        page.close()
    return [
        Table(
            "CPU while idle for a minute",
            "CPU time of the page's renderer process (SystemInfo.getProcessInfo of the DevTools "
            f"protocol) over {elapsed:.0f} s, in percent of one core, in steps of 0.017. All pages "
            "are visible, and idle at the same time; what loading has left in their heaps was "
            "collected before.",
            [
                at_most("durably, a leader, %", share.pop("durably, a leader"), 0.1, "{:.3f}"),
                *(Figure(f"{name}, %", f"{percent:.3f}") for name, percent in share.items()),
            ],
        )
    ]


def renderer(browser: Browser, page: Page) -> int:
    """The process of a page: the one that uses CPU time while the page is kept busy."""
    before = browser.cpu_seconds()
    page.evaluate(BE_BUSY, BUSY_MS)
    after = browser.cpu_seconds()
    return max(after, key=lambda id_: after[id_] - before.get(id_, after[id_]))
