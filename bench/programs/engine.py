"""How many checkpoints and runs a second: the same program on CPython and in a page."""

from __future__ import annotations

import asyncio
import statistics
import time

from durably import Durably, Step, job
from durably.store.runs import NewRun


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


async def measure(
    durably: Durably, *, checkpoints: int, runs: int, rounds: int
) -> dict[str, float]:
    """Checkpoints a second in one run, and runs a second from trigger to completion; medians."""
    rates: dict[str, list[float]] = {"checkpoints": [], "runs": []}
    for _ in range(rounds):
        rates["checkpoints"].append(
            checkpoints / await durably.trigger_and_wait(steps(checkpoints))
        )
        started = time.perf_counter()
        handles = [await durably.trigger(one_step(number)) for number in range(runs)]
        for handle in handles:
            await handle.result()
        rates["runs"].append(runs / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


def fill(durably: Durably, *, runs: int, steps_each: int) -> None:
    """Put finished runs into the database, past the engine, in one transaction."""
    term = durably._leader._term.result()
    store, database = term.store, term.database
    with database.transaction():
        for _ in range(runs):
            store.runs.create(NewRun("one_step", '{"number":1}'), 1)
            claim = store.leases.claim(["one_step"], "filler", 1)
            for position in range(steps_each):
                store.steps.checkpoint(
                    claim.lease,
                    f"step[{position}]",
                    position=position,
                    attempt=1,
                    output="1",
                    started_at=1,
                    now=1,
                )
            store.leases.complete(claim.lease, "1", 1, keeps_outputs=False)


async def main() -> None:
    from kit import option, tell

    async with Durably(f"engine-{int(time.time() * 1000)}", jobs=[steps, one_step]) as durably:
        rates = await measure(
            durably, checkpoints=int(option("checkpoints", "300")), runs=50, rounds=3
        )
    tell("result", **rates)
    await asyncio.sleep(0)
