"""This library at the work that its peers do too, block by block."""

from __future__ import annotations

import asyncio
import time

from kit import on_ask, option, tell

from durably import Durably, RunHandle, Step, job

LARGE_BYTES = 100 * 1024


class Gate:
    """Holds a job between its steps, so that one run can be measured in turns with others."""

    def __init__(self) -> None:
        self.run: RunHandle[None]
        self.passes = 0
        self.opened, self.reached = asyncio.Event(), asyncio.Event()

    async def go_through(self) -> None:
        """Called by the job: waits where no pass is left."""
        if self.passes == 0:
            self.reached.set()
            await self.opened.wait()
            self.opened.clear()
        self.passes -= 1

    async def open(self, count: int) -> None:
        """Let the job go ``count`` steps further; returns when it waits again."""
        self.passes = count
        self.reached.clear()
        self.opened.set()
        await self.reached.wait()

    def leave(self) -> None:
        """Let the job go to its end."""
        self.passes = 1
        self.reached.clear()
        self.opened.set()


gate = Gate()
times: list[float] = []


@job
async def steps(step: Step, count: int, size_bytes: int = 0, is_gated: bool = False) -> None:
    text = "x" * size_bytes

    def output(number: int) -> int | str:
        return text or number

    for number in range(count):
        if is_gated:
            await gate.go_through()
        started = time.perf_counter()
        await step.run(f"step-{number}", output, number)
        times.append((time.perf_counter() - started) * 1000)
    if is_gated:
        await gate.go_through()


async def main() -> None:
    concurrent = int(option("concurrent", "1"))
    durably = Durably(
        f"work-{time.time_ns()}",
        jobs=[steps],
        max_concurrent_runs=concurrent,
        durability=option("durability", "relaxed"),  # type: ignore[arg-type]
    )
    async with durably:
        on_ask(answer, durably, concurrent)
        tell("ready")
        await asyncio.Event().wait()


async def answer(durably: Durably, concurrent: int, question: str) -> None:
    """The question is a work and a number."""
    work, count = question.split()[0], int(question.split()[1])
    times.clear()
    taken: list[float] = []
    started = time.perf_counter()
    match work:
        case "begin":
            gate.run = await durably.trigger(steps(count, is_gated=True))
            await gate.reached.wait()
        case "block":
            await gate.open(count)
        case "end":
            gate.leave()
            await gate.run.result()
        case "large":
            await durably.trigger_and_wait(steps(count, LARGE_BYTES))
        case "alone":
            await durably.trigger_and_wait(steps(count))
        case "runs":
            await run(durably, count, 1)
        case "together":
            for handle in await durably.trigger_many([steps(count) for _ in range(concurrent)]):
                await handle.result()
        case "staggered":
            await run(durably, concurrent, count)
        case "triggers":
            await durably.stop()
            for _ in range(count):
                asked = time.perf_counter()
                await durably.trigger(steps(0))
                taken.append((time.perf_counter() - asked) * 1000)
            durably.start()
    elapsed = (time.perf_counter() - started) * 1000
    tell(question, times=taken or times, elapsed=elapsed)


async def run(durably: Durably, runs: int, count: int) -> None:
    for handle in [await durably.trigger(steps(count)) for _ in range(runs)]:
        await handle.result()
