"""The head of the report: when, with what, on what, and how it is to be read."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bench.report import Table
from scripts.static_server import ROOT

ADDITIONS, LOOPS = 20_000, 25
PACKAGES = ("pyodide", "@coji/durably", "sqlocal", "@sqlite.org/sqlite-wasm", "kysely", "zod")
READING = """\
Times are medians unless a line says otherwise. What stands together in a table was taken in turns,
block by block, with one contender at work at a time, in one Chromium on a profile on disk or in one
process of CPython: trust the ratios more than the times. Losses are printed as they are; an aim
that is not reached is marked `missed`. A commit that is `relaxed` is acknowledged when the
transaction is complete and the operating system has it; `strict` waits for the disk. @coji/durably
and IDBFS offer no such choice. All pages have the headers that @coji/durably needs (COOP and COEP),
which also give them a clock of 5 µs; this library needs none."""


def head(tables: Sequence[Table], run: Mapping[str, str]) -> str:
    """``run``: what is known of the run itself."""
    aims = [figure for table in tables for figure in table.figures if figure.met is not None]
    missed = [figure.name for figure in aims if not figure.met]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        **run,
        **versions(),
        "CPython": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load average at the end": f"{load} (1, 5 and 15 minutes)",
        "aims": f"{len(aims) - len(missed)} of {len(aims)} reached",
        "missed": "; ".join(missed) or "none",
    }
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items())
    return f"# Benchmarks\n\n{READING}\n\n| | |\n|---|---|\n{rows}\n"


def commit() -> str:
    """What is measured; asked before, as the clone may change meanwhile."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "no git here"


def loops() -> list[float]:
    """Milliseconds of a loop of CPython that is always the same, a few times: an hour in which it
    is slow is one in which all times are long."""
    taken = []
    for _ in range(LOOPS):
        started, total = time.perf_counter(), 0
        for number in range(ADDITIONS):
            total += number
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def speed(taken: Sequence[float]) -> str:
    """What ``loops`` found, in words."""
    return (
        f"{ADDITIONS:,} additions in {statistics.median(taken):.1f} ms, "
        f"{min(taken):.1f} at their fastest"
    )


def versions() -> dict[str, str]:
    return {
        name: json.loads((ROOT / "node_modules" / name / "package.json").read_text())["version"]
        for name in PACKAGES
    }
