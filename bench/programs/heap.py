"""What a page's memory holds before and after 100,000 steps were executed in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyodide_js
from js import gc, performance
from kit import tell

from durably import Durably, Step, job

NAME = "heap"
TOGETHER = 100
STEPS = (10_000, 100_000)
"""When the memory is looked at."""


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
    held = {"before": heaps()}
    async with Durably(NAME, jobs=[many_steps], max_concurrent_runs=TOGETHER) as durably:
        held["open"] = heaps()
        done = 0
        for steps in STEPS:
            each = (steps - done) // TOGETHER
            await asyncio.gather(
                *(durably.trigger_and_wait(many_steps(each)) for _ in range(TOGETHER))
            )
            done = steps
            held[f"after {steps:,} steps"] = heaps()
        size = size_bytes()
    tell("result", held=held, size_bytes=size, together=TOGETHER)
