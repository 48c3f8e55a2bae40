"""From navigation to the step that a reload resumes; replay; a large database; the package."""

from __future__ import annotations

import statistics
from typing import Any

from bench.browser import Browser
from bench.report import Figure, Table, at_most
from scripts.static_server import ROOT

LOADS, REPLAYS = 5, 3
MiB = 1 << 20
PARTS = ("page and Pyodide", "the wheel", "import durably", "open", "claim", "replay")
OF_THE_LIBRARY = PARTS[2:]


def tables(browser: Browser) -> list[Table]:
    few = browser.loads("startup", LOADS, steps=20, fills=1)
    return [
        reload(few),
        replay(browser),
        large_database(browser),
        package(few),
    ]


def reload(loads: list[dict[str, Any]]) -> Table:
    ready = statistics.median(sum(load["parts"][part] for part in OF_THE_LIBRARY) for load in loads)
    return Table(
        "Reload to the first resumed step",
        f"From navigation, with 20 finished steps; medians of {LOADS} reloads. Pyodide and its "
        "compiled code come from the browser's cache, the wheel is fetched anew each time and put "
        "in place by micropip. @coji/durably's reload is in a table of its own, below.",
        [
            *(Figure(part, f"{median(loads, part):.0f} ms") for part in PARTS),
            Figure("in all", f"{statistics.median(load['total'] for load in loads):.0f} ms"),
            at_most("Pyodide ready to first resumed step, ms", ready, 200, "{:.0f}"),
        ],
    )


def replay(browser: Browser) -> Table:
    figures = []
    for steps, aim in ((1_000, 100), (10_000, 400)):
        loads = browser.loads("startup", REPLAYS, steps=steps, fills=1)
        figures += [
            at_most(f"replay of {steps:,} steps, ms", median(loads, "replay"), aim, "{:.0f}"),
            Figure(f"open, with {steps:,} steps", f"{median(loads, 'open'):.0f} ms"),
            Figure(f"claim, with {steps:,} steps", f"{median(loads, 'claim'):.0f} ms"),
        ]
    coji = browser.peer("coji")
    peer = sum(coji.ask("replay 1000")["times"])
    coji.close()
    return Table(
        "Replay of finished steps",
        f"From the call of the job function to the step that was under way; medians of {REPLAYS} "
        "reloads. @coji/durably's is the time of the stored steps in one run, without a reload.",
        [*figures, Figure("@coji/durably over sqlocal, 1,000 steps", f"{peer:,.0f} ms")],
    )


def large_database(browser: Browser) -> Table:
    found = browser.result("loading")
    times = {name: statistics.median(values) for name, values in found["times"].items()}
    return Table(
        f"Open of a database of {found['size_bytes'] / MiB:.0f} MiB",
        "Beside one `getAll` of as many bytes in chunks of 60 KiB from an IndexedDB database that "
        f"was just opened; medians of {len(found['times']['bare'])}, in turns, in one page.",
        [
            Figure("bare getAll", f"{times['bare']:.0f} ms"),
            Figure("the mirror and SQLite", f"{times['database']:.0f} ms"),
            Figure("durably", f"{times['durably']:.0f} ms"),
            at_most("durably / bare getAll", times["durably"] / times["bare"], 1.3),
        ],
    )


def package(loads: list[dict[str, Any]]) -> Table:
    wheels = ROOT / "build" / "site" / "wheels"
    (for_browsers,) = wheels.glob("durably-*wasm32.whl")
    (for_all,) = wheels.glob("durably-*any.whl")
    imports = [load["parts"]["import durably"] for load in loads]
    return Table(
        "Package",
        f"Import in a page that has imported it before, median of {LOADS} reloads.",
        [
            at_most("wheel for browsers, KB", for_browsers.stat().st_size / 1000, 120, "{:.1f}"),
            Figure("wheel for CPython", f"{for_all.stat().st_size / 1000:.1f} KB"),
            at_most("import durably, ms", statistics.median(imports), 120, "{:.0f}"),
        ],
    )


def median(loads: list[dict[str, Any]], part: str) -> float:
    return statistics.median(load["parts"][part] for load in loads)
