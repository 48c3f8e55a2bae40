"""What a checkpoint costs and writes as the database grows, and what the page holds."""

from __future__ import annotations

import statistics
from collections import defaultdict

from bench.browser import Browser
from bench.report import Figure, Table, at_most
from bench.times import Times, medians

PAIRS = 4
MB = 1_000_000


def tables(browser: Browser) -> list[Table]:
    switched: Times = defaultdict(list)
    first: Times = defaultdict(list)
    ordinary: Times = defaultdict(list)
    for _ in range(PAIRS):
        # An empty option is none.
        for times, stack_switching in ((switched, "yes"), (ordinary, "")):
            found = browser.result("checkpoints", sizes="100", stack_switching=stack_switching)
            for name in ("bare", "100"):
                times[name] += found["times"][name]
                if times is switched:
                    first[name] += found["first"][name]
    grown = browser.result("checkpoints", sizes="100,10000,100000")
    beside = beside_bare(switched, ordinary, first)
    return [beside, growth(grown["times"]), written(grown), heap(browser)]


def beside_bare(switched: Times, ordinary: Times, first: Times) -> Table:
    median, on_ordinary, at_first = medians(switched), medians(ordinary), medians(first)
    return Table(
        "A checkpoint beside a bare IndexedDB transaction",
        "Of one record of 484 bytes, which is what a checkpoint adds; 100 steps in the database at "
        "first. "
        f"{len(switched['bare'])} of each, in turns of 50, in {PAIRS} pages where Pyodide may "
        "switch stacks, as in most (JSPI), and in as many on the ordinary stack, with "
        "`web/without_stack_switching.js`, in turns with those. Before them come "
        f"{len(first['bare']) // PAIRS} of each in each page, in which the browser has not "
        "compiled for speed yet what runs so often: `the first ones`.",
        [
            Figure("bare", f"{median['bare']:.2f} ms"),
            Figure("checkpoint", f"{median['100']:.2f} ms"),
            at_most("checkpoint / bare", median["100"] / median["bare"], 1.5),
            Figure(
                "checkpoint / bare, means",
                f"{statistics.fmean(switched['100']) / statistics.fmean(switched['bare']):.2f}",
            ),
            Figure(
                "the first ones / bare, first ones", f"{at_first['100'] / at_first['bare']:.2f}"
            ),
            Figure("bare, on the ordinary stack", f"{on_ordinary['bare']:.2f} ms"),
            Figure("checkpoint, on the ordinary stack", f"{on_ordinary['100']:.2f} ms"),
            at_most(
                "checkpoint / bare, on the ordinary stack",
                on_ordinary["100"] / on_ordinary["bare"],
                1.5,
            ),
        ],
    )


def growth(times: Times) -> Table:
    median = medians(times)
    mean = {name: statistics.fmean(values) for name, values in times.items()}
    return Table(
        "Cost of a checkpoint as the database grows",
        f"Three databases in one page, in turns of 50; {len(times['100'])} checkpoints in each, "
        "behind some that are left out, as above. "
        "Means include folds.",
        [
            Figure("checkpoint, 100 steps in the database", f"{median['100']:.2f} ms"),
            Figure("checkpoint, 10,000 steps", f"{median['10000']:.2f} ms"),
            Figure("checkpoint, 100,000 steps", f"{median['100000']:.2f} ms"),
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
