"""The same work by this library and by what one would otherwise pick, in turns."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable

from bench.browser import Browser, Contender
from bench.report import Figure, Table, at_least, at_most
from bench.times import Times, medians, shuffled

LONG_RUNS, BLOCKS, BLOCK = 9, 6, 50
STEPS = BLOCKS * BLOCK
LARGE_BLOCKS, LARGE = 3, 10
TRIGGER_BLOCKS, TRIGGERS = 3, 10
RUN_BLOCKS, RUNS = 3, 50
GROUP_BLOCKS, GROUP, GROUP_OF_COJI = 12, 25, 10
FILLED = 10_000
WRITTEN_BLOCKS = 5

BARE, STRICT, IDBFS = "bare IndexedDB, relaxed", "bare IndexedDB, strict", "IDBFS syncfs"
IDBFS_FILLED = f"IDBFS syncfs, {FILLED:,} steps in the file"
HERE, WORKER, HERE_STRICT = "durably", "durably in a worker", "durably, strict"
COJI = "@coji/durably over sqlocal"
SLOW = (IDBFS, IDBFS_FILLED, COJI)
"""A step of theirs takes as long as ten to fifty of the others'."""

COUNT_BYTES = """
() => {
  let stored = 0;
  const { add, put } = IDBObjectStore.prototype;
  const counted = (original) => function (value, ...key) {
    stored += value.byteLength ?? value.contents?.byteLength ?? 0;
    return original.call(this, value, ...key);
  };
  Object.assign(IDBObjectStore.prototype, { add: counted(add), put: counted(put) });
  globalThis.storedBytes = () => {
    Object.assign(IDBObjectStore.prototype, { add, put });
    return stored;
  };
}
"""


def tables(browser: Browser) -> list[Table]:
    contenders = {
        BARE: browser.peer("bare"),
        IDBFS: browser.program("idbfs"),
        IDBFS_FILLED: browser.program("idbfs", filled=FILLED),
        HERE: browser.program("work"),
        WORKER: browser.program("work", thread="worker"),
        HERE_STRICT: browser.program("work", durability="strict"),
        COJI: browser.peer("coji"),
    }
    engines = {name: contenders[name] for name in (HERE, WORKER, COJI)}
    found = [
        one_run(contenders, [HERE, WORKER, HERE_STRICT, COJI]),
        bytes_stored(contenders),
        bytes_written(browser, contenders),
        large_results({n: c for n, c in contenders.items() if n != HERE_STRICT}),
        triggers(engines),
        short_runs(engines),
    ]
    for contender in contenders.values():
        contender.close()
    return [*found, group_commit(browser)]


def one_run(contenders: dict[str, Contender], engines: Iterable[str]) -> Table:
    runs: list[Times] = [defaultdict(list) for _ in range(LONG_RUNS)]
    works = {name: (contender, "block") for name, contender in contenders.items()}
    works[STRICT] = contenders[BARE], "strict"
    for number, times in enumerate(runs):
        present = [name for name in works if name not in SLOW or times is runs[-1]]
        running = [name for name in engines if name in present]
        for name in running:
            contenders[name].ask(f"begin {STEPS}")
        for block in range(BLOCKS):
            for name in shuffled(present, number * BLOCKS + block):
                contender, work = works[name]
                times[name] += contender.ask(f"{work} {BLOCK}")["times"]
        for name in running:
            contenders[name].ask("end 0")
    first, *later = runs
    times = {name: [time for run in later for time in run[name]] for name in runs[-1]}
    median, at_first, at_last = medians(times), medians(first), medians(runs[-1])
    return Table(
        f"One run of {STEPS} small steps, time of a step",
        f"Medians of {LONG_RUNS - 1} runs (steps a second: from their mean), in turns of "
        f"{BLOCK} in another order each time. Before them comes one run of each, in which the "
        "browser has not compiled for speed yet what runs so often: `in the first run`. "
        "IDBFS is SQLite alone: an insert, a commit and `FS.syncfs(false)`; it has no engine, and "
        "stores the whole file each time. @coji/durably looks for runs every 100 ms, as its "
        "documents say for browsers, and at once after a run has ended; its other settings are "
        "its defaults. These two take part in the last run only, with which they are compared.",
        [
            *(
                Figure(name, f"{median[name]:.2f} ms", "")
                for name in sorted(median, key=lambda name: median[name])
            ),
            *(
                Figure(f"{name}, steps a second", f"{1000 / statistics.fmean(times[name]):,.0f}")
                for name in (HERE, WORKER, COJI)
            ),
            at_most("durably / bare IndexedDB, both relaxed", median[HERE] / median[BARE], 1.5),
            Figure("the same, in the first run", f"{at_first[HERE] / at_first[BARE]:.2f}"),
            Figure("the same in a worker", f"{median[WORKER] / median[BARE]:.2f}"),
            Figure("the same, both strict", f"{median[HERE_STRICT] / median[STRICT]:.2f}"),
            at_least("@coji/durably / durably", at_last[COJI] / at_last[HERE], 40),
            Figure("IDBFS / durably", f"{at_last[IDBFS] / at_last[HERE]:.1f}"),
        ],
    )


