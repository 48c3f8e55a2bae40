"""What a checkpoint costs and writes as the database grows, and what the page holds."""

from __future__ import annotations

import statistics

from bench.browser import Browser
from bench.report import Figure, Table, at_most

CLOCK_STEP = 0.1
MB = 1_000_000


def tables(browser: Browser) -> list[Table]:
    found = browser.result("checkpoints")
    times: dict[str, list[float]] = found["times"]
    return [cost(times), written(found), heap(browser)]


def cost(times: dict[str, list[float]]) -> Table:
    median = {name: statistics.median_grouped(values, CLOCK_STEP) for name, values in times.items()}
    mean = {name: statistics.fmean(values) for name, values in times.items()}
    return Table(
        "Cost of a checkpoint as the database grows",
        f"Three databases and a bare IndexedDB transaction of one record of 484 bytes, all in one "
        f"page, in turns of 50; {len(times['bare'])} of each. Means include folds.",
        [
            Figure("bare IndexedDB transaction, relaxed", f"{median['bare']:.2f} ms"),
            Figure("checkpoint, 100 steps in the database", f"{median['100']:.2f} ms"),
            Figure("checkpoint, 10,000 steps", f"{median['10000']:.2f} ms"),
            Figure("checkpoint, 100,000 steps", f"{median['100000']:.2f} ms"),
            at_most("checkpoint / bare", median["100"] / median["bare"], 1.5),
            Figure("checkpoint / bare, means", f"{mean['100'] / mean['bare']:.2f}"),
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
    (found,) = browser.loads("heap", 1)
    held = found["held"]
    return Table(
        "Heap with 100,000 steps in the database",
        "The page's WebAssembly memory, and its used JavaScript heap after a collection: with "
        f"durably imported, with the database open, and after {found['more']:,} steps more. "
        "SQLite's file lies in a buffer of its own.",
        [
            Figure("SQLite's file", f"{found['size_bytes'] / MB:.1f} MB"),
            *(
                Figure(f"{place}, {when}", f"{size / MB:.1f} MB")
                for when, sizes in held.items()
                for place, size in sizes.items()
            ),
        ],
    )
