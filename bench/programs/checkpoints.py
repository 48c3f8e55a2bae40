"""The cost of a checkpoint as the database grows, beside a bare IndexedDB transaction; what it
writes. All in one page, in turns."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from filling import fill_finished
from js import performance
from kit import option, tell
from pyodide.code import run_js

from durably import Durably, Step, job

FIRST_BLOCKS, BLOCKS, BLOCK = 5, 24, 50
"""In the first ones the browser has not compiled for speed yet what runs so often."""
COUNTED = 300
MAKE_BARE = """
async () => (await (await import("/bench/peers/bare.js")).open({})).block
"""
COUNT_WRITES = """
() => {
  const writes = [];
  const add = IDBObjectStore.prototype.add;
  IDBObjectStore.prototype.add = function (value, key) {
    const pages = this.name === "log" ? new DataView(value).getUint32(60, true) : 0;
    writes.push([this.name, value.byteLength, pages]);
    return add.call(this, value, key);
  };
  return () => writes.splice(0);
}
"""


@job
async def many_steps(step: Step, count: int) -> list[float]:
    times = []
    for number in range(count):
        started = time.perf_counter()
        await step.run(f"step-{number}", int, number)
        times.append((time.perf_counter() - started) * 1000)
    return times


async def main() -> None:
    bare = await run_js(MAKE_BARE)()
    sizes = option("sizes", "100").split(",")
    times: dict[str, list[float]] = {"bare": []} | {size: [] for size in sizes}
    async with AsyncExitStack() as stack:
        databases = {}
        for size in sizes:
            # Another page may have left one of the same size.
            name = f"checkpoints-{size}-{performance.timeOrigin:.0f}"
            await fill_finished(name, int(size))
            databases[size] = await stack.enter_async_context(Durably(name, jobs=[many_steps]))
        first: dict[str, list[float]] = {name: [] for name in times}
        for number in range(FIRST_BLOCKS + BLOCKS):
            taken = first if number < FIRST_BLOCKS else times
            taken["bare"] += (await bare(BLOCK)).times.to_py()
            for size, durably in databases.items():
                taken[size] += await durably.trigger_and_wait(many_steps(BLOCK))
        writes = run_js(COUNT_WRITES)()
        await databases[sizes[0]].trigger_and_wait(many_steps(COUNTED))
        tell("result", times=times, first=first, steps=COUNTED, writes=writes().to_py())