def large_results(contenders: dict[str, Contender]) -> Table:
    times: Times = defaultdict(list)
    for number in range(LARGE_BLOCKS):
        for name, contender in shuffled(contenders.items(), number):
            times[name] += contender.ask(f"large {LARGE}")["times"]
    return compared(
        "A step with a result of 100 KiB",
        f"Medians of {LARGE_BLOCKS * LARGE} steps, in turns of {LARGE}. The bare transaction adds "
        "one record of 100 KiB.",
        times,
    )


def triggers(contenders: dict[str, Contender]) -> Table:
    times: Times = defaultdict(list)
    for number in range(TRIGGER_BLOCKS):
        for name, contender in shuffled(contenders.items(), number):
            times[name] += contender.ask(f"triggers {TRIGGERS}")["times"]
    return compared(
        "Trigger alone",
        f"Medians of {TRIGGER_BLOCKS * TRIGGERS} triggers while the engine executes nothing, in "
        f"turns of {TRIGGERS}.",
        times,
    )


def short_runs(contenders: dict[str, Contender]) -> Table:
    times: Times = defaultdict(list)
    for number in range(RUN_BLOCKS):
        for name, contender in shuffled(contenders.items(), number):
            if name == COJI and number:
                continue  # One of its blocks takes longer than all of the others together.
            times[name].append(contender.ask(f"runs {RUNS}")["elapsed"] / RUNS)
    rates = {name: 1000 / statistics.median(times[name]) for name in (HERE, WORKER)}
    return compared(
        f"{RUNS} runs of one step, time of a run",
        f"From the first trigger to the last completion, divided by {RUNS}; medians of "
        f"{RUN_BLOCKS} blocks in turns, @coji/durably's of one. The runs are triggered one after "
        "another.",
        times,
        *(Figure(f"{name}, runs a second", f"{rate:,.0f}") for name, rate in rates.items()),
    )


def bytes_stored(contenders: dict[str, Contender]) -> Table:
    stored: dict[str, float] = {}
    for name, work in ((HERE, "alone"), (IDBFS, "block"), (IDBFS_FILLED, "block")):
        contenders[name].page.evaluate(COUNT_BYTES)
        contenders[name].ask(f"{work} {BLOCK}")
        stored[name] = contenders[name].page.evaluate("storedBytes()") / BLOCK
    return Table(
        "Bytes given to IndexedDB for a small step",
        f"Means of {BLOCK} steps, after those above: {LONG_RUNS * STEPS}, and {STEPS} of IDBFS. "
        "What SQLite's OPFS writes for @coji/durably cannot be seen from its page.",
        [Figure(name, f"{size:,.0f}") for name, size in stored.items()],
    )


