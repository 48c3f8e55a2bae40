"""The cost of a checkpoint as the database grows, beside a bare IndexedDB transaction; what it
writes. All in one page, in turns."""

from __future__ import annotations

import time

from filling import fill_finished
from kit import tell
from pyodide.code import run_js

from durably import Durably, Step, job

BLOCKS, BLOCK = 12, 50
SIZES = (100, 10_000, 100_000)
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
    for size in SIZES:
        await fill_finished(f"checkpoints-{size}", size)
    async with (
        Durably("checkpoints-100", jobs=[many_steps]) as small,
        Durably("checkpoints-10000", jobs=[many_steps]) as large,
        Durably("checkpoints-100000", jobs=[many_steps]) as huge,
    ):
        databases = dict(zip(SIZES, (small, large, huge), strict=True))
        times: dict[str, list[float]] = {"bare": []} | {str(size): [] for size in SIZES}
        for _ in range(BLOCKS):
            times["bare"] += (await bare(BLOCK)).times.to_py()
            for size, durably in databases.items():
                times[str(size)] += await durably.trigger_and_wait(many_steps(BLOCK))
        writes = run_js(COUNT_WRITES)()
        await small.trigger_and_wait(many_steps(COUNTED))
        tell("result", times=times, steps=COUNTED, writes=writes().to_py())
