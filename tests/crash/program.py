"""A program as users write it, for the tests that start, stop and kill many of it.

It tells on its standard output what happens, and is told on its standard input to go on.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from durably import Durably, LeaseLost, Step, job

ROLE = sys.argv[1]
HEARTBEAT, THRESHOLD, PAUSE = map(float, sys.argv[2:5])
COUNT = int(sys.argv[5])


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def act(name: str) -> str:
    """A side effect that can be counted: one line, which the system appends as a whole."""
    with Path("effects").open("ab", buffering=0) as effects:
        effects.write(f"{name}\n".encode())
    return f"{name} by {ROLE}"


async def told_to_go_on() -> None:
    await asyncio.to_thread(sys.stdin.readline)


async def act_and_pause(name: str) -> None:
    act(name)
    await asyncio.sleep(PAUSE)  # Long enough to be killed in.


async def hold(name: str) -> str:
    act(name)
    if ROLE == "awaiting":
        tell("holding")
        await told_to_go_on()
    if ROLE == "blocking":
        tell("holding")
        sys.stdin.readline()
    return f"{name} by {ROLE}"


@job
async def three_steps(step: Step) -> str:
    try:
        await step.run("first", act, "first")
        await step.run("second", hold, "second")
        return await step.run("third", act, "third")
    except LeaseLost:
        tell("LeaseLost")
        raise


@job
async def short(step: Step, number: int) -> int:
    act(f"run-{number}")
    await step.run("one", act_and_pause, f"one-{number}")
    await step.run("two", act_and_pause, f"two-{number}")
    return number


@job
async def nothing(step: Step) -> None:
    pass


async def one_run(durably: Durably) -> None:
    """Execute the one run, or wait until another process has."""
    # By then this process has looked once for what others have left.
    await (await durably.trigger(nothing())).result()
    tell("looked")
    run = await durably.trigger(three_steps(), idempotency_key="only")
    tell(f"result: {await run.result()}")


async def many_runs(durably: Durably) -> None:
    """Trigger runs beside others that trigger the same ones, and wait for the end of them all."""
    runs = [await durably.trigger(short(n), idempotency_key=str(n)) for n in range(COUNT)]
    results = [await run.result() for run in runs]
    assert results == list(range(COUNT)), results
    tell("result: all")
    await told_to_go_on()


def tell_requeued(event: Any) -> None:
    tell(f"requeued: {event.reason}")


async def main() -> None:
    durably = Durably(
        "test",
        jobs=[three_steps, short, nothing],
        heartbeat_interval=HEARTBEAT,
        stale_threshold=THRESHOLD,
        max_concurrent_runs=4 if COUNT else 2,
    )
    durably.on("run:requeued", tell_requeued)
    async with durably:
        await (many_runs(durably) if COUNT else one_run(durably))


asyncio.run(main())
