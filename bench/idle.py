"""What only takes waiting: the CPU time that pages with nothing to do use in a minute, and the
reload of a peer, which comes to its work when a lease has ended."""

from __future__ import annotations

import time

from playwright.sync_api import Page

from bench.browser import Browser, Contender
from bench.report import Figure, Table, at_most

SETTLING, LOADED, IDLE = 5.0, 20.0, 60.0
BUSY_MS = 1_000
BE_BUSY = "(ms) => { const end = performance.now() + ms; while (performance.now() < end); }"
LEADER = "durably, a leader"

Shares = dict[str, float]
"""In percent of one core, by page."""


def tables(browser: Browser) -> list[Table]:
    coji = browser.peer("coji", name="reload")
    begin_reload(coji)
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
    loaded = shares(browser, renderers, LOADED)
    reloaded = end_reload(coji)
    idle = shares(browser, renderers, IDLE)
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
        ),
        reloaded,
    ]


def begin_reload(coji: Contender) -> None:
    """Reload a page whose run has 20 finished steps and one under way."""
    coji.ask("resumed 20")
    coji.page.reload()
    coji.until_said("ready")
    coji.begin("resumed 0")


def end_reload(coji: Contender) -> Table:
    """Wait for the step that it resumes, and let the run end: then it has nothing to do."""
    total: float = coji.until_said("resumed 0")["total"]
    coji.ask("finish 0")
    return Table(
        "Reload to the first resumed step, @coji/durably over sqlocal",
        "One reload, with 20 finished steps and its defaults: the run is claimed when the lease of "
        "the page that was left has ended, which takes 30 s. The other pages of the table above "
        "were loaded meanwhile.",
        [Figure("in all", f"{total:,.0f} ms")],
    )


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
