"""How long it takes from a ready Pyodide to the first step that a reload resumes."""

import asyncio
import time

from kit import option, tell


async def main() -> None:
    ready = time.perf_counter()
    from durably import Durably, Step, job

    imported = time.perf_counter()
    times = {"import": imported - ready}

    async def resumed() -> None:
        """The step that was under way, and is again after each reload."""
        times["replay"] = time.perf_counter() - times.pop("called")
        times["ready to resumed step"] = time.perf_counter() - ready
        tell("result", **{name: seconds * 1000 for name, seconds in times.items()})
        await asyncio.Event().wait()

    @job
    async def steps_and_wait(step: Step, count: int) -> None:
        times["called"] = time.perf_counter()
        for number in range(count):
            await step.run("step", int, number, key=number)
        await step.run("resumed", resumed)

    count = int(option("steps", "20"))
    async with Durably(f"startup-{count}", jobs=[steps_and_wait]) as durably:
        run = await durably.trigger(steps_and_wait(count), idempotency_key="only")
        await run.result()
