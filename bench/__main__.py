"""The figures of the README, measured: ``make bench``.

Everything runs in one Chromium on a profile on disk. Times are medians, and what is compared was
taken in one page, interleaved, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from bench import cpython
from tests.e2e.chromium import Chromium
from tests.server import EffectServer

BENCH = Path(__file__).parent
ROOT = BENCH.parent
TIMEOUT_MS = 300_000
LOADS = 7
TAKEOVERS = 5
PROGRAMS = "/bench/programs"
COMPILED = "https://durably.invalid/__pycache__"
"""The key of ``browser/pycache.py`` in the Cache API."""
UNTIL_KEPT = """async (key) => {
  while (!(await caches.match(key))) await new Promise((done) => setTimeout(done, 100));
}"""

Row = tuple[str, str, str]
"""What was measured, the figure, and the aim."""


def main() -> None:
    with (
        EffectServer({f"{PROGRAMS}/": BENCH / "programs"}) as server,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory(prefix="durably-bench-") as folder,
    ):
        chromium = Chromium.open(playwright, Path(folder) / "profile")
        try:
            say("Measuring checkpoints (a minute or two) ...")
            checkpoints = run(chromium, server, "checkpoints", loads=1)
            say("Measuring start and replay ...")
            start = run(chromium, server, "startup", loads=LOADS, steps=20)
            replay = run(chromium, server, "startup", loads=LOADS, steps=1000)
            say("Measuring two tabs ...")
            tabs = two_tabs(chromium, server)
            say("Measuring runs ...")
            in_page = run(chromium, server, "engine", loads=1)[0]
        finally:
            chromium.close()
    say("Measuring on CPython, with a million finished steps (a minute or two) ...")
    rates = asyncio.run(cpython.measure())
    print_table(
        page_rows(checkpoints[0], start, replay) + tab_rows(tabs) + rate_rows(rates, in_page)
    )


def run(
    chromium: Chromium, server: EffectServer, program: str, *, loads: int, **options: object
) -> list[dict[str, Any]]:
    """What a program measured, for each time the page was loaded.

    One load more comes first and is left out: it fills the database and the browser's caches, and
    lives long enough for the compiled code to be kept.
    """
    options = {"stack_switching": "yes"} | options
    query = "&".join(f"{name}={value}" for name, value in options.items())
    page = chromium.new_page(
        f"{server.url}/pages/host.html?folder={PROGRAMS}&program={program}&{query}"
    )
    results = []
    for load in range(loads + 1 if loads > 1 else 1):
        if load:
            page.reload()
        page.wait_for_function(
            "said.some(({ kind }) => kind === 'result' || kind === 'crash')", timeout=TIMEOUT_MS
        )
        result = next(line for line in page.evaluate("said") if line["kind"] in ("result", "crash"))
        if result["kind"] == "crash":
            raise RuntimeError(result["text"])
        results.append(result)
        if load == 0 and loads > 1:
            page.evaluate(UNTIL_KEPT, COMPILED)
    page.close()
    return results[1:] if loads > 1 else results


def two_tabs(chromium: Chromium, server: EffectServer) -> dict[str, list[float]]:
    """A leader with 1,000 steps, a follower in a window of its own, and the leader closed; each
    measured ``TAKEOVERS`` times."""
    figures: dict[str, list[float]] = {"alone": [], "followed": [], "trigger": [], "takeover": []}
    for number in range(TAKEOVERS):
        query = f"folder={PROGRAMS}&program=tabs&stack_switching=yes&database=tabs-{number}"
        url = f"{server.url}/pages/host.html?{query}"
        leader = chromium.new_page(f"{url}&fill=1000")
        until_said(leader, "ready")
        figures["alone"].append(asked(leader, "checkpoints"))
        follower = chromium.new_window(url)
        until_said(follower, "ready")
        figures["followed"].append(asked(leader, "checkpoints"))
        figures["trigger"].append(asked(follower, "triggers"))
        closed_at = time.time() * 1000
        leader.close()
        figures["takeover"].append(until_said(follower, "leads")["at"] - closed_at)
        follower.close()
    return figures


def asked(page: Page, question: str) -> float:
    page.evaluate("(question) => { said.length = 0; ask(question); }", question)
    median: float = until_said(page, question)["median"]
    return median


def until_said(page: Page, kind: str) -> dict[str, Any]:
    page.wait_for_function(
        "(kind) => said.some((line) => line.kind === kind || line.kind === 'crash')",
        arg=kind,
        timeout=TIMEOUT_MS,
    )
    said = {line["kind"]: line for line in page.evaluate("said")}
    if "crash" in said:
        raise RuntimeError(said["crash"]["text"])
    found: dict[str, Any] = said[kind]
    return found


def tab_rows(figures: dict[str, list[float]]) -> list[Row]:
    median = {name: statistics.median(values) for name, values in figures.items()}
    return [
        (
            "checkpoint with a follower / without",
            f"{median['followed'] / median['alone']:.2f}",
            "<= 1.1",
        ),
        ("a follower's trigger, answered", f"{median['trigger']:.1f} ms", "< 15 ms"),
        ("takeover, 1,000 steps, leader closed", f"{median['takeover']:.0f} ms", "< 300 ms"),
    ]


def page_rows(
    checkpoints: dict[str, Any], start: list[dict[str, Any]], replay: list[dict[str, Any]]
) -> list[Row]:
    median, mean = checkpoints["median"], checkpoints["mean"]
    (wheel,) = (ROOT / "build" / "site" / "wheels").glob("durably-*wasm32.whl")
    return [
        ("bare IndexedDB transaction, one record of 4 KiB", f"{median['bare']:.2f} ms", ""),
        ("checkpoint, 100 steps in the database", f"{median['small']:.2f} ms", ""),
        ("checkpoint, 10,000 steps in the database", f"{median['large']:.2f} ms", ""),
        ("checkpoint / bare, medians", f"{median['small'] / median['bare']:.2f}", "<= 2"),
        ("10,000 steps / 100 steps, medians", f"{median['large'] / median['small']:.2f}", "<= 1.2"),
        (
            "10,000 steps / 100 steps, means (folds included)",
            f"{mean['large'] / mean['small']:.2f}",
            "<= 1.2",
        ),
        ("replay of 1,000 finished steps", of(replay, "replay"), "< 100 ms"),
        ("import durably", of(start, "import"), "< 150 ms"),
        ("Pyodide ready to first resumed step", of(start, "ready to resumed step"), "< 200 ms"),
        ("wheel for browsers", f"{wheel.stat().st_size / 1000:.0f} KB", "< 120 KB"),
    ]


def rate_rows(rates: dict[str, float], in_page: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for kind, aim in (("checkpoints", ">= 5,000"), ("runs", ">= 2,000")):
        empty, full = rates[f"{kind}, empty"], rates[f"{kind}, full"]
        rows += [
            (f"CPython: {kind} a second", f"{empty:,.0f}", aim),
            (f"CPython: {kind}, 1,000,000 finished steps / none", f"{empty / full:.2f}", "<= 1.3"),
            (f"in a page: {kind} a second", f"{in_page[kind]:,.0f}", ""),
        ]
    return rows


def print_table(rows: list[Row]) -> None:
    width = max(len(name) for name, _, _ in rows)
    print(f"{'':{width}}  {'median':>10}  aim")
    for name, figure, aim in rows:
        print(f"{name:{width}}  {figure:>10}  {aim}")


def of(results: list[dict[str, Any]], name: str) -> str:
    return f"{statistics.median(result[name] for result in results):.0f} ms"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