def bytes_written(browser: Browser, contenders: dict[str, Contender]) -> Table:
    """What the browser makes of it, in the processes of the pages and in those of its storage."""
    works = {BARE: "block", HERE: "alone", WORKER: "alone", IDBFS: "block", COJI: "alone"}
    written: dict[str, list[float]] = defaultdict(list)
    for number in range(WRITTEN_BLOCKS):
        for name, work in shuffled(works.items(), number):
            if name == COJI and number:
                continue  # One of its blocks takes longer than all of the others together.
            before = browser.written_bytes()
            contenders[name].ask(f"{work} {BLOCK}")
            written[name].append((browser.written_bytes() - before) / BLOCK)
    return Table(
        "Bytes that the browser writes for a small step",
        f"{BLOCK} steps: what all processes of the browser gave to `write` and `pwrite` meanwhile "
        "(`wchar` in `/proc/<pid>/io`), its logs, messages and databases alike. Of an engine it is "
        f"a whole run, trigger and end included. Medians of {WRITTEN_BLOCKS} blocks in turns, "
        "@coji/durably's of one.",
        [Figure(name, f"{statistics.median(sizes):,.0f}") for name, sizes in written.items()],
    )


def compared(title: str, note: str, times: Times, *more: Figure) -> Table:
    median = medians(times)
    return Table(
        title,
        note,
        [
            *(Figure(name, f"{median[name]:.2f} ms") for name in sorted(median, key=median.get)),  # type: ignore[arg-type]
            *(
                Figure(f"{name} / durably", f"{median[name] / median[HERE]:.1f}")
                for name in median
                if name not in (HERE, WORKER)
            ),
            *more,
        ],
    )


def group_commit(browser: Browser) -> Table:
    contenders = {
        HERE: browser.program("work", concurrent=8),
        WORKER: browser.program("work", concurrent=8, thread="worker"),
        COJI: browser.peer("coji", concurrent=8),
    }
    rates: Times = defaultdict(list)
    for number in range(GROUP_BLOCKS):
        for name, contender in shuffled(contenders.items(), number):
            if name == COJI and number:
                continue  # One of its blocks takes longer than all of the others together.
            steps = GROUP_OF_COJI if name == COJI else GROUP
            works = {
                "one run": (f"alone {steps}", steps),
                "one run twice as long": (f"alone {2 * steps}", 2 * steps),
                "8 runs": (f"together {steps}", 8 * steps),
                "8 runs, triggered one by one": (f"staggered {steps}", 8 * steps),
            }
            for what, (work, count) in shuffled(works.items(), number):
                rates[f"{name}, {what}"].append(1000 * count / contender.ask(work)["elapsed"])
    for contender in contenders.values():
        contender.close()
    median = {name: statistics.median(values) for name, values in rates.items()}
    gain = {name: median[f"{name}, 8 runs"] / median[f"{name}, one run"] for name in contenders}
    one_by_one = median[f"{HERE}, 8 runs, triggered one by one"]
    return Table(
        "8 runs at a time, steps a second",
        f"From the first trigger to the last completion of 8 runs of {GROUP} steps, which are "
        f"triggered in one batch, beside one such run, one of {2 * GROUP} steps, and 8 that are "
        "triggered each when the one before is durable, in the same page; medians of "
        f"{GROUP_BLOCKS} blocks in turns. Of @coji/durably it is one block, of runs of "
        f"{GROUP_OF_COJI} and {2 * GROUP_OF_COJI} steps, which begin when all are triggered.",
        [
            *(Figure(name, f"{rate:,.0f}") for name, rate in sorted(median.items())),
            at_least("durably, 8 runs / one", gain[HERE], 3, "{:.2f}"),
            Figure(
                "durably, 8 runs triggered one by one / one",
                f"{one_by_one / median[f'{HERE}, one run']:.2f}",
            ),
            Figure(
                "durably, 8 runs triggered one by one / one twice as long",
                f"{one_by_one / median[f'{HERE}, one run twice as long']:.2f}",
            ),
            Figure("durably in a worker, 8 runs / one", f"{gain[WORKER]:.2f}"),
            Figure("@coji/durably, 8 runs / one", f"{gain[COJI]:.2f}"),
        ],
    )
