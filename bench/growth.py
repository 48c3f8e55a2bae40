"""What a checkpoint costs and writes as the database grows, and what the page holds."""

from __future__ import annotations

import statistics

from bench.browser import Browser
from bench.report import Figure, Table, at_most

CLOCK_STEP = 0.1
MB = 1_000_000


def tables(browser: Browser) -> list[Table]:
    found = browser.result("checkpoints", sizes="100,10000,100000")
    # An empty option is none.
    ordinary = browser.result("checkpoints", sizes="100", stack_switching="")
    return [cost(found["times"], ordinary["times"]), written(found), heap(browser)]


Times = dict[str, list[float]]


def medians(times: Times) -> dict[str, float]:
    return {name: statistics.median_grouped(values, CLOCK_STEP) for name, values in times.items()}


def cost(times: Times, ordinary: Times) -> Table:
    median, on_ordinary = medians(times), medians(ordinary)
    mean = {name: statistics.fmean(values) for name, values in times.items()}
    return Table(
        "Cost of a checkpoint as the database grows",
        f"Three databases and a bare IndexedDB transaction of one record of 484 bytes, all in one "
        f"page, in turns of 50; {len(times['bare'])} of each. Means include folds. Pyodide may "
        "switch stacks here, as in most pages (JSPI): each call from JavaScript that could come to "
        "`run_sync` has a stack of its own then. The ordinary stack is that of another page, with "
        "`web/without_stack_switching.js`.",
        [
            Figure("bare IndexedDB transaction, relaxed", f"{median['bare']:.2f} ms"),
            Figure("checkpoint, 100 steps in the database", f"{median['100']:.2f} ms"),
            Figure("checkpoint, 10,000 steps", f"{median['10000']:.2f} ms"),
            Figure("checkpoint, 100,000 steps", f"{median['100000']:.2f} ms"),
            at_most("checkpoint / bare", median["100"] / median["bare"], 1.5),
            Figure("checkpoint / bare, means", f"{mean['100'] / mean['bare']:.2f}"),
            at_most(
                "checkpoint / bare, on the ordinary stack",
                on_ordinary["100"] / on_ordinary["bare"],
                1.5,
            ),
            at_most("10,000 steps / 100", median["10000"] / median["100"], 1.2),
            at_most("100,000 steps / 100", median["100000"] / median["100"], 1.2),
            Figure("100,000 steps / 100, means", f"{mean['100000'] / mean['100']:.2f}"),
        ],
    )


def written(found: dict[str, object]) -> Table:
    """What went through ``IDBObjectStore.add`` in a run of small steps."""
    writes: list[tuple[str, int, int]] = found["writes"]  # type: ignore[assignment]
    steps: int = found["steps"]  # type: ignore[assignment]
    log = [(size, pages) for store, size, pages in writes if store == "log"]
    folded = sum(size for store, size, _ in writes if store == "chunks")
    pages = [pages for _, pages in log]
    return Table(
        "Written per checkpoint",
        f"Counted at IndexedDB's door in a run of {steps} small steps, its trigger, claim and "
        f"completion included: {len(log)} records, and what they were folded into.",
        [
            at_most("pages, median", statistics.median(pages), 3, "{:.0f}"),
            Figure("pages, mean", f"{sum(pages) / steps:.2f}"),
            Figure("bytes in the log, median", f"{statistics.median(s for s, _ in log):,.0f}"),
            Figure("bytes in the log, mean", f"{sum(size for size, _ in log) / steps:,.0f}"),
            Figure("bytes with folds, mean", f"{(sum(s for s, _ in log) + folded) / steps:,.0f}"),
            Figure("records a checkpoint", f"{len(log) / steps:.2f}"),
        ],
    )


def heap(browser: Browser) -> Table:
    found = browser.result("heap")
    held = found["held"]
    return Table(
        "Heap while 100,000 steps are executed",
        "The page's WebAssembly memory, and its used JavaScript heap after a collection: with "
        "durably imported, with the database open, and after so many steps in the same page, of "
        f"{found['together']} runs at a time. SQLite's file lies in a buffer of its own.",
        [
            Figure("SQLite's file", f"{found['size_bytes'] / MB:.1f} MB"),
            *(
                Figure(f"{place}, {when}", f"{size / MB:.1f} MB")
                for when, sizes in held.items()
                for place, size in sizes.items()
            ),
        ],
    )
