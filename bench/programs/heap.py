"""What a page's memory holds before and after a database of 100,000 steps is open."""

from __future__ import annotations

from pathlib import Path

import pyodide_js
from filling import fill_finished, is_stored
from js import gc, performance
from kit import tell

from durably import Durably, Step, job

NAME, STEPS = "heap", 100_000
MORE = 2_000


@job
async def many_steps(step: Step, count: int) -> None:
    for number in range(count):
        await step.run(f"step-{number}", int, number)


def heaps() -> dict[str, int]:
    gc()
    return {
        "WebAssembly": pyodide_js._module.HEAP8.length,
        "JavaScript": performance.memory.usedJSHeapSize,
    }


def size_bytes() -> int:
    """Of the SQLite file that is open."""
    return max(path.stat().st_size for path in Path("/durably").glob(f"{NAME}-*"))


async def main() -> None:
    if not await is_stored(NAME):
        await fill_finished(NAME, STEPS)
    held = {"before": heaps()}
    async with Durably(NAME, jobs=[many_steps]) as durably:
        held["open"] = heaps()
        await durably.trigger_and_wait(many_steps(MORE))
        held["after more steps"] = heaps()
        size = size_bytes()
    tell("result", held=held, size_bytes=size, more=MORE)
