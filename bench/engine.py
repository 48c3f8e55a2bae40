"""The work that is measured on CPython: checkpoints, and whole runs."""

from __future__ import annotations

import time

from durably import Durably, Step, job


@job
async def steps(step: Step, count: int) -> float:
    """Seconds that ``count`` checkpoints took."""
    started = time.perf_counter()
    for number in range(count):
        await step.run("step", int, number, key=number)
    return time.perf_counter() - started


@job
async def one_step(step: Step, number: int) -> int:
    return await step.run("step", int, number)


async def rates(durably: Durably, checkpoints: int, runs: int) -> dict[str, float]:
    """Checkpoints a second in one run; runs a second through trigger, claim, step, completion."""
    taken = await durably.trigger_and_wait(steps(checkpoints))
    started = time.perf_counter()
    handles = [await durably.trigger(one_step(number)) for number in range(runs)]
    for handle in handles:
        await handle.result()
    return {"checkpoints": checkpoints / taken, "runs": runs / (time.perf_counter() - started)}
