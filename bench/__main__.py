"""Every figure of this library beside its peers, measured: ``make bench``.

Browser pages run in a Chromium on a profile on disk. Each part has it anew, so that what the others
have left in the storage is not measured. What is compared was taken in turns, block by block, so
that a noisy machine disturbs all alike. ``python -m bench idle tabs`` measures some parts only, and
then writes no report unless it is told where.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import beside_peers, cpython, growth, idle, starting, tabs
from bench.browser import Browser, browser
from bench.machine import commit, head, loops, speed
from bench.report import Table, as_markdown, as_text
from scripts.static_server import ROOT

REPORT = ROOT / "docs" / "benchmarks.md"
IN_CHROMIUM: dict[str, Callable[[Browser], list[Table]]] = {
    "peers": beside_peers.tables,
    "growth": growth.tables,
    "starting": starting.tables,
    "tabs": tabs.tables,
    "idle": idle.tables,
}
ON_CPYTHON = "cpython"
ALL = (*IN_CHROMIUM, ON_CPYTHON)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(ALL)}")
    parser.add_argument("--report", type=Path, help="write the tables there, as Markdown")
    arguments = parser.parse_args()
    parts = arguments.parts or ALL
    if unknown := set(parts) - set(ALL):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    report = arguments.report or (None if arguments.parts else REPORT)

    began, measured, additions = time.monotonic(), commit(), loops()
    chromium, found = in_chromium([part for part in IN_CHROMIUM if part in parts], additions)
    if ON_CPYTHON in parts:
        say("Measuring on CPython ...")
        found += on_cpython()
        additions += loops()
    print(as_text(found))
    if report is not None:
        minutes = (time.monotonic() - began) / 60
        command = (
            " ".join(["python -m bench", *arguments.parts]) if arguments.parts else "make bench"
        )
        facts = {"command": f"`{command}` ({minutes:.0f} minutes)", "durably": measured}
        facts["speed of CPython meanwhile"] = speed(additions)
        facts["Chromium"] = chromium or "not used"
        report.write_text(head(found, facts) + "\n" + as_markdown(found))
        say(f"Written to {report}")


def in_chromium(parts: list[str], additions: list[float]) -> tuple[str, list[Table]]:
    """Chromium's version, and the tables of these parts; behind each come ``additions``."""
    version = ""
    found: list[Table] = []
    for part in parts:
        began = time.monotonic()
        with browser() as opened:
            found += IN_CHROMIUM[part](opened)
            version = opened.version
        additions += loops()
        say(f"Measured {part} in Chromium: {time.monotonic() - began:.0f} s")
    return version, found


def on_cpython() -> list[Table]:
    """The tables of that part, from a process of its own: what this one has kept of the browser
    would be looked through at each garbage collection."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(cpython.tables).result()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
