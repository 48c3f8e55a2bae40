"""The cost of a checkpoint beside a bare IndexedDB transaction, in one page and interleaved."""

import statistics
import time

from kit import option, tell
from pyodide.code import run_js

from durably import Durably, Step, job

BLOCK = 50
CLOCK_STEP = 0.1
RECORD_BYTES = 4192
"""What a checkpoint of a small result adds to the log: one page and the record's frame."""

MAKE_BARE = """
async (bytes) => {
  const db = await new Promise((resolve, reject) => {
    const request = indexedDB.open("bare", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("log");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  let key = Date.now();
  return async (count) => {
    const times = [];
    for (let i = 0; i < count; i++) {
      const record = new Uint8Array(bytes).fill(i & 255).buffer;
      const started = performance.now();
      const transaction = db.transaction("log", "readwrite", { durability: "relaxed" });
      transaction.objectStore("log").add(record, [1, key++]);
      const complete = new Promise((resolve) => { transaction.oncomplete = resolve; });
      transaction.commit();
      await complete;
      times.push(performance.now() - started);
    }
    return times;
  };
}
"""


@job
async def many_steps(step: Step, first: int, count: int) -> list[float]:
    times = []
    for number in range(first, first + count):
        started = time.perf_counter()
        await step.run(f"step-{number}", int, number)
        times.append((time.perf_counter() - started) * 1000)
    return times


async def main() -> None:
    small_steps, large_steps = 100, int(option("steps", "10000"))
    blocks = int(option("blocks", "12"))
    bare = await run_js(MAKE_BARE)(RECORD_BYTES)
    stamp = str(int(time.time() * 1000))
    async with (
        Durably(f"small-{stamp}", jobs=[many_steps]) as small,
        Durably(f"large-{stamp}", jobs=[many_steps]) as large,
    ):
        for durably, count in ((small, small_steps), (large, large_steps)):
            for first in range(0, count, 1000):
                run = await durably.trigger(many_steps(first, min(1000, count)))
                await run.result()
        tell("filled")
        times = {"bare": [], "small": [], "large": []}
        for _ in range(blocks):
            times["bare"] += (await bare(BLOCK)).to_py()
            for kind, durably in (("small", small), ("large", large)):
                run = await durably.trigger(many_steps(0, BLOCK))
                times[kind] += await run.result()
    tell(
        "result",
        # The clock of a page goes in steps of 0.1 ms, inside which this interpolates.
        median={
            kind: statistics.median_grouped(values, CLOCK_STEP) for kind, values in times.items()
        },
        mean={kind: statistics.fmean(values) for kind, values in times.items()},
        p95={kind: sorted(values)[len(values) * 95 // 100] for kind, values in times.items()},
    )
